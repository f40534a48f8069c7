"""The annotation files that the pipeline makes: parts of others, and VOC's XML converted.

A part is drawn by a seed, or leaves out images that cannot be read.
"""

from __future__ import annotations

from pathlib import Path

from icd.data.annotations import read_annotations
from icd.data.contents import memory_file
from icd.data.images import broken_images
from icd.data.made import verify_made, write_made
from icd.data.subset import subset, without_images
from icd.data.voc import convert
from icd.errors import InputError
from icd.experiments.splits import Split
from icd.experiments.track import Track


def make(track: Track, name: str) -> Path:
    """Make the annotation file of a split; returns its path.

    Raises:
        InputError: the track does not say how, or the user's files cannot be read.
    """
    if name not in track.made_splits:
        problem = f"no file is made for {name!r}"
        expected = f"a split with subset, voc or skip_broken: one of {track.made_splits}"
        raise InputError(track.file, "data.splits", problem, expected)
    split, root = track.splits[name], track.data_root
    sources, part = split.sources(root), split.subset
    content = convert(root, split.voc) if split.voc else read_annotations(sources[0])
    if part:
        content = subset(content, part.fraction, part.seed)
    file, broken = split.annotation_file(root), None
    if split.skip_broken:
        memory = memory_file(track.results / "runs", name, track.images(name))
        broken = broken_images(content, track.images(name), memory)
        content = without_images(content, broken)
        named = "; ".join(f"{image}: {why}" for image, why in broken.items()) or "none"
        print(f"{len(broken):,} images that cannot be read are left out: {named}")
    write_made(file, content, sources, part.sha256 if part else None, broken)
    print(f"{len(content['images']):,} images, written: {file}")
    return file


def make_or_verify(track: Track) -> None:
    """Make the files that are missing; raise InputError if one is not as it was made."""
    for name in track.made_splits:
        split = track.splits[name]
        if split.annotation_file(track.data_root).exists():
            verify(split, track.data_root)
        else:
            make(track, name)


def verify(split: Split, root: Path) -> None:
    """Raise InputError unless the file of a split is as it was made, from the same data."""
    digits = split.subset.sha256 if split.subset else None
    verify_made(split.annotation_file(root), split.sources(root), digits)
