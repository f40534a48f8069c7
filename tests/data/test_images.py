"""Images of all formats, as training reads them and the check names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import pytest
from PIL import ExifTags, Image

from icd.data.images import DECODED, Header, read_header, read_image, require_image, survey_images
from icd.errors import InputError

WIDTH, HEIGHT = 48, 32
RAMP = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
COLOUR = np.stack([RAMP, RAMP[::-1, ::-1], np.full_like(RAMP, 60)], -1)
SIXTEEN = RAMP.astype(np.uint16) * 256 + 77
PICTURE = Image.fromarray(COLOUR)
GREY = np.stack([RAMP] * 3, -1)

# Name of the file, the image that is saved, and what training has to see, in RGB.
KINDS: dict[str, tuple[str, Image.Image, np.ndarray]] = {
    "colour": ("a.png", PICTURE, COLOUR),
    "grey": ("a.png", Image.fromarray(RAMP), GREY),
    "16 bits": ("a.png", Image.fromarray(SIXTEEN), GREY),
    "16 bits, TIFF": ("a.tif", Image.fromarray(SIXTEEN), GREY),
    "CMYK": ("a.jpg", PICTURE.convert("CMYK"), COLOUR),
    "alpha": ("a.png", Image.fromarray(np.dstack([COLOUR, RAMP])), COLOUR),
    "grey with alpha": ("a.png", Image.fromarray(np.dstack([RAMP, RAMP]), "LA"), GREY),
    "palette": ("a.png", Image.fromarray(RAMP).convert("P"), GREY),
    "black and white": ("a.png", Image.fromarray(RAMP > 99), 255 * (GREY > 99)),
}


def entry(path: Path, **change: Any) -> dict[str, Any]:
    return {"id": 1, "file_name": path.name, "width": WIDTH, "height": HEIGHT, **change}


def survey(*paths: Path, decode_all: bool = False, **change: Any) -> dict[str, Any]:
    content = {"images": [entry(path, **change) for path in paths]}
    return survey_images(content, Path("a.json"), paths[0].parent, decode_all).summary


def save(path: Path, orientation: int = 1) -> Path:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    PICTURE.save(path, exif=tags)
    return path


@pytest.mark.parametrize(("name", "image", "seen"), KINDS.values(), ids=KINDS)
def test_every_kind_of_image_is_read_as_8_bits_of_colour(tmp_path, name, image, seen):
    image.save(tmp_path / name)
    pixels = read_image(tmp_path / name)
    assert pixels is not None
    assert pixels.dtype == np.uint8
    difference = np.abs(pixels[:, :, ::-1].astype(int) - seen)
    assert difference.max() <= (0 if name != "a.jpg" else 30)  # which JPEG loses
    assert difference.mean() < 3
    assert np.array_equal(pixels, mmcv.imread(str(tmp_path / name), backend="cv2"))
    found = survey(tmp_path / name)
    assert found["decoded"] == 1
    assert found["turned"] == 0
    (kind,) = found["formats"]
    with Image.open(tmp_path / name) as opened:
        assert kind == f"{opened.format} {opened.mode}"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_image_as_it_is_read(tmp_path, suffix, orientation):
    """OpenCV turns what some formats say to turn."""
    path = save(tmp_path / f"a.{suffix}", orientation)
    header = read_header(path)
    height, width, _ = require_image(path).shape
    assert isinstance(header, Header)
    assert (header.width, header.height) == (width, height)


def test_a_turned_image_needs_the_size_of_the_upright_picture(tmp_path):
    path = save(tmp_path / "a.jpg", 6)
    assert survey(path, width=HEIGHT, height=WIDTH)["turned"] == 1
    with pytest.raises(InputError, match=r"a\.jpg is 32 x 48 .*\(EXIF orientation 6\).* 48 x 32"):
        survey(path)


def test_a_dark_image_among_bright_ones_is_no_mistake(tmp_path):
    for name, values in (("bright", SIXTEEN), ("dark", SIXTEEN // 32)):
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    assert survey(tmp_path / "bright.png", tmp_path / "dark.png")["decoded"] == 2
    with pytest.raises(InputError, match=r"dark\.png has 16 bits.*no more than 7 of 255"):
        survey(tmp_path / "dark.png")


def test_all_bad_images_are_counted_and_some_are_named(tmp_path):
    paths = [save(tmp_path / f"{i}.png") for i in range(9)]
    for path in paths[2:]:
        path.unlink()
    with pytest.raises(InputError) as caught:
        survey(*paths)
    assert caught.value.key == "images[2].file_name"
    for word in ("2.png is not in", "and 6 more: 3.png", "6.png", "..."):
        assert word in caught.value.problem
    assert "7.png" not in caught.value.problem


def test_a_sample_is_decoded_and_every_kind_of_file(tmp_path):
    """A broken image may escape the sample, but not the option to read all of them."""
    path = save(tmp_path / "a.png")
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    broken = tmp_path / "broken.png"
    broken.write_bytes(path.read_bytes()[:-60])
    paths = [path] * (2 * DECODED + 1)
    paths[1] = tmp_path / "grey.png"
    found = survey(*paths)
    assert found["formats"] == {"PNG RGB": 2 * DECODED, "PNG L": 1}
    assert found["decoded"] == DECODED + 1
    paths[3] = broken
    assert survey(*paths)["decoded"] == DECODED + 1
    with pytest.raises(InputError, match=r"broken\.png cannot be decoded"):
        survey(*paths, decode_all=True)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "tif"])
@pytest.mark.parametrize("spoil", [cut, lambda data: b"", lambda data: data[::-1]])
def test_broken_files_of_any_format_are_named(
    tmp_path: Path, suffix: str, spoil: Callable[[bytes], bytes]
) -> None:
    path = save(tmp_path / f"a.{suffix}")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError, match=rf"a\.{suffix} cannot be (read|decoded) \(.+\)"):
        survey(path)
