"""mmdet's model zoo, as the metafiles of the installed mmdet describe it; mmdet is not imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from icd.errors import InputError

WEIGHTS = Path("weights")  # what is downloaded, for all tracks; relative to the working directory


@dataclass(frozen=True)
class ZooModel:
    """A trained detector of the zoo.

    name: as in its metafile.
    config: path of its config, relative to mmdet's configs.
    url: of its weights.
    published: AP in percent on COCO as mmdet states it: ``AP`` (of boxes), ``mask AP``.
    """

    name: str
    config: str
    url: str
    published: dict[str, float]

    @property
    def checkpoint(self) -> Path:
        """Where its weights lie once they are downloaded."""
        return WEIGHTS / self.url.rsplit("/", 1)[-1]

    @property
    def sha256_prefix(self) -> str:
        """The first digits of the weights' sha256, with which mmdet ends most file names."""
        found = re.search(r"-([0-9a-f]{8,64})\.pth$", self.url)
        return found[1] if found else ""


def configs() -> Path:
    """The folder of the configs and metafiles that the installed mmdet ships."""
    spec = find_spec("mmdet")
    if spec is None or spec.origin is None:
        raise InputError("mmdet", "", "is not installed", "the packages of pyproject.toml")
    return Path(spec.origin).parent / ".mim" / "configs"


def model(name: str) -> ZooModel:
    """The model of this name.

    Raises:
        InputError: there is none, or its metafile lacks its config or weights.
    """
    texts = {file: file.read_text(encoding="utf-8") for file in configs().glob("*/metafile.yml")}
    for file, text in texts.items():
        for entry in _entries(text) if name in text else ():
            if entry.get("Name") == name:
                return _read(entry, file)
    known = re.findall(r"^ *- Name: *(\S+)", "\n".join(texts.values()), re.M)
    near = get_close_matches(name, known, n=3)
    expected = f"one of {near}" if near else f"a Name in the metafiles of {configs()}"
    raise InputError("mmdet's model zoo", name, "is unknown to the installed mmdet", expected)


def _entries(text: str) -> Iterator[dict[str, Any]]:
    """The models of a metafile: under ``Models``, or the whole."""
    content = yaml.safe_load(text)
    yield from content.get("Models") or () if isinstance(content, dict) else content


def _read(entry: dict[str, Any], file: Path) -> ZooModel:
    """A model as its entry in a metafile describes it."""
    config, url = unquote(entry["Config"]).removeprefix("configs/"), entry.get("Weights")
    if not isinstance(url, str):
        raise InputError(file, entry["Name"], "names no file of weights", "a model with Weights")
    if not (configs() / config).is_file():
        problem = f"names the config {config}, which does not exist"
        raise InputError(file, entry["Name"], problem, "a model with a config")
    stated = {
        key: value
        for result in entry.get("Results") or ()
        if result["Dataset"] == "COCO"
        for key, value in (result.get("Metrics") or {}).items()
    }
    names = {"AP": "box AP", "mask AP": "mask AP"}
    published = {ours: stated[theirs] for ours, theirs in names.items() if theirs in stated}
    return ZooModel(entry["Name"], config, url.strip(), published)


def teacher(name: str, sha256: str = "") -> dict[str, str]:
    """What a run states of a teacher from the zoo.

    Args:
        name: of the model.
        sha256: of its weights, in full; without it, what the name of their file states of it.

    Raises:
        InputError: there is no such model, or its weights could not be verified.
    """
    found = model(name)
    if sha256 and not sha256.startswith(found.sha256_prefix):
        expected = f"{found.sha256_prefix}..., with which the file's name ends"
        raise InputError(found.url, "sha256", f"is {sha256}", expected)
    if not (sha256 or found.sha256_prefix):
        expected = "the hash of the file beside the model's name"
        raise InputError(found.url, "sha256", "is not part of the file's name", expected)
    return {
        "zoo": name,
        "config": found.config,
        "checkpoint": str(found.checkpoint),
        "sha256": sha256 or found.sha256_prefix,
    }
