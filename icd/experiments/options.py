"""What a track may say of distillation methods: the package's, and those it brings along."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from icd.errors import InputError
from icd.experiments.schema import check, definitions

OPTIMIZER = "type, lr, clip and further arguments of a torch.optim class"


def shipped_methods() -> dict[str, dict[str, Any]]:
    """The methods of the package by name: each with its class, and whether it learns."""
    return definitions("methods")


def class_path(method: Mapping[str, Any]) -> str:
    """module.Class of a method as a run describes it.

    Raises:
        InputError: it is neither one of the package's nor states a class.
    """
    if "class" in method:
        return method["class"]
    if method["name"] not in shipped_methods():
        expected = f"one of {sorted(shipped_methods())}, or class: module.Class of your own"
        raise InputError("methods", method["name"], "is no known method", expected)
    return shipped_methods()[method["name"]]["class"]


def check_methods(content: Mapping[str, Any], file: Path) -> None:
    """Raise InputError unless all that a track says of methods can be carried out."""
    methods = content["methods"]
    for name, method in methods.items():
        _check_method(name, method, file)
    for detector, entry in content["detectors"].items():
        for name, change in entry.get("methods", {}).items():
            key = ("detectors", detector, "methods", name)
            if name not in methods and name not in shipped_methods():
                expected = f"one of {sorted({*methods, *shipped_methods()})}"
                raise InputError(file, ".".join(key), "is no known method", expected)
            check_options(name, change["options"], file, (*key, "options"))


def _check_method(name: str, method: Mapping[str, Any], file: Path) -> None:
    key, own = f"methods.{name}", shipped_methods().get(name)
    if own is None and "class" not in method:
        expected = f"one of {sorted(shipped_methods())}, or class: module.Class of your own"
        raise InputError(file, key, "is no known method", expected)
    if "class" in method:
        if own is not None:
            raise InputError(file, key, "is a method of the package", "another name for your own")
        _require_module(method["class"], f"{key}.class", file)
    elif own["learns"] and "optimizer" not in method:
        raise InputError(file, f"{key}.optimizer", "is missing", OPTIMIZER)
    check_options(name, method.get("options", {}), file, ("methods", name, "options"))


def check_options(name: str, options: Mapping[str, Any], file: Path, key: tuple[str, ...]) -> None:
    """Raise InputError unless a method of the package has such options; others have what they like.

    ``key``: where the options stand in ``file``.
    """
    if name in shipped_methods():
        check(options, "methods", file, key, name)


def _require_module(path: str, key: str, file: Path) -> None:
    """Raise InputError unless Python would find the package of a class; nothing is imported."""
    package = path.partition(".")[0]
    # The training processes look into the working directory first, Snakemake itself does not.
    if not (PathFinder.find_spec(package, [str(Path.cwd())]) or find_spec(package)):
        problem = f"there is no module {package!r}"
        expected = "module.Class in the working directory, or of an installed package"
        raise InputError(file, key, problem, expected)
