"""An annotation file that was made says from what, and shows when it is no longer that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icd.data.annotations import read_annotations
from icd.data.made import verify_made, write_made
from icd.errors import InputError
from icd.files import sha256

CONTENT: dict[str, Any] = {
    "images": [{"id": 4, "file_name": "é.jpg", "width": 100, "height": 50}],
    "annotations": [
        {"id": 1, "image_id": 4, "category_id": 2, "bbox": [0, 0.1, 9, 1e-7], "area": 9}
    ],
    "categories": [{"id": 2, "name": "dog"}],
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "all.json"
    file.write_text(json.dumps(CONTENT))
    return file


@pytest.fixture
def file(tmp_path: Path, source: Path) -> Path:
    made = tmp_path / "data" / "part.json"
    write_made(made, CONTENT, [source])
    return made


def digits(file: Path) -> str:
    found: str = json.loads(file.read_text())["info"]["made"]["sha256"]
    return found


def test_the_same_content_gives_the_same_file(file: Path, source: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.json"
    write_made(again, json.loads(json.dumps(CONTENT)), [source])
    assert again.read_bytes() == file.read_bytes()
    content = read_annotations(file)
    assert {key: content[key] for key in CONTENT} == CONTENT
    assert content["info"]["made"]["sources"] == {str(source): sha256(source)}
    verify_made(file, [source], digits(file))


def test_the_hash_covers_content_and_not_its_form(file: Path, source: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()), indent=1, sort_keys=True))
    verify_made(file, [source])


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a box": lambda content: content["annotations"][0]["bbox"].reverse(),
    "a name": lambda content: content["categories"][0].update(name="cat"),
    "an image less": lambda content: content["images"].pop(),
    "an image more": lambda content: content["images"].append(content["images"][0]),
    "moved": lambda content: content.update(
        images=[], categories=content["images"] + content["categories"]
    ),
    "no hash": lambda content: content["info"].clear(),
    "no part": lambda content: content.pop("categories"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_refused(file: Path, source: Path, change: str) -> None:
    content = json.loads(file.read_text())
    CHANGES[change](content)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"part\.json: info\.made.*; delete it"):
        verify_made(file, [source])


def test_a_cut_file_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"part\.json: is not valid JSON"):
        verify_made(file)


def test_a_file_of_another_source_is_refused(file: Path, source: Path) -> None:
    source.write_text(json.dumps(CONTENT) + " ")
    with pytest.raises(InputError, match=r"all\.json: was another when .*part\.json was made"):
        verify_made(file, [source])


def test_a_known_hash_is_asked_for(file: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"is {digits(file)}; expected 000"):
        verify_made(file, [source], 64 * "0")
    other = tmp_path / "other.json"
    with pytest.raises(InputError, match=rf"would have the sha256 {digits(file)}; expected 000"):
        write_made(other, CONTENT, [source], 64 * "0")
    assert not other.exists()
