"""What the images of a split hold, remembered in a file so that unchanged ones are not read again.

Names and sizes say little: an image that replaces another may have both. So the content of every
image is hashed once. Afterwards, size and times tell whether a file may have changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from icd.files import write_text
from icd.mappings import content_hash

READERS = 8  # threads, because files may lie on a network
CHANGED = "changed"  # in place of a hash: images that have changed since they were read
T = TypeVar("T")

State = list[int]  # size in bytes, and times of the last change of content and of metadata in ns


class Content(NamedTuple):
    """What an image file holds.

    sha256: of the file.
    brightest: the largest value of its pixels as training reads them; None if they were not read.
    """

    sha256: str
    brightest: int | None = None


@dataclass
class Memory:
    """The images of a split that were read.

    annotations: sha256 of the annotation file that lists these images; None if some are missing.
    images: state and content of each image file by its name.
    """

    annotations: str | None = None
    images: dict[str, tuple[State, Content]] = field(default_factory=dict)

    def known(self, name: str, state: State, pixels: bool) -> Content | None:
        """The content of a file in this state, if it was read (with its pixels)."""
        before, content = self.images.get(name, ([], Content("")))
        fits = state and state == before and not (pixels and content.brightest is None)
        return content if fits else None


def memory_file(runs: Path, split: str, folder: Path) -> Path:
    """The file that remembers the images of a split.

    Args:
        runs: folder of the runs of a track.
        split: name of the split.
        folder: folder of its images; another one has another file.
    """
    return runs / "images" / f"{split}-{content_hash(str(folder.resolve()))}.json"


def load_memory(file: Path | None) -> Memory:
    """What a file remembers; nothing if it is missing or damaged, because it only saves time."""
    try:
        stored = json.loads(file.read_text()) if file else {}
        images = {
            name: (state, Content(*content)) for name, (state, content) in stored["images"].items()
        }
        return Memory(stored["annotations"], images)
    except (OSError, ValueError, AttributeError, TypeError, LookupError):
        return Memory()


def save_memory(memory: Memory, file: Path) -> None:
    """Remember images."""
    content = {"annotations": memory.annotations, "images": memory.images}
    write_text(file, json.dumps(content, separators=(",", ":")))


def known_contents(file: Path, annotations: str, folder: Path) -> str | None:
    """The hash of the contents of a split's images, without reading one.

    Args:
        file: what remembers them, see :func:`memory_file`.
        annotations: sha256 of the present annotation file.
        folder: folder of the images.

    Returns:
        :data:`CHANGED` if an image has another size or time of change; None if nothing is known, or
        if only metadata have changed, as by ``chmod`` or by a copy that keeps the time.
    """
    memory = load_memory(file)
    if memory.annotations != annotations:
        return None
    before = [state for state, _ in memory.images.values()]
    now = file_states([folder / name for name in memory.images])
    if now != before:
        is_touched = [state[:2] for state in now] == [state[:2] for state in before]
        return None if is_touched else CHANGED
    return contents_sha256({name: content.sha256 for name, (_, content) in memory.images.items()})


def contents_sha256(images: Mapping[str, str]) -> str:
    """A hash of the contents of images.

    Args:
        images: sha256 of each file by its name.
    """
    return _sha256(sorted(images.items()))


def listing_sha256(names: Sequence[str], sizes: Sequence[int]) -> str:
    """A hash of names and sizes in bytes, by which results of earlier versions know images."""
    return _sha256(sorted(zip(names, sizes, strict=True)))


def _sha256(pairs: Iterable[tuple[str, str | int]]) -> str:
    return hashlib.sha256(json.dumps([list(pair) for pair in pairs]).encode()).hexdigest()


def file_states(paths: Sequence[Path]) -> list[State]:
    """The state of each file; empty if it does not exist."""
    return in_threads(lambda part: [_state(path) for path in part], paths)


def in_threads(work: Callable[[Sequence[Path]], list[T]], paths: Sequence[Path]) -> list[T]:
    """``work`` on parts of a list in parallel: a thread for each file would take longer."""
    size = max(1, -(-len(paths) // READERS))
    with ThreadPoolExecutor(READERS) as pool:
        parts = pool.map(work, (paths[i : i + size] for i in range(0, len(paths), size)))
        return [one for part in parts for one in part]


def _state(path: Path) -> State:
    try:
        found = path.stat()
    except OSError:
        return []
    # A copy may keep the old time of change, but no program sets that of the metadata.
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]
