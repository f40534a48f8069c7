"""A child process: its output, exit status and peak memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd.rehearsal import child
from icd.rehearsal.child import python

HUNDRED = "x = b'1' * 100 * 2**20; time.sleep(1.5)"


def test_output_goes_to_the_log_and_the_status_comes_back(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import sys; print('told'); sys.exit('refused')"
    assert python(["-c", code], log).status == 1
    assert python(["-c", "print('again')"], log).status == 0
    lines = [line for line in log.read_text().splitlines() if line]
    assert {"told", "refused", "again"} <= {*lines}
    assert lines[0] == f"$ python -c {code}"


def test_a_process_that_is_killed_has_a_negative_status(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert python(["-c", code], tmp_path / "log").status == -9


def test_the_memory_of_children_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    alone = python(["-c", f"import time; {HUNDRED}"], log).mebibytes
    assert alone == pytest.approx(110, abs=15)
    code = f"import os, time; pid = os.fork(); {HUNDRED}; pid and os.wait()"
    assert python(["-c", code], log).mebibytes == pytest.approx(alone + 105, abs=20)


def test_memory_that_a_child_shares_counts_once(tmp_path: Path) -> None:
    code = "import os, time; x = b'1' * 100 * 2**20; pid = os.fork(); time.sleep(1.5)"
    assert python(["-c", code], tmp_path / "log").mebibytes == pytest.approx(115, abs=15)


def test_a_process_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "GRACE", 0.2)
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " print('deaf', flush=True); time.sleep(600)"
    )
    with pytest.raises(TimeoutError, match="did not end in time"):
        python(["-c", code], tmp_path / "log", seconds=2)
