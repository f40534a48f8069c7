"""A survey as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SIZES = {
    "small": "below 32 x 32 pixels",
    "medium": "to 96 x 96",
    "large": "above",
}  # COCO's, by area
NOTES = {
    "empty_images": "images without objects (evaluated, but not trained on)",
    "crowd": "crowds (neither learned nor counted as missed)",
    "invisible": "annotations without area or without a pixel in their image (not learned)",
    "cut": "objects that extend beyond their image (their boxes are cut)",
    "without_mask": "annotations without a mask (detectors of masks need one for each)",
    "turned": "images with an EXIF orientation (boxes must refer to the upright image)",
}


def overview(survey: Mapping[str, Any]) -> str:
    """Sizes, counts and oddities of all splits as text."""
    return "\n".join(line for name in survey["splits"] for line in _split(name, survey))


def _split(name: str, survey: Mapping[str, Any]) -> Iterator[str]:
    counts = survey["splits"][name]
    images, objects = counts["images"], counts["objects"]
    yield f"{name}: {images:,} images, {objects:,} objects in {len(survey['classes'])} classes"
    formats = (f"{name} {number:,}" for name, number in counts["formats"].items())
    yield f"  files    {', '.join(formats)}; pixels of {counts['decoded']:,} read"
    for key in ("width", "height", "aspect"):
        least, middle, most = counts[key]
        yield f"  {key:8} {least:.4g} to {most:.4g}, median {middle:.4g}"
    for size, meaning in SIZES.items():
        yield f"  {size:8} {_share(counts['by_size'][size], objects)}  {meaning}"
    yield "  classes"
    width = max(map(len, survey["classes"]))
    for label, number in counts["by_class"].items():
        yield f"    {label:{width}} {_share(number, objects)}"
    yield from (f"  note: {note}" for note in _notes(counts))


def _share(number: int, total: int) -> str:
    return f"{number:9,} {number / total:6.1%}"


def _notes(counts: Mapping[str, Any]) -> Iterator[str]:
    for key, meaning in NOTES.items():
        if counts[key]:
            yield f"{meaning}: {counts[key]:,}"
    for key, value in (("area", "that of the mask or box"), ("iscrowd", "0")):
        if number := counts["filled"][key]:
            yield f"annotations without {key} ({value} is used): {number:,}"
    if deep := [name for name in counts["formats"] if name.split()[1].startswith("I")]:
        yield f"{', '.join(deep)}: only the upper 8 of 16 bits are read"
    if alpha := [name for name in counts["formats"] if name.split()[1] in ("RGBA", "LA", "PA")]:
        yield f"{', '.join(alpha)}: transparency is dropped"
    for label, number in counts["by_class"].items():
        if not number:
            yield f"class {label} has no object"
