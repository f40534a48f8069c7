"""A child process: its output, exit status and peak memory."""

from __future__ import annotations

from pathlib import Path

import pytest

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
