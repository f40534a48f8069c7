"""Every command of the guides does what it says, on tiny data; what would train is only planned."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from icd.__main__ import main, parser
from icd.experiments.yaml_files import ROOT
from tests.data.devkit import write_devkit
from tests.new_track import folders

pytestmark = pytest.mark.slow

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DATA = "/data/"  # where the guides assume the reader's data
# These need a network, a GPU, a finished run or hours, so only their arguments are read here. Each
# has tests of its own.
ONLY_READ = {"fetch", "rehearse", "evaluate", "export", "deployment"}


# The shell commands of a page, and the files that it says to save, in their order.
BLOCK = re.compile(
    r"```sh\n(?P<lines>.*?)```|as\s`(?P<file>\S+)`:\s+```yaml\n(?P<content>.*?)```", re.S
)
WITH_COMMANDS = [page for page in PAGES if "```sh" in page.read_text()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a clone, and the data sets that the guides name."""
    place = tmp_path_factory.mktemp("clone")
    for file in ROOT.iterdir():
        if not file.name.startswith(".") and file.name not in ("data", "results", "site"):
            (place / file.name).symlink_to(file)
    committed = subprocess.check_output(["git", "ls-files", "results"], cwd=ROOT, text=True)
    for name in committed.splitlines():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place / name)
    for name in ("coco", "birds"):
        folders.coco(place / "data-of-user" / name)
    garden = place / "data-of-user/garden"
    for split in ("train", "test"):
        numbers = folders.IMAGES[split]
        for number in numbers:
            folders.write_image(garden / f"photos/{number}.jpg", number)
        (garden / f"{split}.json").write_text(json.dumps(folders.content(numbers)))
    apptainer = place / "bin/apptainer"  # Snakemake asks for its version
    apptainer.parent.mkdir()
    apptainer.write_text("#!/bin/sh\necho apptainer version 1.3.4\n")
    apptainer.chmod(0o755)
    write_devkit(place / "data-of-user/VOCdevkit")
    return place


@pytest.fixture(scope="module")
def tried() -> set[str]:
    """Commands that several pages have are tried once."""
    return set()


def run(place: Path, *command: str) -> str:
    """What a command prints; it must succeed."""
    search = os.pathsep.join([str(Path(sys.executable).parent), f"{place}/bin", os.environ["PATH"]])
    result = subprocess.run(
        command,
        cwd=place,
        env=os.environ | {"PATH": search, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def snakemake(place: Path, *arguments: str) -> None:
    """Plan it; before ``--config``, which takes all words after it."""
    run(place, "snakemake", "--dry-run", *arguments)


def icd(place: Path, *arguments: str) -> None:
    """Do it, or read the arguments."""
    parser().parse_args(arguments)
    if arguments[0] not in ONLY_READ:
        with contextlib.chdir(place):  # in this process, which has imported PyTorch
            assert main(arguments) == 0


def make(place: Path, *arguments: str) -> None:
    """List what would be done."""
    run(place, "make", "--dry-run", *arguments)


def pytest_(place: Path, *arguments: str) -> None:
    """Find the tests."""
    run(place, sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/gpu", *arguments)


def install(place: Path, *arguments: str) -> None:
    """Name extras and files that there are."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"\[(.*?)\]", " ".join(arguments)):
        assert {*extra.split(",")} <= project["optional-dependencies"].keys()
    for file in re.findall(r"\S+\.txt", " ".join(arguments)):
        assert (ROOT / file).is_file()


def container(place: Path, *arguments: str) -> None:
    """Plan without the container, or pretend to build it from a recipe that there is."""
    if "snakemake" in arguments:
        snakemake(place, *arguments[arguments.index("snakemake") + 1 :])
    else:
        assert any(word.startswith("containers/") and (ROOT / word).is_file() for word in arguments)
        for image in (word for word in arguments if word.endswith(".sif")):
            (place / image).touch()


def on_files(place: Path, *arguments: str) -> None:
    """Name files or folders of a clone in which something was made."""
    for name in arguments:
        known = (place / name).exists() or name in ("diff", "results/mini/runs")
        assert known or name.startswith(("-", ".venv"))


HOW: dict[str, Callable[..., None]] = {
    "snakemake": snakemake,
    "python -m icd": icd,
    "python -m pytest": pytest_,
    "make": make,
    "pip install": install,
    "pipx install": install,
    "pre-commit": lambda place, *_: on_files(place),
    "docker": container,
    "apptainer": container,
    "git": on_files,
    "rm": on_files,
    "source": on_files,
}


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_the_commands_of_a_page_work(page: Path, place: Path, tried: set[str]) -> None:
    text = page.read_text().replace(DATA, f"{place}/data-of-user/")
    for block in BLOCK.finditer(text):
        if block["file"]:
            (place / block["file"]).write_text(block["content"])
            tried -= {line for line in tried if block["file"] in line}
        for line in (block["lines"] or "").replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            words = [word for word in words if word != "-n"]  # all of Snakemake is a dry run here
            if words and (command := shlex.join(words)) not in tried:
                start = next((how for how in HOW if f"{command} ".startswith(f"{how} ")), None)
                assert start, f"no way to try: {line}"
                HOW[start](place, *words[len(start.split()) :])
                tried.add(command)
