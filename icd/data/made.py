"""Annotation files that the pipeline makes from others, with their sources and their own hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from icd.errors import InputError
from icd.files import read_json, sha256, write_text

PARTS = ("images", "annotations", "categories")
AGAIN = "the file as it was made; delete it, and the pipeline makes it again"


def write_made(
    output: Path,
    content: dict[str, Any],
    sources: Iterable[Path],
    digits: str | None = None,
    left_out: Iterable[str] | None = None,
) -> None:
    """Write an annotation file. The same content gives the same bytes.

    Args:
        output: file to write.
        content: images, annotations and categories.
        sources: files that it was made from; ``info.made`` names them with their sha256.
        digits: sha256 of the content that is expected, if known.
        left_out: names of images that are left out because they cannot be read; None if none is.

    Raises:
        InputError: the content has another sha256.
    """
    found = content_sha256(content)
    if digits not in (None, found):
        problem = f"would have the sha256 {found}"
        raise InputError(output, "info.made.sha256", problem, f"{digits}, as the track states")
    made: dict[str, Any] = {"sha256": found, "sources": {str(f): sha256(f) for f in sources}}
    if left_out is not None:
        made["left_out"] = sorted(left_out)
    parts = {key: content[key] for key in PARTS}
    write_text(output, json.dumps({"info": {"made": made}, **parts}, separators=(",", ":")) + "\n")


def left_out(content: Mapping[str, Any]) -> list[str] | None:
    """Names of the images that an annotation file leaves out; None for one that leaves none out.

    Args:
        content: of any annotation file.
    """
    info = content.get("info")
    made = info.get("made") if isinstance(info, dict) else None
    names: list[str] | None = made.get("left_out") if isinstance(made, dict) else None
    return names


def verify_made(file: Path, sources: Iterable[Path] = (), digits: str | None = None) -> None:
    """Raise InputError unless a file is as it was made, from these sources and with this sha256.

    Args:
        file: a file of :func:`write_made`.
        sources: files that must be the same as when it was made, in whatever folder.
        digits: sha256 of its content, if known.
    """
    content = read_json(file, "an annotation file that the pipeline made")
    info = content.get("info")
    made = info.get("made") if isinstance(info, dict) else None
    if not isinstance(made, dict) or not {*PARTS} <= content.keys():
        raise InputError(file, "info.made", "is missing", AGAIN)
    found = content_sha256(content)
    if made.get("sha256") != found:
        problem = f"is {made.get('sha256')}, but the content has {found}"
        raise InputError(file, "info.made.sha256", problem, AGAIN)
    if digits not in (None, found):
        problem, expected = f"is {found}", f"{digits}, as the track states"
        raise InputError(file, "info.made.sha256", problem, expected)
    known = {*(made.get("sources") or {}).values()}
    for source in sources:
        if sha256(source) not in known:
            problem = f"was another when {file} was made from it"
            raise InputError(source, "", problem, f"the same file; or delete {file}")


def content_sha256(content: dict[str, Any]) -> str:
    """SHA-256 of images, annotations and categories, whatever the order of their keys."""
    digest = hashlib.sha256()
    for key in PARTS:
        for entry in content[key]:
            digest.update(json.dumps(entry, sort_keys=True).encode() + b"\n")
        digest.update(b"\n")
    return digest.hexdigest()
