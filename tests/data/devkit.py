"""A made-up VOCdevkit: four images of two years, with the oddities of the real one."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

OBJECT = """
  <object>
    <name>{name}</name><pose>Left</pose>{difficult}
    <bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
  </object>"""
SIZE = (50, 40)  # width and height of every image

# Image set -> image -> objects: class, box, what is said of its difficulty.
EASY, HARD = "<difficult>0</difficult>", "<difficult>1</difficult>"
Object = tuple[str, tuple[float, float, float, float], str]
SETS: dict[str, dict[str, list[Object]]] = {
    "VOC2007/trainval": {
        "000005": [("chair", (1, 1, 50, 40), EASY), ("chair", (5, 6, 10, 20), HARD)],
        "000007": [("car", (50, 40, 50, 40), EASY)],
    },
    "VOC2012/trainval": {"2008_000002": [("tvmonitor", (3.5, 2.25, 20, 21.75), "")]},
    "VOC2007/test": {
        "000001": [("dog", (11, 6, 30, 25), EASY), ("dog", (31, 6, 45, 35), HARD)],
    },
}


def write_devkit(root: Path) -> Path:
    """Write the devkit and return its folder."""
    for name, images in SETS.items():
        folder, part = name.split("/")
        for sub in ("ImageSets/Main", "Annotations", "JPEGImages"):
            (root / folder / sub).mkdir(parents=True, exist_ok=True)
        listed = "".join(f"{image}\n" for image in images)
        (root / folder / "ImageSets/Main" / f"{part}.txt").write_text(f"{listed}\n")
        for image, objects in images.items():
            (root / folder / "Annotations" / f"{image}.xml").write_text(xml(objects))
            Image.new("RGB", SIZE).save(root / folder / "JPEGImages" / f"{image}.jpg")
    return root


def xml(objects: list[Object]) -> str:
    """The annotations of an image."""
    width, height = SIZE
    entries = (OBJECT.format(name=name, box=box, difficult=d) for name, box, d in objects)
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>\n  <folder>VOC</folder>{size}{''.join(entries)}\n</annotation>\n"
