"""Files and folders that can be deleted, and the space that this frees."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["checkpoints", "runs", "data", "caches"]
MEANINGS: dict[Kind, str] = {
    "checkpoints": "checkpoints of finished runs, from which nothing resumes",
    "runs": "runs that no table of their track needs",
    "data": "earlier versions of generated data, and annotation files made from changed sources",
    "caches": "rehearsals in pieces, half-written files, weights that no table needs",
}


@dataclass(frozen=True)
class Item:
    """Something to delete.

    kind: see :data:`MEANINGS`.
    paths: files and folders.
    run: folder of the run that they belong to; its lock is held while they are deleted.
    """

    kind: Kind
    paths: tuple[Path, ...]
    run: Path | None = None

    @property
    def name(self) -> str:
        """What is deleted: the path, or the folder and the number of files."""
        if len(self.paths) == 1:
            return str(self.paths[0])
        return f"{self.paths[0].parent}: {len(self.paths):,} files"

    @property
    def bytes(self) -> int:
        """The space that this frees; files that have further names elsewhere free none."""
        seen: dict[tuple[int, int], tuple[int, int, int]] = {}
        for file in files(self.paths):
            stat = file.lstat()
            _, _, names = seen.get((stat.st_dev, stat.st_ino), (0, 0, 0))
            seen[stat.st_dev, stat.st_ino] = (stat.st_size, stat.st_nlink, names + 1)
        return sum(size for size, links, names in seen.values() if names >= links)

    def delete(self) -> None:
        """Delete it. Links are removed, not what they lead to."""
        for path in self.paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """All files in paths; links are not followed."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            for folder, _, names in os.walk(path):
                yield from (Path(folder, name) for name in names)
        else:
            yield path


def is_committed(item: Item) -> bool:
    """Whether git has files of an item; False outside a repository."""
    command = ["git", "ls-files", "-z", "--", *map(str, item.paths)]
    try:
        found = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return bool(found.stdout)


def megabytes(number: int) -> str:
    """A number of bytes in MB or GB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
