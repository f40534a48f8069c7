"""Track and ablation files for tests: variants of the mini track."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from icd.experiments.base import validate
from icd.experiments.track import Track
from icd.experiments.track_content import TrackContent
from icd.experiments.yaml_files import WORKFLOW
from icd.mappings import merge

MINI = yaml.safe_load((WORKFLOW / "tracks/mini.yaml").read_text())
del MINI["roles"]["teacher"]["seed"]  # so that every seed has a teacher of its own
# A data set of the user's own in place of mini's.
OWN_DATA = {
    "root": "my data",
    "splits": {
        name: {"annotations": f"{name}.json", "images": f"{name} images"}
        for name in ("train", "test")
    },
}


def changed(content: Any, key: str, value: Any) -> Any:
    """A copy with another value under a dotted key; numbers index lists, None removes the key."""
    result = copy.deepcopy(content)
    *path, last = key.split(".")
    branch = result
    for part in path:
        branch = branch[int(part) if isinstance(branch, list) else part]
    if value is None:
        del branch[last]
    else:
        branch[int(last) if isinstance(branch, list) else last] = value
    return result


# A track of the user's own: the same under another name, because shipped names are reserved.
MINE: dict[str, Any] = MINI | {"name": "mine"}
# The same on a data set of the user's own, which has no split for pre-training.
OWN = changed(changed(MINE, "data", OWN_DATA), "roles.student.pretrained", None)


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything that is no dictionary and no list."""
    if not isinstance(tree, (dict, list)) or not tree:
        yield prefix, tree
        return
    for name, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from leaves(part, f"{prefix}.{name}" if prefix else str(name))


def track(content: dict[str, Any] = MINI) -> Track:
    """A track of this content, without a look at any file."""
    return Track(
        Path("track.yaml"), validate(TrackContent, content, Path("track.yaml")), Path("data")
    )


def described(track: Track, change: dict[str, Any], seed: int = 0) -> Any:
    """A run of a track, trained or imported: a test knows which."""
    return track.describe(change, seed)


def laid_over(track: Track, change: dict[str, Any]) -> Track:
    """A track with other values."""
    return stating(track, merge(track.content.stated(), change))


def stating(track: Track, content: dict[str, Any]) -> Track:
    """The same track with another content."""
    return replace(track, content=validate(TrackContent, content, track.file))


def write(path: Path, content: Any) -> Path:
    """A YAML file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
