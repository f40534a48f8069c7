"""The recipes of containers as data."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from icd.experiments.yaml_files import ROOT

DOCKERFILE, DEFINITION = ROOT / "containers/Dockerfile", ROOT / "containers/icd.def"
SCRIPT = ROOT / "containers/install.sh"


class Instruction(NamedTuple):
    """An instruction of a Dockerfile, e.g. RUN, and its argument."""

    name: str
    argument: str


def dockerfile() -> list[Instruction]:
    """The instructions of the Dockerfile, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.M)
    lines = filter(None, text.replace("\\\n", " ").splitlines())
    return [Instruction(*line.split(maxsplit=1)) for line in lines]


def arguments(name: str) -> list[str]:
    """The arguments of all instructions of a name."""
    return [one.argument for one in dockerfile() if one.name == name]


def definition() -> dict[str, list[str]]:
    """The lines of each section of Apptainer's definition; those of its header by key."""
    sections: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in map(str.strip, DEFINITION.read_text().splitlines()):
        if line.startswith("%"):
            section = line[1:]
        elif line and not line.startswith("#"):
            key, _, value = line.partition(": ")
            sections[section or key].append(line if section else value)
    return dict(sections)


def commands() -> list[str]:
    """The commands of the script that both recipes run."""
    text = SCRIPT.read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def ignored_but() -> set[str]:
    """What .dockerignore lets into an image."""
    lines = Path(ROOT, ".dockerignore").read_text().splitlines()
    return {line[1:] for line in lines if line.startswith("!")}
