"""The record that a failed run leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from icd.errors import InputError
from icd.experiments.yaml_files import ROOT
from icd.process.failures import KILLED, failure, recorded


def test_an_exception_is_recorded_and_goes_on(tmp_path):
    with pytest.raises(ValueError, match="bad"), recorded(tmp_path):
        raise ValueError("bad\n  luck")
    assert failure(tmp_path, "test") == "ValueError: bad luck"


def test_the_job_and_the_log_of_the_attempt_are_named(tmp_path, monkeypatch):
    for name, value in ("SLURM_JOB_ID", "12"), ("SLURMD_NODENAME", "n1"), ("ICD_LOG", "a/b.log"):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="bad"), recorded(tmp_path):
        raise ValueError("bad")
    assert failure(tmp_path, "test") == "ValueError: bad (Slurm job 12 on n1, log a/b.log)"


def test_bad_input_is_a_failure_too(tmp_path):
    with pytest.raises(InputError), recorded(tmp_path):
        raise InputError("a.yaml", "key", "is 1", "2")
    assert failure(tmp_path, "test") == "InputError: a.yaml: key: is 1; expected 2"


def test_the_next_attempt_starts_clean(tmp_path):
    with pytest.raises(ValueError, match="bad"), recorded(tmp_path):
        raise ValueError("bad")
    with recorded(tmp_path):
        assert failure(tmp_path, "test") == KILLED
    assert failure(tmp_path, "test") is None


def test_a_killed_process_has_failed(tmp_path):
    """Such as for want of memory: it cannot say so itself."""
    code = f"""
from pathlib import Path
import os, signal
from icd.process.failures import recorded
with recorded(Path({str(tmp_path)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    assert ended.returncode == -signal.SIGKILL
    assert failure(tmp_path, "test") == KILLED


def test_the_error_of_one_process_of_a_run_outlives_the_others(tmp_path):
    """They are ended by a signal."""
    with suppress(SystemExit), recorded(tmp_path):
        with suppress(ValueError), recorded(tmp_path):
            raise ValueError("bad")
        sys.exit(143)
    assert failure(tmp_path, "test") == "ValueError: bad"


def test_an_interruption_is_no_failure(tmp_path):
    with pytest.raises(KeyboardInterrupt), recorded(tmp_path):
        raise KeyboardInterrupt
    assert failure(tmp_path, "test") is None


def test_a_failed_evaluation_counts_for_its_split_alone(tmp_path):
    with pytest.raises(ValueError, match="bad"), recorded(tmp_path, "tune"):
        raise ValueError("bad")
    assert failure(tmp_path, "test") is None
    with recorded(tmp_path, "test"):
        pass
    assert failure(tmp_path, "tune") == "ValueError: bad"


def test_a_failed_training_counts_for_all_splits(tmp_path):
    with pytest.raises(ValueError, match="bad"), recorded(tmp_path):
        raise ValueError("bad")
    assert failure(tmp_path, "test") == failure(tmp_path, "tune") == "ValueError: bad"
