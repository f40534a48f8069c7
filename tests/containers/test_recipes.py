"""The Dockerfile and Apptainer's definition make the same container, small and without root."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib

import pytest
import yaml

from icd.experiments.trackers import TRACKERS
from icd.experiments.yaml_files import ROOT
from tests.containers.recipes import (
    SCRIPT,
    arguments,
    commands,
    definition,
    dockerfile,
    ignored_but,
)

INSTALL = "sh /opt/icd/containers/install.sh"


def test_both_start_from_one_release_of_debian_with_the_python_of_the_pins() -> None:
    (base,) = (argument.partition("=")[2] for argument in arguments("ARG") if "BASE" in argument)
    assert arguments("FROM") == ["${BASE}"]
    assert definition()["Bootstrap"] == ["docker"]
    assert definition()["From"] == [base] == ["debian:bookworm-slim"]  # Python 3.11
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert "python=3.11" in environment["dependencies"]


def test_both_install_with_one_script() -> None:
    assert [run for run in arguments("RUN") if "install" in run] == [INSTALL]
    assert definition()["post"] == [INSTALL]


def installations(lines: list[str], pip: str) -> list[str]:
    """What pip is told to install, without what it should say and the project's extras."""
    told = [line.strip().removeprefix(f"{pip} install ") for line in lines if f"{pip} ins" in line]
    return [re.sub(r"'\.\[.*\]'", ".", line.removeprefix("--quiet ")) for line in told]


def test_pip_is_told_what_make_tells_it() -> None:
    make = (ROOT / "Makefile").read_text().splitlines()
    told = installations(commands(), "$pip")
    assert told == installations(make, "$(PIP)")
    assert len(told) == 3
    assert all(line.startswith("-c constraints.txt ") for line in told)


def test_all_trackers_and_onnx_are_installed() -> None:
    (line,) = (line for line in commands() if " -e " in line)
    assert line.endswith(f"'.[{','.join(('onnx', *TRACKERS))}]'")


def test_the_script_stops_at_the_first_error_and_leaves_no_cache() -> None:
    lines = commands()
    assert lines[0] == "set -eu"
    assert any("PIP_NO_CACHE_DIR=1" in line for line in lines)
    steps = [line for line in lines if line.startswith(("apt-get", "rm "))]
    assert [line.split()[1] for line in steps] == ["update", "install", "-rf"]
    assert {"--yes", "--no-install-recommends"} <= {*steps[1].split()}
    assert steps[2] == "rm -rf /var/lib/apt/lists/*"


@pytest.mark.parametrize(
    "script",
    [
        SCRIPT.read_text(),
        *arguments("RUN"),
        *("\n".join(definition()[key]) for key in ("post", "environment", "runscript", "test")),
    ],
    ids=["install", "first RUN", "second RUN", "post", "environment", "runscript", "test"],
)
def test_shells_can_read_the_commands(script: str) -> None:
    for shell in ("bash", "sh"):
        result = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")


def test_what_runs_is_not_root() -> None:
    """Apptainer runs as the user who calls it; Docker needs to be told."""
    names = [one.name for one in dockerfile()]
    assert names.count("USER") == 1
    after = names[names.index("USER") :]
    assert not {"RUN", "COPY"} & {*after}
    user = arguments("USER")[0]
    assert any(f"useradd --create-home --uid 1000 {user}" in run for run in arguments("RUN"))
    assert f"HOME=/home/{user} USER={user}" in arguments("ENV")  # for users that it does not know


def test_both_contain_the_same_files_of_the_project() -> None:
    sources, targets = zip(*map(str.split, definition()["files"]), strict=True)
    assert targets == tuple(f"/opt/icd/{source}" for source in sources)
    assert {*sources} == ignored_but()
    assert all((ROOT / source).exists() for source in sources)
    assert arguments("COPY")[-1] == ". /opt/icd"


def test_the_installation_reads_only_what_was_copied_before() -> None:
    """Otherwise, each edit of the code would install everything again."""
    early = [one.split()[:-1] for one in arguments("COPY")[:-1]]
    copied = {source for sources in early for source in sources}
    assert all((ROOT / source).is_file() for source in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    version = project["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert version == "icd.__version__"
    read = {project["project"]["readme"], *project["project"]["license-files"]}
    assert copied == read | {
        "pyproject.toml",
        "constraints.txt",
        "icd/__init__.py",
        "containers/install.sh",
    }


def test_both_find_the_installed_commands() -> None:
    path = "PATH=/opt/icd/.venv/bin:$PATH"
    assert path in arguments("ENV")
    assert definition()["environment"] == [f"export {path}"]
    assert json.loads(arguments("CMD")[0]) == ["icd", "--help"]
