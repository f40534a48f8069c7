"""The printed overview of a data set."""

from __future__ import annotations

from icd.data.overview import overview

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
    "filled": {"area": 0, "iscrowd": 0},
    "width": [40.0, 70.5, 100.0],
    "height": [20.0, 30.0, 1333.0],
    "aspect": [0.5, 1.3333333, 2.0],
    "formats": {"PNG RGB": 1200},
    "turned": 0,
    "decoded": 200,
}


def printed(**change: object) -> str:
    return overview({"classes": ["cat", "zebra"], "splits": {"train": COUNTS | change}})


def test_sizes_and_counts_are_shown() -> None:
    text = " ".join(printed().split())
    for part in (
        "train: 1,200 images, 8 objects in 2 classes",
        "files PNG RGB 1,200; pixels of 200 read",
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
    for key in ("crowd", "cut", "invisible", "without_mask", "empty_images", "turned"):
        (note,) = [s for s in printed(**full, **{key: 1234}).splitlines() if "note: " in s]
        assert note.endswith(": 1,234")
    for key in ("area", "iscrowd"):
        filled = {"area": 0, "iscrowd": 0, key: 5}
        assert f"note: annotations without {key} (" in printed(**full, filled=filled)
    kinds = {"PNG RGB": 2, "TIFF I;16": 3, "PNG RGBA": 1}
    text = printed(**full, formats=kinds)
    assert "note: TIFF I;16: only the upper 8 of 16 bits are read" in text
    assert "note: PNG RGBA: transparency is dropped" in text


def test_every_split_has_its_part() -> None:
    text = overview({"classes": ["cat", "zebra"], "splits": {"a": COUNTS, "b": COUNTS}})
    assert text.count("images, 8 objects") == 2
    assert text.startswith("a: ")
    assert "\nb: " in text
