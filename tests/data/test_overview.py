"""The printed overview of a data set."""

from __future__ import annotations

from icd.data.overview import NAMED, overview
from icd.data.reading import Reading

COUNTS = {
    "images": 1200,
    "objects": 8,
    "by_size": {"small": 2, "medium": 6, "large": 0},
    "by_class": {"cat": 8, "zebra": 0},
    "crowd": 0,
    "cut": 0,
    "invisible": 0,
    "without_mask": 0,
    "run_lengths": 0,
    "empty_images": 0,
    "full_images": 0,
    "too_small": 0,
    "left_out": [],
    "copies": {},
    "filled": {"area": 0, "iscrowd": 0, "id": 0},
    "width": [40.0, 70.5, 100.0],
    "height": [20.0, 30.0, 1333.0],
    "aspect": [0.5, 1.3333333, 2.0],
    "formats": {"PNG RGB": 1200},
    "turned": 0,
    "decoded": 200,
}

SURVEY = {"classes": ["cat", "zebra"], "smallest_side": 32}


def printed(**change: object) -> str:
    return overview(SURVEY | {"splits": {"train": COUNTS | change}})


def test_sizes_and_counts_are_shown() -> None:
    text = " ".join(printed().split())
    for part in (
        "train: 1,200 images, 8 objects in 2 classes",
        "files PNG RGB 1,200; pixels of 200 read (--decode-all: of all)",
        "width 40 to 100, median 70.5",
        "height 20 to 1333, median 30",
        "aspect 0.5 to 2, median 1.333",
        "small 2 25.0%",
        "medium 6 75.0%",
        "large 0 0.0%",
        "cat 8 100.0%",
        "zebra 0 0.0%",
    ):
        assert part in text
    assert text.count("note:") == 1
    assert "note: class zebra has no object" in text


def test_only_what_is_odd_is_noted() -> None:
    full = {"by_class": {"cat": 4, "zebra": 4}}
    assert "note" not in printed(**full)
    for key in (
        *("crowd", "cut", "invisible", "without_mask", "empty_images", "turned"),
        *("full_images", "too_small"),
    ):
        (note,) = [s for s in printed(**full, **{key: 1234}).splitlines() if "note: " in s]
        assert note.endswith(": 1,234")
    for key in ("area", "iscrowd"):
        filled = {"area": 0, "iscrowd": 0, "id": 0, key: 5}
        assert f"note: annotations without {key} (" in printed(**full, filled=filled)
    filled = {"area": 0, "iscrowd": 0, "id": 5}
    assert "missing (all are numbered anew): 5" in printed(**full, filled=filled)
    copies = {
        "train": {"count": 2, "example": "a.png"},
        "test": {"count": 1234, "example": "b.png"},
    }
    text = printed(**full, copies=copies)
    assert "note: images that repeat another: 2, such as a.png" in text
    assert "note: images that are also in test: 1,234, such as b.png" in text
    text = printed(**full, too_small=3)
    assert "images with a side below 32 pixels (not trained on, objects not counted): 3" in text
    names = [f"{i}.png" for i in range(NAMED)]
    text = printed(**full, left_out=names)
    assert f"images left out, because they cannot be read: 10 ({', '.join(names)})" in text
    assert "read: 11 (0.png, 1.png, 2" in printed(**full, left_out=[*names, "x.png"])
    assert "9.png, ...)" in printed(**full, left_out=[*names, "x.png"])
    kinds = {"PNG RGB": 2, "TIFF I;16": 3, "PNG RGBA": 1}
    text = printed(**full, formats=kinds)
    assert "note: TIFF I;16: only the upper 8 of 16 bits are read" in text
    assert "note: PNG RGBA: transparency is dropped" in text


def test_every_split_has_its_part() -> None:
    text = overview(SURVEY | {"splits": {"a": COUNTS, "b": COUNTS}})
    assert text.count("images, 8 objects") == 2
    assert text.startswith("a: ")
    assert "\nb: " in text


def test_the_sizes_in_training_and_testing_are_shown() -> None:
    shape = {"width": [1, 1920.0, 2000], "height": [1, 1200.0, 2000]}
    reading = Reading(train_scales=[(1024, 640), (1024, 512), (1024, 576)], test_scale=(1024, 640))
    splits = {"train": COUNTS | shape, "test": COUNTS | shape}
    lines = overview(SURVEY | {"splits": splits}, reading).splitlines()
    size = "resizes 1920 x 1200 (the median) to"
    assert f"train: training {size} sizes from 819 x 512 to 1024 x 640" in lines
    assert f"test: testing {size} 1024 x 640" in lines
