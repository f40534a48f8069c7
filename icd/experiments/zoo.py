"""mmdet's model zoo, read from the metafiles of the installed mmdet without importing it."""

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

WEIGHTS = Path("weights")  # downloads of all tracks, relative to the working directory


@dataclass(frozen=True)
class ZooModel:
    """A trained detector of the zoo.

    name: its name in the metafile.
    config: path of its config, relative to mmdet's folder of configs.
    url: URL of its weights.
    published: AP in percent on COCO as mmdet states it: ``AP`` (of boxes), ``mask AP``.
    """

    name: str
    config: str
    url: str
    published: dict[str, float]

    @property
    def checkpoint(self) -> Path:
        """The file to which its weights are downloaded."""
        return WEIGHTS / self.url.rsplit("/", 1)[-1]

    @property
    def sha256_prefix(self) -> str:
        """The first digits of the weights' sha256, which end most of mmdet's file names."""
        match = re.search(r"-([0-9a-f]{8,64})\.pth$", self.url)
        return match[1] if match else ""


def configs() -> Path:
    """The folder of the configs and metafiles of the installed mmdet."""
    spec = find_spec("mmdet")
    if spec is None or spec.origin is None:
        raise InputError("mmdet", "", "is not installed", "the packages of pyproject.toml")
    return Path(spec.origin).parent / ".mim" / "configs"


def model(name: str) -> ZooModel:
    """The model with this name.

    Raises:
        InputError: the model does not exist, or its metafile lacks its config or weights.
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
    """The models of a metafile: the list under ``Models``, or the whole file."""
    content = yaml.safe_load(text)
    yield from content.get("Models") or () if isinstance(content, dict) else content


def _read(entry: dict[str, Any], file: Path) -> ZooModel:
    """The model of an entry in a metafile."""
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
    published = {name: stated[metric] for name, metric in names.items() if metric in stated}
    return ZooModel(entry["Name"], config, url.strip(), published)


def teacher(name: str, sha256: str = "") -> dict[str, str]:
    """The fields of a run for a teacher from the zoo.

    Args:
        name: name of the model.
        sha256: full sha256 of its weights; by default, the digits in the name of their file.

    Raises:
        InputError: there is no such model, or its weights could not be verified.
    """
    entry = model(name)
    if sha256 and not sha256.startswith(entry.sha256_prefix):
        expected = f"{entry.sha256_prefix}..., as in the file's name"
        raise InputError(entry.url, "sha256", f"is {sha256}", expected)
    if not (sha256 or entry.sha256_prefix):
        expected = "the hash of the file beside the model's name"
        raise InputError(entry.url, "sha256", "is not part of the file's name", expected)
    return {
        "zoo": name,
        "config": entry.config,
        "checkpoint": str(entry.checkpoint),
        "sha256": sha256 or entry.sha256_prefix,
    }
