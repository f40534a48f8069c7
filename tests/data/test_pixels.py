"""Images are read once, and again if they change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from icd.data import pixels
from icd.data.pixels import read_pixels


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"{i}.png" for i in range(4)]
    for i, path in enumerate(found):
        Image.new("L", (8, 8), 10 * i).save(path)
    return found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are read."""
    names: list[str] = []
    before = pixels.read_brightest

    def noted(path: Path) -> int | str:
        names.append(path.name)
        return before(path)

    monkeypatch.setattr(pixels, "read_brightest", noted)
    return names


def test_an_image_is_read_once(paths: list[Path], tmp_path: Path, read: list[str]) -> None:
    memory = tmp_path / "runs" / "read.json"
    for _ in range(2):
        assert read_pixels(paths, memory) == [0, 10, 20, 30]
    assert sorted(read) == ["0.png", "1.png", "2.png", "3.png"]


@pytest.mark.parametrize("same", ["size", "time"])
def test_an_image_that_changed_is_read_again(
    paths: list[Path], tmp_path: Path, read: list[str], same: str
) -> None:
    memory, state = tmp_path / "read.json", paths[1].stat()
    read_pixels(paths, memory)
    read.clear()
    content = paths[1].read_bytes()
    paths[1].write_bytes(content if same == "size" else content[:-20])
    later = state.st_mtime_ns + (5 if same == "size" else 0)
    os.utime(paths[1], ns=(later, later))
    values = read_pixels(paths, memory)
    assert read == ["1.png"]
    assert isinstance(values[1], int if same == "size" else str)


def test_a_broken_image_is_read_each_time_and_the_others_once(
    paths: list[Path], tmp_path: Path, read: list[str]
) -> None:
    paths[2].write_bytes(paths[2].read_bytes()[:40])
    for _ in range(2):
        assert isinstance(read_pixels(paths, tmp_path / "read.json")[2], str)
    assert read.count("2.png") == 2
    assert len(read) == 5


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_spoilt_memory_is_forgotten(paths: list[Path], tmp_path: Path, text: str) -> None:
    (tmp_path / "read.json").write_text(text)
    assert read_pixels(paths, tmp_path / "read.json") == [0, 10, 20, 30]
    assert read_pixels(paths, None) == [0, 10, 20, 30]


def test_a_long_reading_says_how_far_it_is(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    read_pixels(paths)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(pixels, "SECONDS_BETWEEN_LINES", 0)
    read_pixels(paths)
    assert "3 of 4 images read" in capsys.readouterr().err
