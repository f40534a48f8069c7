"""Progress is whole lines, seconds apart, and nothing for what is quick."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icd.experiments.yaml_files import ROOT
from icd.progress import counted


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [0.0]
    monkeypatch.setattr("icd.progress.time.monotonic", lambda: now[0])
    return now


def test_a_line_every_ten_seconds(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    taken = []
    for item in counted("abc" * 640, 1920, "images read"):
        taken.append(item)
        clock[0] += 1 / 64  # 30 seconds for all of them
    assert taken == [*"abc" * 640]
    assert capsys.readouterr().err.splitlines() == [
        "640 of 1,920 images read",
        "1,280 of 1,920 images read",
        "1,920 of 1,920 images read",
    ]


def test_nothing_is_said_of_what_is_quick(capsys: pytest.CaptureFixture[str]) -> None:
    assert [*counted(range(3), 3, "images read")] == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_an_unknown_total_is_left_out(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in counted(range(2), None, "rows converted"):
        clock[0] += 11
    assert capsys.readouterr().err == "1 rows converted\n2 rows converted\n"


def test_no_module_draws_a_bar() -> None:
    """Bars go back in their line, which log files show as one line of thousands of characters."""
    bar = re.compile(r"tqdm|ProgressBar|track_(?:iter_|parallel_)?progress|end=[\"']\\r")
    files = [*(ROOT / "icd").rglob("*.py"), *(ROOT / "workflow").rglob("*.smk"), ROOT / "Snakefile"]
    drawn = [str(file) for file in map(Path, files) if bar.search(file.read_text())]
    assert drawn == []
