"""Reading the pixels of many images once; what was read is remembered in a file."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from icd.files import write_text

LEAST_READERS = 8  # threads, because files may lie on a network; decoding uses all cores
SECONDS_BETWEEN_LINES = 10.0


def memory_of(survey: Path) -> Path:
    """The file that remembers the images of the data set with this survey."""
    return survey.with_name("runs") / "images-read.json"


def read_pixels(paths: Sequence[Path], memory: Path | None = None) -> list[int | str]:
    """Read the pixels of images, and print a line of progress every few seconds.

    Args:
        paths: image files.
        memory: JSON file of the images that were read before. Those whose size and time of change
            are the same are not read again. New ones are added.

    Returns:
        Per image: its largest value as training reads it, or why its pixels cannot be read.
    """
    known = _load(memory)
    states = [_state(path) for path in paths]
    values: list[int | str] = [0] * len(paths)
    unread = []
    for i, (path, state) in enumerate(zip(paths, states, strict=True)):
        if state and known.get(str(path.absolute()), [])[:2] == state:
            values[i] = known[str(path.absolute())][2]
        else:
            unread.append(i)
    try:
        for i, value in zip(unread, _read([paths[i] for i in unread]), strict=True):
            values[i], state = value, states[i]
            if state and isinstance(value, int):
                known[str(paths[i].absolute())] = [*state, value]
    finally:  # also after an interrupt
        if memory and unread:
            write_text(memory, json.dumps(known))
    return values


def _load(memory: Path | None) -> dict[str, list[int]]:
    """Size, time of change and largest value of images by path; empty if nothing is known."""
    try:
        content = json.loads(memory.read_text()) if memory else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _state(path: Path) -> list[int]:
    """Size and time of change of a file; empty if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _read(paths: Sequence[Path]) -> Iterable[int | str]:
    """The largest values of images, read in parallel, with lines of progress."""
    readers, last = max(LEAST_READERS, len(os.sched_getaffinity(0))), time.monotonic()
    pool = ThreadPoolExecutor(readers)
    try:
        for done, value in enumerate(pool.map(read_brightest, paths), 1):
            yield value
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                print(f"{done:,} of {len(paths):,} images read", file=sys.stderr, flush=True)
    finally:  # an interrupt does not wait for all images
        pool.shutdown(cancel_futures=True)


def read_image(path: Path) -> np.ndarray | None:
    """8-bit pixels [height, width, BGR] as mmdet reads them; None if it cannot."""
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)


def read_brightest(path: Path) -> int | str:
    """The largest value of an image as training reads it, or why its pixels cannot be read."""
    try:
        with Image.open(path) as image:
            image.load()  # OpenCV accepts some truncated files
        pixels = read_image(path)
    except Exception as error:
        return reason(error)
    return "OpenCV does not read this format" if pixels is None else int(pixels.max())


def reason(error: Exception) -> str:
    """Why an image cannot be read, in one line."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "no known image format"
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
