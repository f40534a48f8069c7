"""Invalid COCO files and images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from PIL import ExifTags, Image

from tests.experiments.broken import COCO, Break, Case, coco_text, in_coco, remove, several, spoil


def image(how: Callable[[Path], object]) -> Break:
    """Another file in place of the first training image, 100 x 50 pixels."""
    return spoil("my data/train images/four.png", how)


def exif(path: Path) -> None:
    """An image whose orientation says that it lies on its side."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (100, 50)).save(path, exif=tags)


DATA_CASES = [
    Case(
        "missing root",
        remove("my data"),
        ("track.yaml: data.root: my data does not exist", "the folder of the data set"),
    ),
    Case(
        "missing annotation file",
        remove("my data/test.json"),
        ("track.yaml: data.splits.test.annotations: my data/test.json does not", "a COCO JSON"),
    ),
    Case(
        "missing image folder",
        remove("my data/train images"),
        ("track.yaml: data.splits.train.images: my data/train images does not", "a folder of"),
    ),
    Case(
        "missing image file",
        remove("my data/test images/seven.png"),
        ("test.json: images[1].file_name: seven.png is not in my data/test images", "an image"),
    ),
    Case(
        "no JSON",
        coco_text("images:\n- 1\n"),
        (
            "train.json: is not valid JSON",
            "a COCO JSON file with images, annotations and categories",
        ),
    ),
    Case(
        "a byte order mark",
        coco_text("\ufeff" + json.dumps(COCO), "test"),
        (
            "test.json: is not valid JSON (Unexpected UTF-8 BOM",
            "in UTF-8 without a byte order mark",
        ),
    ),
    Case(
        "truncated JSON",
        coco_text(json.dumps(COCO)[:-20], "test"),
        ("test.json: is not valid JSON", "line 1", "a COCO JSON file"),
    ),
    Case(
        "a JSON list",
        coco_text(json.dumps([COCO])),
        ("train.json: images: is missing or not a list", "a COCO JSON file"),
    ),
    Case(
        "no categories",
        in_coco("categories", None),
        ("train.json: categories: is missing or not a list", "a COCO JSON file"),
    ),
    Case(
        "categories by name",
        in_coco("categories", {"cat": 1}),
        ("train.json: categories: is missing or not a list", "a COCO JSON file"),
    ),
    Case(
        "an image that is no mapping",
        in_coco("images.1", "seven.png"),
        ("train.json: images[1].id: is missing", "a whole number"),
    ),
    Case(
        "an image without a size",
        in_coco("images.0.height", None),
        ("train.json: images[0].height: is missing", "a positive number of pixels"),
    ),
    Case(
        "an image of no size",
        in_coco("images.0.width", 0),
        ("train.json: images[0].width: is 0", "a positive number of pixels"),
    ),
    Case(
        "an image whose size is text",
        in_coco("images.0.width", "100"),
        ("train.json: images[0].width: is '100'", "a positive number of pixels"),
    ),
    Case(
        "an image with a negative id",
        in_coco("images.1.id", -7),
        ("train.json: images[1].id: is -7", "a whole number from 0"),
    ),
    Case(
        "a category with a negative id",
        in_coco("categories.0.id", -1),
        ("train.json: categories[0].id: is -1", "a whole number from 0"),
    ),
    Case(
        "two images with one id",
        in_coco("images.1.id", 4),
        ("train.json: images[1].id: is 4 a second time", "a value of its own"),
    ),
    Case(
        "two categories with one name",
        in_coco("categories.1.name", "cat"),
        ("train.json: categories[1].name: is 'cat' a second time", "a value of its own"),
    ),
    Case(
        "an annotation with a negative id",
        in_coco("annotations.0.id", -1, "test"),
        ("test.json: annotations[0].id: is -1", "a whole number from 0"),
    ),
    Case(
        "an image id of more than 64 bits",
        in_coco("images.0.id", 2**64),
        ("train.json: images[0].id: is 18446744073709551616", "of at most 64 bits"),
    ),
    Case(
        "a mark that is a text",
        in_coco("annotations.0.ignore", "0"),
        ("train.json: annotations[0].ignore: is '0'", "0 or 1"),
    ),
    Case(
        "NaN in a polygon",
        in_coco("annotations.0.segmentation", [[0, 0, 9, 0, 9, float("nan")]]),
        ("train.json: annotations[0].segmentation: has the point [9, nan]", "near its image"),
    ),
    Case(
        "a polygon that reaches far beyond its image",
        several(
            in_coco("annotations.0.segmentation", [[0, 0, 3e8, 0, 9, 9]]),
            in_coco("annotations.0.area", None),
        ),
        ("annotations[0].segmentation: has the point [300000000.0, 0]", "from -1000 to 1000"),
    ),
    Case(
        "an image that becomes a line without width",
        several(
            in_coco("images.0.width", 3, "test"),
            in_coco("images.0.height", 1000, "test"),
            in_coco("annotations.0.bbox", [0, 0, 2, 9], "test"),
        ),
        ("test.json: images[id=4]: four.png, 3 x 1000 pixels, becomes 0 x 96", "another shape"),
    ),
    Case(
        "unknown category",
        in_coco("annotations.1.category_id", 3),
        ("train.json: annotations[1].category_id: 3 is unknown", "a listed id"),
    ),
    Case(
        "unknown image",
        in_coco("annotations.0.image_id", 5, "test"),
        ("test.json: annotations[0].image_id: 5 is unknown", "a listed id"),
    ),
    Case(
        "an id that is a list",
        in_coco("annotations.0.image_id", [4]),
        ("train.json: annotations[0].image_id: is [4]", "a whole number"),
    ),
    Case(
        "NaN in a box",
        in_coco("annotations.0.bbox.2", float("nan")),
        ("train.json: annotations[0].bbox: is [0, 0, nan, 9]", "[x, y, width, height]"),
    ),
    Case(
        "infinity in a box",
        in_coco("annotations.0.bbox.0", float("inf")),
        ("train.json: annotations[0].bbox: is [inf, 0, 9, 9]", "four numbers"),
    ),
    Case(
        "a box of three numbers",
        in_coco("annotations.1.bbox", [1, 2, 3]),
        ("train.json: annotations[1].bbox: is [1, 2, 3]", "four numbers"),
    ),
    Case(
        "a box of booleans",
        in_coco("annotations.1.bbox", [True, False, True, True]),
        ("train.json: annotations[1].bbox: is [True, False, True, True]", "four numbers"),
    ),
    Case(
        "a box of text",
        in_coco("annotations.1.bbox.3", "9"),
        ("train.json: annotations[1].bbox: is [0, 0, 9, '9']", "four numbers"),
    ),
    Case(
        "an area of text",
        in_coco("annotations.0.area", "81"),
        ("train.json: annotations[0].area: is '81'", "a number of square pixels"),
    ),
    Case(
        "a crowd of two",
        in_coco("annotations.0.iscrowd", 2),
        ("train.json: annotations[0].iscrowd: is 2", "0 or 1"),
    ),
    Case(
        "one polygon in place of a list of them",
        in_coco("annotations.0.segmentation", [0, 0, 9, 0, 9, 9]),
        ("train.json: annotations[0].segmentation: is [0, 0, 9", "[[x, y, x, y, ...], ...]"),
    ),
    Case(
        "a run-length code without its size",
        in_coco("annotations.0.segmentation", {"counts": [1, 2]}),
        ("train.json: annotations[0].segmentation: is {'counts'", "{size, counts}"),
    ),
    Case(
        "a run-length code of width and height",
        in_coco("annotations.0.segmentation", {"size": [100, 50], "counts": [5000]}),
        ("annotations[0].segmentation.size: is [100, 50]", "[50, 100], height and width"),
    ),
    Case(
        "run lengths of another number of pixels",
        in_coco("annotations.0.segmentation", {"size": [50, 100], "counts": [59, 1]}),
        ("annotations[0].segmentation.counts: is [59, 1]", "from 0, of 5000 pixels together"),
    ),
    Case(
        "an empty image file",
        image(lambda path: path.write_bytes(b"")),
        ("train.json: images[0].file_name: four.png cannot be read", "an image file"),
    ),
    Case(
        "a text as image file",
        image(lambda path: path.write_text("<html>not found</html>")),
        ("four.png cannot be read (no known image format)", "an image file"),
    ),
    Case(
        "a truncated image",
        image(lambda path: path.write_bytes(path.read_bytes()[:-40])),
        ("images[0].file_name: four.png cannot be decoded (", "a complete image"),
    ),
    Case(
        "an image of floating-point numbers",
        image(lambda path: Image.new("F", (100, 50)).save(path, "TIFF")),
        ("four.png cannot be decoded (OpenCV does not read", "an image of 8 or 16 bits"),
    ),
    Case(
        "an image of another size",
        image(lambda path: Image.new("RGB", (50, 25)).save(path)),
        ("four.png is 50 x 25 pixels", "100 x 50, as this entry's width and height say"),
    ),
    Case(
        "an image that is turned when it is read",
        image(exif),
        ("four.png is 50 x 100 pixels when turned upright (EXIF orientation 6)", "100 x 50"),
    ),
    Case(
        "12 bits in an image of 16",
        image(lambda path: Image.new("I;16", (100, 50), 4095).save(path)),
        ("four.png has 16 bits", "no more than 15 of 255", "values up to 65535"),
    ),
    Case(
        "no objects",
        in_coco("annotations", []),
        ("train.json: annotations: hold no object", "at least one"),
    ),
    Case(
        "nothing but crowds, as CVAT writes masks",
        several(
            in_coco("annotations.0.iscrowd", 1),
            in_coco("annotations.1.iscrowd", 1),
        ),
        ("train.json: annotations: hold no object among 2 annotations: 2 of crowds (iscrowd: 1)",),
    ),
    Case(
        "nothing but annotations without area",
        several(
            in_coco("annotations.0.area", 0),
            in_coco("annotations.1.area", 0.0),
        ),
        ("hold no object among 2 annotations: 2 without area (area: 0)", "without these marks"),
    ),
    Case(
        "nothing but crowds and empty boxes in the test split",
        several(
            in_coco("annotations.0.iscrowd", 1, "test"),
            in_coco("annotations.1.bbox", [3, 3, 0, -1], "test"),
        ),
        ("test.json: annotations: hold no object among 2", "1 of crowds", "(bbox)"),
    ),
    Case(
        "other classes in the test split",
        in_coco("categories.1.name", "cow", "test"),
        ("test.json: categories: differ from those of", "train.json", "['cat', 'dog']"),
    ),
    Case(
        "classes in another order in the test split",
        in_coco("categories", COCO["categories"][::-1], "test"),
        ("test.json: categories: differ from those of", "train.json", "['cat', 'dog']"),
    ),
]
