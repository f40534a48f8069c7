"""Images are read once, and again if they change."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image

from icd.data import pixels
from icd.data.contents import Content, load_memory
from icd.data.pixels import read_images

NAMES = [f"{i}.png" for i in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, name in enumerate(NAMES):
        Image.new("L", (8, 8), 10 * i).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are read."""
    names: list[str] = []
    before = pixels.read_content

    def noted(path: Path, pixels: bool) -> Content | str:
        names.append(path.name)
        return before(path, pixels)

    monkeypatch.setattr(pixels, "read_content", noted)
    return names


def contents(folder: Path) -> list[Content]:
    """What the images hold."""
    digits = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES]
    return [Content(one, 10 * i) for i, one in enumerate(digits)]


def test_an_image_is_read_once(folder: Path, read: list[str]) -> None:
    memory = folder / "runs" / "read.json"
    for _ in range(2):
        found, states = read_images(NAMES, folder, memory, "listed")
        assert found == contents(folder)
        assert [size for size, *_ in states] == [(folder / n).stat().st_size for n in NAMES]
    assert sorted(read) == NAMES
    assert load_memory(memory).annotations == "listed"


def test_pixels_are_read_only_where_they_are_asked_for(folder: Path, read: list[str]) -> None:
    memory = folder / "read.json"
    found, _ = read_images(NAMES, folder, memory, pixels=[2])
    assert [one.brightest for one in found if isinstance(one, Content)] == [None, None, 20, None]
    read.clear()
    assert read_images(NAMES, folder, memory)[0] == contents(folder)
    assert sorted(read) == ["0.png", "1.png", "3.png"]
    assert read_images(NAMES, folder, memory, pixels=[])[0] == contents(folder)


@pytest.mark.parametrize("same", ["size", "time", "size and time"])
def test_an_image_that_changed_is_read_again(folder: Path, read: list[str], same: str) -> None:
    memory, image = folder / "read.json", folder / NAMES[1]
    before = image.stat()
    known, _ = read_images(NAMES, folder, memory)
    read.clear()
    content = bytearray(image.read_bytes())
    content[-1] ^= 1  # the end of a PNG, which nobody decodes
    image.write_bytes(content[:-20] if same == "time" else content)
    later = before.st_mtime_ns + (5 if same == "size" else 0)
    os.utime(image, ns=(later, later))
    found, _ = read_images(NAMES, folder, memory)
    assert read == ["1.png"]
    assert found[1] != known[1]
    assert isinstance(found[1], str if same == "time" else Content)


def test_a_broken_image_is_read_each_time_and_the_others_once(
    folder: Path, read: list[str]
) -> None:
    image, memory = folder / NAMES[2], folder / "read.json"
    image.write_bytes(image.read_bytes()[:40])
    for _ in range(2):
        assert isinstance(read_images(NAMES, folder, memory, "listed")[0][2], str)
    assert read.count("2.png") == 2
    assert len(read) == 5
    assert load_memory(memory).annotations is None, "not all images are known"


def test_an_interrupted_reading_is_not_repeated(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, before = folder / "read.json", pixels.read_content

    def interrupted(path: Path, pixels: bool) -> Content | str:
        if path.name == NAMES[3]:
            raise KeyboardInterrupt
        return before(path, pixels)

    monkeypatch.setattr(pixels, "read_content", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_images(NAMES, folder, memory, "listed")
    known = load_memory(memory)
    assert [*known.images] == NAMES[:3]
    assert known.annotations is None


def test_the_memory_of_a_check_is_replaced_only_by_a_check(folder: Path) -> None:
    """An evaluation on a part of the images must not make the next plan check all of them."""
    memory = folder / "read.json"
    read_images(NAMES, folder, memory, "listed", renew=True)
    before = load_memory(memory)
    read_images(NAMES[:2], folder, memory, "another")
    assert load_memory(memory) == before
    read_images(NAMES[:2], folder, memory, "another", renew=True)
    assert [*load_memory(memory).images] == NAMES[:2]


def test_a_long_reading_says_how_far_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    read_images(NAMES, folder)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("icd.progress.SECONDS_BETWEEN_LINES", 0)
    read_images(NAMES, folder)
    assert "3 of 4 images read" in capsys.readouterr().err
