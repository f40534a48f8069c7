"""The images of a split at a glance: names and sizes, which other images rarely share."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from icd.errors import InputError

READERS = 8  # threads, because files may lie on a network


def images_sha256(annotations: Path, folder: Path) -> str:
    """A hash of the names and sizes in bytes of all images that an annotation file lists.

    It does not read the images, so it takes a second where hashing their content takes minutes.
    Times do not count: a copy of the data is the same data.

    Raises:
        InputError: an image does not exist.
    """
    names = sorted(image["file_name"] for image in json.loads(annotations.read_bytes())["images"])
    try:
        with ThreadPoolExecutor(READERS) as pool:
            sizes = list(pool.map(lambda name: (folder / name).stat().st_size, names))
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise InputError(error.filename, "", problem, f"an image of {annotations}") from error
    listing = [[name, size] for name, size in zip(names, sizes, strict=True)]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
