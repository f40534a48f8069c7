"""The committed comparison of recipes is current, and every difference in it has a reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from icd.__main__ import main
from icd.experiments.published import PublishedRecipes, published_recipes
from icd.experiments.track import Track, load_track
from icd.experiments.yaml_files import ROOT
from icd.training.recipe_table import compare, mistakes, page
from tests.experiments.track_files import laid_over
from tests.lab import quick_configs

PAGE = ROOT / "docs/reference/recipes.md"
SHIPPED = ("coco", "coco-quick", "coco-10", "voc")


@pytest.fixture(autouse=True)
def _quick(mmdet_on_the_cpu: None) -> Any:
    with quick_configs():
        yield


@pytest.fixture
def track() -> Track:
    return load_track("coco", data_root=Path("."))


def changed_recipes(change: dict[str, Any]) -> PublishedRecipes:
    """The published recipes with another one for FCOS."""
    recipes = published_recipes()
    fcos = recipes.detectors["fcos"].model_copy(update=change)
    return recipes.model_copy(update={"detectors": {**recipes.detectors, "fcos": fcos}})


def test_the_committed_page_is_current(tmp_path: Path, track: Track) -> None:
    """`python -m icd recipes coco --output docs/reference/recipes.md` writes it."""
    assert main(["recipes", "coco", "--output", str(tmp_path / "recipes.md")]) == 0
    assert (tmp_path / "recipes.md").read_text() == PAGE.read_text() == page(track)


def test_every_difference_to_what_was_published_has_a_reason(track: Track) -> None:
    assert list(mistakes(track, published_recipes())) == []
    recipes = published_recipes()
    assert recipes.detectors.keys() == track.content.detectors.keys()
    assert recipes.backbones.keys() == track.content.backbones.keys()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"recipe": {"optimizer": {"clip": 35.0}}}, "fcos: gradient clipping is norm to 35, not"),
        (
            {"detectors": {"retinanet": {"model": {"bbox_head": {"loss_bbox": {"beta": 1.0}}}}}},
            "retinanet: box loss is SmoothL1Loss with beta 1, not SmoothL1Loss with beta 0.1",
        ),
        (
            {"methods": {"icd": {"recipe": {"optimizer": {"clip_value": 2.0}}}}},
            "fcos: gradient clipping with ICD is elements to ±2, not elements to ±1,",
        ),
        ({"recipe": {"precision": "float32"}}, None),  # the reason is of all detectors
        (
            {"backbones": {"resnet50": {"data_preprocessor": {"bgr_to_rgb": True}}}},
            "resnet50: a reason is needed",
        ),
        (
            {"backbones": {"resnet101": {"backbone": {"norm_cfg": {"requires_grad": True}}}}},
            "resnet101: a reason is needed",
        ),
    ],
)
def test_a_new_difference_is_found(track: Track, change: dict[str, Any], found: str | None) -> None:
    all_found = "\n".join(mistakes(laid_over(track, change), published_recipes()))
    assert found in all_found if found else not all_found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"reasons": {"warm-up": "because"}}, "fcos: warm-up has a reason, but is as published"),
        ({"reasons": {"warmup": "because"}}, "fcos: there is no setting warmup"),
        ({"settings": {"loss of boxes": "L1Loss"}}, "fcos: there is no setting loss of boxes"),
        ({"settings": {"warm-up": "none"}}, "fcos: warm-up is linear, 1,000 iterations from"),
    ],
)
def test_a_wrong_entry_is_found(track: Track, change: dict[str, Any], found: str) -> None:
    assert found in "\n".join(mistakes(track, changed_recipes(change)))


def test_the_page_shows_all_that_mmdet_has_and_the_track_does_not_use(track: Track) -> None:
    rows = [re.split(r" +\| +", line.strip("| ")) for line in PAGE.read_text().splitlines()]
    for name in track.content.detectors:
        for one in compare(track, name, published_recipes()):
            (row,) = (
                row
                for row in rows
                if row[0] == one.name and (row[1] == "all" or name in row[1].split(", "))
            )
            assert row[2] == one.here
            assert row[4] == ("same" if one.mmdet == one.here else one.mmdet or "-")
            assert row[3] == ("same" if one.published == one.here else one.published)
            assert (len(row) > 5) == one.differs


@pytest.mark.parametrize("name", [*SHIPPED, "mini"])
def test_any_track_can_be_compared(name: str) -> None:
    text = page(load_track(name, data_root=Path(".")))
    assert f"# Recipes of {name}\n" in text
