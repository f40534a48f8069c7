"""Reading many images once: their contents and their pixels."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from icd.data.contents import Content, Memory, State, file_states, load_memory, save_memory
from icd.progress import counted

LEAST_READERS = 8  # threads, because files may lie on a network; decoding uses all cores


def read_images(
    names: Sequence[str],
    folder: Path,
    memory: Path | None = None,
    annotations: str | None = None,
    pixels: Collection[int] | None = None,
    renew: bool = False,
) -> tuple[list[Content | str], list[State]]:
    """Read the images of a split, and print a line of progress every few seconds.

    Args:
        names: file names of all images of the split.
        folder: which they are relative to.
        memory: file that remembers images, see :mod:`icd.data.contents`. Those whose size and times
            are the same are not read again.
        annotations: sha256 of the file that lists these images.
        pixels: places of the images whose pixels are read, too; None for all.
        renew: remember these images, even if the memory is that of another annotation file.

    Returns:
        Per image its content, or why it cannot be read; and its state before it was read.
    """
    known = load_memory(memory)
    states = file_states([folder / name for name in names])
    wanted = range(len(names)) if pixels is None else {*pixels}
    found: dict[int, Content | str] = {}
    for i, (name, state) in enumerate(zip(names, states, strict=True)):
        if before := known.known(name, state, i in wanted):
            found[i] = before
    unread = [i for i in range(len(names)) if i not in found]
    now = Memory()
    try:
        tasks = [(folder / names[i], i in wanted) for i in unread]
        for i, content in zip(unread, _read_all(tasks), strict=True):
            found[i] = content
    finally:  # also after an interrupt
        now.images = {
            names[i]: (states[i], content)
            for i, content in sorted(found.items())
            if states[i] and isinstance(content, Content)
        }
        if now.images.keys() == {*names}:
            now.annotations = annotations
        ours = renew or known.annotations in (None, annotations)
        if memory and ours and now != known:
            save_memory(now, memory)
    return [found[i] for i in range(len(names))], states


def _read_all(tasks: Sequence[tuple[Path, bool]]) -> Iterable[Content | str]:
    """The contents of images, read in parallel, with lines of progress."""
    pool = ThreadPoolExecutor(max(LEAST_READERS, len(os.sched_getaffinity(0))))
    try:
        contents = pool.map(lambda task: read_content(*task), tasks)
        yield from counted(contents, len(tasks), "images read")
    finally:  # an interrupt does not wait for all images
        pool.shutdown(cancel_futures=True)


def read_image(path: Path) -> np.ndarray | None:
    """8-bit pixels [height, width, BGR] as mmdet reads them; None if it cannot."""
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)


def read_content(path: Path, pixels: bool) -> Content | str:
    """The content of an image file, or why it (or its pixels, if asked for) cannot be read."""
    try:
        data = path.read_bytes()
        digits = hashlib.sha256(data).hexdigest()
        if not pixels:
            return Content(digits)
        with Image.open(io.BytesIO(data)) as image:
            image.load()  # OpenCV accepts some truncated files
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except Exception as error:  # a damaged file can make Pillow raise anything
        return reason(error)
    if decoded is None:
        return "OpenCV does not read this format"
    return Content(digits, int(decoded.max()))


def reason(error: Exception) -> str:
    """Why an image cannot be read, in one line."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "no known image format"
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
