"""A valid project with a user's data, and ways to break it, for test_bad_input.py."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from PIL import Image

from tests.experiments.track_files import OWN, changed, write

COCO: dict[str, Any] = {
    "images": [
        {"id": 4, "file_name": "four.png", "width": 100, "height": 50},
        {"id": 7, "file_name": "seven.png", "width": 40, "height": 40},
    ],
    "annotations": [
        {"id": i, "image_id": 4, "category_id": c, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
        for i, c in ((1, 1), (2, 2))
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}
ABLATION = {
    "title": "Title",
    "question": "Question?",
    "baseline": "student",
    "rows": [
        {"id": "student", "label": "Student"},
        {"id": "icd", "label": "ICD", "change": {"method": "icd"}},
    ],
}


@dataclass
class Project:
    """A valid track on a user's data, and an ablation, before they are written.

    patch: undoes what an edit does to this process.
    afterwards: what happens when all is written.
    """

    folder: Path
    patch: pytest.MonkeyPatch
    track: Any = field(default_factory=lambda: deepcopy(OWN))
    coco: dict[str, Any] = field(
        default_factory=lambda: {name: copy.deepcopy(COCO) for name in ("train", "test")}
    )
    ablation: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(ABLATION))
    afterwards: list[Callable[[], object]] = field(default_factory=list)

    def write(self) -> None:
        """Write all files; a text stands for a whole file's content."""
        for name, content in self.coco.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (self.folder / "my data" / f"{name} images").mkdir(parents=True)
            (self.folder / "my data" / f"{name}.json").write_text(text)
            for image in COCO["images"]:
                pixels = Image.new("RGB", (image["width"], image["height"]))
                pixels.save(self.folder / "my data" / f"{name} images" / image["file_name"])
        write(self.folder / "ablations" / "table.yaml", self.ablation)
        if isinstance(self.track, str):
            (self.folder / "track.yaml").write_text(self.track)
        else:
            write(self.folder / "track.yaml", self.track)
        for happen in self.afterwards:
            happen()


Break = Callable[[Project], None]


class Case(NamedTuple):
    """How the input is broken, and what the message has to say.

    late: it shows only when the log has begun.
    """

    name: str
    edit: Break
    words: tuple[str, ...]
    late: bool = False


def in_track(key: str, value: Any) -> Break:
    """Another value in the track file; None removes the key."""

    def edit(project: Project) -> None:
        project.track = changed(project.track, key, value)

    return edit


def in_track_text(old: str, new: str) -> Break:
    """Another text in the track file."""

    def edit(project: Project) -> None:
        text = yaml.safe_dump(project.track)
        assert old in text
        project.track = text.replace(old, new)

    return edit


def in_coco(key: str, value: Any, split: str = "train") -> Break:
    """Another value in an annotation file; None removes the key."""

    def edit(project: Project) -> None:
        project.coco[split] = changed(project.coco[split], key, value)

    return edit


def coco_text(text: str, split: str = "train") -> Break:
    """Another content of an annotation file."""

    def edit(project: Project) -> None:
        project.coco[split] = text

    return edit


def in_ablation(key: str, value: Any) -> Break:
    """Another value in the ablation file; None removes the key."""

    def edit(project: Project) -> None:
        project.ablation = changed(project.ablation, key, value)

    return edit


def spoil(path: str, how: Callable[[Path], object]) -> Break:
    """A file or folder to which something happens after all are written."""

    def edit(project: Project) -> None:
        project.afterwards.append(lambda: how(project.folder / path))

    return edit


def remove(path: str) -> Break:
    """A file or folder that is not there."""
    return spoil(path, lambda target: shutil.rmtree(target) if target.is_dir() else target.unlink())


def several(*edits: Break) -> Break:
    """One after the other."""

    def edit(project: Project) -> None:
        for one in edits:
            one(project)

    return edit


def after(edit: Break, path: str, how: Callable[[Path], object]) -> Break:
    """First ``edit``; when all is written, something happens to a file."""

    def both(project: Project) -> None:
        edit(project)
        spoil(path, how)(project)

    return both


def halve(path: Path) -> None:
    """A file whose copying was broken off."""
    os.truncate(path, path.stat().st_size // 2)
