"""pyproject.toml, constraints.txt and environment.yml agree and cover all imports."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = {
    extra: [Requirement(text) for text in texts]
    for extra, texts in PROJECT["optional-dependencies"].items()
}
DOCS, TEST = EXTRAS.pop("docs"), EXTRAS.pop("test")
USERS = [requirement for extra in EXTRAS.values() for requirement in extra]
PIN_LINES = [
    line
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
PINS = dict(line.split("==") for line in PIN_LINES)

pinned_only = pytest.mark.skipif(
    os.environ.get("ICD_PINNED") != "1",
    reason="needs the pinned environment: run `make test`, or set ICD_PINNED=1 in it",
)


def test_the_tests_have_all_extras_for_users() -> None:
    assert {*map(str, USERS)} <= {*map(str, TEST)}


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def test_constraints_hold_one_plain_pin_per_package() -> None:
    """No ranges, hosts, options or markers, and names as pip normalises them."""
    plain = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*")
    assert [line for line in PIN_LINES if not plain.fullmatch(line)] == []
    counts = Counter(line.split("==")[0] for line in PIN_LINES)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("requirement", RUNTIME + DOCS + TEST, ids=str)
def test_pin_is_inside_the_declared_range(requirement: Requirement) -> None:
    assert requirement.specifier, "a lower bound says what the code needs"
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_conda_environment_has_the_same_versions() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, last = environment["dependencies"]
    options = ["-c constraints.txt", "-e .[test]"]
    assert "python=3.11" in conda
    assert last["pip"][:2] == options
    pins = dict(line.split("==") for line in last["pip"][2:])
    assert pins == {name: PINS[name] for name in sorted(names(RUNTIME + TEST))}


def imported_modules(path: Path) -> set[str]:
    """Top-level names that a Python file or a Snakefile imports absolutely."""
    text = path.read_text()
    if path.suffix != ".py":
        return set(re.findall(r"^(?:import|from)\s+(\w+)", text, flags=re.MULTILINE))
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(
    ("patterns", "declared"),
    [
        (["icd/**/*.py"], RUNTIME + USERS),  # imported where they are installed
        (["Snakefile", "workflow/**/*.py", "workflow/**/*.smk"], RUNTIME),
        (["docs/hooks/*.py"], RUNTIME + DOCS),
        (["tests/**/*.py"], RUNTIME + TEST),
    ],
    ids=["icd", "workflow", "docs", "tests"],
)
def test_every_import_is_declared(patterns: list[str], declared: list[Requirement]) -> None:
    owners = metadata.packages_distributions()
    files = [path for pattern in patterns for path in ROOT.glob(pattern)]
    assert files
    undeclared = set()
    for path in files:
        for module in imported_modules(path) - sys.stdlib_module_names:
            local = (ROOT / module).is_dir() or (
                path.parts[len(ROOT.parts)] != "icd" and path.with_name(f"{module}.py").exists()
            )
            owned_by = {canonicalize_name(name) for name in owners.get(module, [])}
            if not local and not owned_by & names(declared):
                undeclared.add(f"{path.relative_to(ROOT)}: {module}")
    assert sorted(undeclared) == []


def installed_closure(roots: list[Requirement]) -> dict[str, str]:
    """Installed version of the roots and, marker by marker, of all they need on this machine."""
    versions: dict[str, str] = {}
    todo, seen = list(roots), set()
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras) or {""}
        if (name, *sorted(extras)) in seen:
            continue
        seen.add((name, *sorted(extras)))
        versions[name] = metadata.version(name)
        for needed in map(Requirement, metadata.requires(name) or []):
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(needed)
    return versions


@pinned_only
def test_installed_versions_are_the_pins() -> None:
    installed = installed_closure(RUNTIME + DOCS + TEST)
    assert installed == {name: PINS.get(name, "no pin") for name in installed}


@pinned_only
@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.platform != "linux",
    reason="constraints.txt was made on Linux with Python 3.11",
)
def test_nothing_else_is_pinned() -> None:
    installed = installed_closure(RUNTIME + DOCS + TEST)
    assert PINS.keys() - installed.keys() <= {"pip", "setuptools"}


@pinned_only
def test_opencv_needs_no_display_library() -> None:
    import cv2

    assert re.search(r"GUI:\s+NONE", cv2.getBuildInformation())


def test_no_file_names_this_machine() -> None:
    """Paths of the machine it was written on and package hosts do not belong into the project."""
    foreign = re.compile(r"(?<![\w.])/(?:work|root|tmp/w)/|\b(?:pypi\.org|pythonhosted\.org)")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        try:
            lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, UnicodeDecodeError):  # deleted but still listed, or binary
            continue
        found += [f"{name}:{n}" for n, line in enumerate(lines, 1) if foreign.search(line)]
    assert found == []
