"""Whether the images of a split are those that were read, without reading them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from icd.data.contents import (
    CHANGED,
    Content,
    Memory,
    contents_sha256,
    file_states,
    in_threads,
    known_contents,
    listing_sha256,
    load_memory,
    memory_file,
    save_memory,
)

NAMES = ["a.png", "b.png", "more/c.png"]


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """What is remembered of three images, listed by the annotation file ``listed``."""
    (tmp_path / "more").mkdir()
    for name in NAMES:
        (tmp_path / name).write_bytes(name.encode())
    states = file_states([tmp_path / name for name in NAMES])
    digits = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in NAMES]
    images = {n: (s, Content(d, 7)) for n, s, d in zip(NAMES, states, digits, strict=True)}
    save_memory(Memory("listed", images), tmp_path / "memory.json")
    return tmp_path / "memory.json"


def test_names_and_contents_count_and_their_order_and_times_do_not(memory: Path) -> None:
    folder = memory.parent
    before = known_contents(memory, "listed", folder)
    expected = {name: hashlib.sha256(name.encode()).hexdigest() for name in reversed(NAMES)}
    assert before == contents_sha256(expected)
    assert contents_sha256(expected | {"a.png": expected["b.png"]}) != before
    assert contents_sha256({name: expected[name] for name in NAMES[:2]}) != before


def test_nothing_is_known_of_images_that_another_file_lists(memory: Path) -> None:
    assert known_contents(memory, "another", memory.parent) is None
    assert known_contents(memory.with_name("none.json"), "listed", memory.parent) is None


@pytest.mark.parametrize("how", ["in place", "older", "with the same time", "gone"])
def test_a_replaced_image_is_noticed(memory: Path, how: str) -> None:
    """Whatever its size and time. One of the same size and time may also be the same image."""
    image = memory.parent / NAMES[1]
    before, size = image.stat(), image.stat().st_size
    other = memory.parent / "other"
    other.write_bytes(b"x" * size)
    os.utime(other, ns=(10, 10 if how == "older" else before.st_mtime_ns))
    if how == "in place":
        os.utime(other)
    if how == "gone":
        image.unlink()
    else:
        shutil.copy2(other, image)
    expected = None if how == "with the same time" else CHANGED
    assert known_contents(memory, "listed", memory.parent) == expected


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"images": {}}', '{"images": {"a": 1}, "annotations": "x"}']
)
def test_a_damaged_memory_only_costs_time(memory: Path, text: str) -> None:
    memory.write_text(text)
    assert load_memory(memory) == Memory()
    assert load_memory(None) == Memory()


def test_each_folder_of_images_has_a_memory(tmp_path: Path) -> None:
    files = [memory_file(tmp_path, "train", Path(name)) for name in ("a", "b")]
    files += [memory_file(tmp_path, "test", Path("a"))]
    assert len({*files}) == 3
    assert memory_file(tmp_path, "train", Path("a").absolute()) == files[0]
    (tmp_path / "link").symlink_to(tmp_path / "images")
    one, other = (memory_file(tmp_path, "train", tmp_path / name) for name in ("link", "images"))
    assert one == other


def test_the_listing_is_the_one_of_earlier_versions() -> None:
    """Which results of theirs record."""
    listing = json.dumps([["a.png", 4], ["b.png", 5]])
    expected = hashlib.sha256(listing.encode()).hexdigest()
    assert listing_sha256(["b.png", "a.png"], [5, 4]) == expected


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_parts_in_threads_keep_their_order(count: int) -> None:
    paths = [Path(str(i)) for i in range(count)]
    assert in_threads(lambda part: [int(str(path)) for path in part], paths) == [*range(count)]
