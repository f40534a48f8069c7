"""A survey as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from icd.data.reading import Reading, Scale, resized

SIZES = {
    "small": "below 32 x 32 pixels",
    "medium": "to 96 x 96",
    "large": "above",
}  # COCO's, by area
NAMED = 10  # images that are left out
NOTES = {
    "too_small": "images with a side below {smallest} pixels (not trained on, objects not counted)",
    "empty_images": "images without objects (evaluated, but not trained on)",
    "crowd": "crowds (neither learned nor counted as missed)",
    "invisible": "annotations without area or without a pixel in their image (not learned)",
    "cut": "objects that extend beyond their image (their boxes are cut)",
    "without_mask": "annotations without a mask (detectors of masks need one for each)",
    "full_images": "images with more than 100 objects (AP counts 100 detections per image)",
    "turned": "images with an EXIF orientation (boxes must refer to the upright image)",
}


def overview(survey: Mapping[str, Any], reading: Reading | None = None) -> str:
    """Sizes, counts and oddities of all splits as text, and how the track resizes images."""
    lines = [line for name in survey["splits"] for line in _split(name, survey)]
    return "\n".join([*lines, *(_resizing(survey, reading) if reading else ())])


def _resizing(survey: Mapping[str, Any], reading: Reading) -> Iterator[str]:
    """What training and testing do to an image of the median shape of each split."""
    for name, counts in survey["splits"].items():
        width, height = counts["width"][1], counts["height"][1]
        scales = sorted(reading.scales(name), key=min)
        sizes = [_size(width, height, scale) for scale in (*scales[:1], *scales[1:][-1:])]
        use = "training" if name in reading.trained else "testing"
        to = f"sizes from {sizes[0]} to {sizes[1]}" if len(sizes) > 1 else sizes[0]
        yield f"{name}: {use} resizes {width:g} x {height:g} (the median) to {to}"


def _size(width: float, height: float, scale: Scale) -> str:
    wide, high = resized(width, height, scale)
    return f"{wide} x {high}"


def _split(name: str, survey: Mapping[str, Any]) -> Iterator[str]:
    counts = survey["splits"][name]
    images, objects = counts["images"], counts["objects"]
    yield f"{name}: {images:,} images, {objects:,} objects in {len(survey['classes'])} classes"
    formats = (f"{name} {number:,}" for name, number in counts["formats"].items())
    sample = " (--decode-all: of all)" if counts["decoded"] < images else ""
    yield f"  files    {', '.join(formats)}; pixels of {counts['decoded']:,} read{sample}"
    for key in ("width", "height", "aspect"):
        least, middle, most = counts[key]
        yield f"  {key:8} {least:.4g} to {most:.4g}, median {middle:.4g}"
    for size, meaning in SIZES.items():
        yield f"  {size:8} {_share(counts['by_size'][size], objects)}  {meaning}"
    yield "  classes"
    width = max(map(len, survey["classes"]))
    for label, number in counts["by_class"].items():
        yield f"    {label:{width}} {_share(number, objects)}"
    yield from (f"  note: {note}" for note in _notes(name, counts, survey))


def _share(number: int, total: int) -> str:
    return f"{number:9,} {number / total:6.1%}"


def _notes(split: str, counts: Mapping[str, Any], survey: Mapping[str, Any]) -> Iterator[str]:
    if names := counts["left_out"]:
        named = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        yield f"images left out, because they cannot be read: {len(names):,} ({named})"
    for key, meaning in NOTES.items():
        if counts[key]:
            yield f"{meaning.format(smallest=survey['smallest_side'])}: {counts[key]:,}"
    for other, copies in counts["copies"].items():
        where = (
            "images that repeat another" if other == split else f"images that are also in {other}"
        )
        yield f"{where}: {copies['count']:,}, such as {copies['example']}"
    for key, value in (("area", "that of the mask or box"), ("iscrowd", "0")):
        if number := counts["filled"][key]:
            yield f"annotations without {key} ({value} is used): {number:,}"
    if number := counts["filled"]["id"]:
        yield f"annotation ids that are 0, repeated or missing (all are numbered anew): {number:,}"
    if deep := [name for name in counts["formats"] if name.split()[1].startswith("I")]:
        yield f"{', '.join(deep)}: only the upper 8 of 16 bits are read"
    if alpha := [name for name in counts["formats"] if name.split()[1] in ("RGBA", "LA", "PA")]:
        yield f"{', '.join(alpha)}: transparency is dropped"
    for label, number in counts["by_class"].items():
        if not number:
            yield f"class {label} has no object"
