"""A teacher whose classes have another order teaches nonsense; their names are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from icd.errors import InputError
from icd.training.classes import require_same_classes

CLASSES = ["traffic light", "cat", "dog"]


def checkpoint(folder: Path, **meta: Any) -> Path:
    torch.save({"meta": meta, "state_dict": {"weight": torch.ones(1)}}, folder / "their.pth")
    return folder / "their.pth"


@pytest.mark.parametrize(
    "meta",
    [
        {"dataset_meta": {"classes": CLASSES}},
        {"dataset_meta": {"classes": tuple(CLASSES), "palette": [(1, 2, 3)]}},
        {"dataset_meta": {"CLASSES": ("traffic_light", "Cat", "dog ")}},
        {"CLASSES": tuple(CLASSES), "epoch": 12},
    ],
)
def test_the_same_classes_pass(tmp_path: Path, capsys: Any, meta: dict[str, Any]) -> None:
    require_same_classes(checkpoint(tmp_path, **meta), CLASSES)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        (["cat", "dog", "traffic light"], "are the same classes in another order: ['cat', 'dog',"),
        (["cat", "emu", "dog"], "give 'cat' another index: ['cat', 'emu', 'dog']"),
        (["traffic light", "cat"], "are 2 classes: ['traffic light', 'cat']; expected the 3"),
        (["dog", "cat", "traffic light", "emu"], "are 4 classes: ['dog', "),
    ],
)
def test_an_index_of_another_meaning_is_refused(
    tmp_path: Path, classes: list[str], problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        require_same_classes(checkpoint(tmp_path, dataset_meta={"classes": classes}), CLASSES)
    assert caught.value.key == "meta.dataset_meta.classes"
    assert problem in str(caught.value)
    assert str(CLASSES) in str(caught.value)


@pytest.mark.parametrize("meta", [{}, {"dataset_meta": None}, {"dataset_meta": {"classes": None}}])
def test_what_cannot_be_compared_is_said(tmp_path: Path, capsys: Any, meta: dict[str, Any]) -> None:
    require_same_classes(checkpoint(tmp_path, **meta), CLASSES)
    assert "their.pth: states no classes; their order cannot" in capsys.readouterr().err


def test_other_names_are_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    theirs = ["Ampel", "Katze", "Hund"]
    require_same_classes(checkpoint(tmp_path, dataset_meta={"classes": theirs}), CLASSES)
    (line,) = capsys.readouterr().err.splitlines()
    assert str(theirs) in line
    assert str(CLASSES) in line
