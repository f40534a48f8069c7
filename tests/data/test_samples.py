"""The figure of samples: boxes, masks and names of the annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icd.data.samples import choose, write_samples
from icd.errors import InputError

WIDTH, HEIGHT = 60, 40
POLYGON = {"segmentation": [[5, 5, 45, 5, 45, 35, 5, 35]]}
MASK = np.zeros((HEIGHT, WIDTH), int)
MASK[5:35, 5:45] = 1
STARTS = np.flatnonzero(np.diff(MASK.T.reshape(-1), prepend=0))
CODE = {"segmentation": {"size": [HEIGHT, WIDTH]}}
CODE["segmentation"]["counts"] = np.diff([0, *STARTS, MASK.size]).tolist()


def content(count: int, *entries: dict[str, Any]) -> dict[str, Any]:
    """So many images, the first with these annotations, and every second with any."""
    default = {"image_id": 0, "category_id": 4, "bbox": [5, 5, 40, 30], "iscrowd": 0, "area": 1}
    others = [{**default, "image_id": i} for i in range(2, count, 2)]
    return {
        "images": [
            {"id": i, "file_name": "a.png", "width": WIDTH, "height": HEIGHT} for i in range(count)
        ],
        "annotations": [{**default, **entry} for entry in entries] + others,
        "categories": [{"id": 4, "name": "cat"}, {"id": 1, "name": "$1 & $2"}],
    }


def drawn(folder: Path, found: dict[str, Any]) -> np.ndarray:
    Image.new("L", (WIDTH, HEIGHT), 90).save(folder / "a.png")
    write_samples(found, folder, folder / "samples.png")
    with Image.open(folder / "samples.png") as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_the_same_data_give_the_same_picture(tmp_path: Path) -> None:
    found = content(30, {}, POLYGON)
    first = drawn(tmp_path, found)
    assert first.shape == (720, 960, 3)
    assert np.array_equal(first, drawn(tmp_path, found))


@pytest.mark.parametrize(
    ("entry", "other"),
    [
        ({}, {"bbox": [5, 5, 40, 25]}),
        ({}, {"category_id": 1}),
        ({}, {"iscrowd": 1}),
        ({}, POLYGON),
        ({}, CODE),
    ],
    ids=["box", "class", "crowd", "polygon", "run lengths"],
)
def test_what_differs_is_seen(tmp_path: Path, entry: dict, other: dict) -> None:
    assert not np.array_equal(
        drawn(tmp_path, content(1, entry)), drawn(tmp_path, content(1, other))
    )


def test_a_mask_looks_the_same_in_any_form(tmp_path: Path) -> None:
    """But for the pixel by which an outline of pixel centres is smaller."""
    polygon, code = drawn(tmp_path, content(1, POLYGON)), drawn(tmp_path, content(1, CODE))
    bare = drawn(tmp_path, content(1, {}))
    coloured = (np.abs(polygon - bare).sum(-1) > 0).mean()
    assert (np.abs(polygon - code).sum(-1) > 0).mean() < coloured / 4


@pytest.mark.parametrize("size", [(2000, 1000), (12, 5), (100, 1), (1, 5000)])
def test_images_of_any_size_fit(tmp_path: Path, size: tuple[int, int]) -> None:
    found = content(1, {"bbox": [1, 1, 2, 2]})
    found["images"][0] |= {"width": size[0], "height": size[1]}
    Image.new("RGB", size, (200, 30, 30)).save(tmp_path / "a.png")
    write_samples(found, tmp_path, tmp_path / "samples.png")
    with Image.open(tmp_path / "samples.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**20) or ()}
    assert ((200, 30, 30) in colours) == (size != (1, 5000))  # which is thinner than a pixel


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(InputError, match=r"a\.png: cannot be decoded; expected a complete image"):
        write_samples(content(1, {}), tmp_path, tmp_path / "samples.png")
    assert not (tmp_path / "samples.png").exists()


def test_the_choice_is_spread_over_images_with_annotations() -> None:
    found = content(100, {})
    chosen = [image["id"] for image in choose(found, 12)]
    assert len(chosen) == len(set(chosen)) == 12
    assert (chosen[0], chosen[-1]) == (0, 98)
    assert all(i % 2 == 0 for i in chosen)
    assert 6 <= np.diff(chosen).min() <= np.diff(chosen).max() <= 10
    assert [image["id"] for image in choose(content(5, {}), 12)] == [0, 2, 4]


def test_names_beyond_the_font_are_no_reason_to_warn(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    found = content(1, {})
    found["images"][0]["file_name"] = "日本.png"
    Image.new("L", (WIDTH, HEIGHT), 90).save(tmp_path / "日本.png")
    write_samples(found, tmp_path, tmp_path / "samples.png")
    assert not recwarn.list
