"""Pictures and detections of the page are those of the files."""

from __future__ import annotations

import base64
import io
import json
from contextlib import chdir
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icd.web.gathered import DETECTIONS, IMAGES, gathered
from icd.web.images import SIDE, webp
from tests.web.site import HEIGHT, WIDTH, Site

MISSING = -1


@pytest.fixture(scope="module")
def pictures(site: Site) -> dict[str, Any]:
    with chdir(site.folder):
        found: dict[str, Any] = gathered(site.track, IMAGES)["test"]
    return found


@pytest.fixture(scope="module")
def found(site: Site) -> dict[str, Any]:
    with chdir(site.folder):
        return gathered(site.track, DETECTIONS)


def decoded(source: str) -> Image.Image:
    kind, _, text = source.partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_pictures_show_the_images(site: Site, pictures: dict[str, Any]) -> None:
    for picture in pictures["images"]:
        file = site.folder / site.track.images("test") / picture["name"]
        shown, original = decoded(picture["source"]), Image.open(file)
        assert (picture["width"], picture["height"]) == shown.size == (WIDTH, HEIGHT)
        difference = np.asarray(shown, float) - np.asarray(original, float)
        assert np.abs(difference).mean() < 16, "compressed"


def test_large_images_become_small() -> None:
    pixels = np.zeros((300, 900, 3), np.uint8)
    pixels[:, 450:] = 255
    image = Image.open(io.BytesIO(webp(pixels)))
    assert image.size == (SIDE, SIDE // 3)
    assert np.asarray(image)[:, -1].min() > 240


def test_objects_have_the_classes_of_the_annotations(site: Site, pictures: dict[str, Any]) -> None:
    truth = json.loads((site.folder / site.track.annotations("test")).read_text())
    names = {category["id"]: category["name"] for category in truth["categories"]}
    for picture in pictures["images"]:
        shown = [(box, pictures["classes"][label]) for *box, label in picture["objects"]]
        assert shown == [
            (thing["bbox"], names[thing["category_id"]])
            for thing in truth["annotations"]
            if thing["image_id"] == picture["id"]
        ]


def test_detections_are_those_of_the_run(
    site: Site, pictures: dict[str, Any], found: dict[str, Any]
) -> None:
    run = site.run("icd")
    entries = json.loads((site.folder / run.detections()).read_text())
    assert found["images"]["test"] == [picture["id"] for picture in pictures["images"]]
    for image, shown in zip(
        found["images"]["test"], found["runs"][run.id]["test"]["bbox"], strict=True
    ):
        mine = [entry for entry in entries if entry["image_id"] == image and entry["score"] >= 0.05]
        mine.sort(key=lambda entry: -entry["score"])
        assert [one[4] for one in shown] == pytest.approx(
            [entry["score"] for entry in mine], abs=1e-3
        )
        assert [one[5] + 1 for one in shown] == [entry["category_id"] for entry in mine]
        np.testing.assert_allclose(
            [one[:4] for one in shown], [entry["bbox"] for entry in mine], atol=0.051
        )


def test_verdicts_name_the_object_that_they_mean(
    pictures: dict[str, Any], found: dict[str, Any], site: Site
) -> None:
    kinds = set()
    for run in found["runs"].values():
        for entries, picture in zip(run["test"].get("bbox", []), pictures["images"], strict=False):
            for *_, label, kind, target, overlap in entries:
                name = found["kinds"][kind]
                kinds.add(name)
                assert (target == MISSING) == (name == "background")
                if name != "background":
                    same = picture["objects"][target][4] == label
                    assert same == (name in ("right", "place", "duplicate"))
                assert {"right": overlap >= 0.5, "background": overlap <= 0.1}.get(name, True)
    assert {"right", "place", "class"} <= kinds


def test_masks_are_compared_as_masks_and_shown_as_boxes(site: Site, found: dict[str, Any]) -> None:
    """The masks of this site are the boxes in whole pixels."""
    run = site.ablations[1].row("student").runs[0]
    shown = found["runs"][run.id]["test"]["segm"]
    assert any(entries for entries in shown)
    for entries in shown:
        for x, y, width, height, *_ in entries:
            assert [x, y, width, height] == [round(value) for value in (x, y, width, height)]
            assert x + width <= WIDTH
            assert y + height <= HEIGHT
