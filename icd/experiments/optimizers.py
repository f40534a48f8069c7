"""The optimisers of torch.optim and their arguments, parsed from its source, not imported."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

GIVEN = {"self", "params", "lr"}  # the model's parameters, and a key of its own
NEEDS_CLOSURE = {"LBFGS"}  # computes the loss several times in a step, which mmengine does not do


@cache
def optimizers() -> dict[str, frozenset[str]]:
    """Names of the classes, each with the arguments that a track may state."""
    spec = find_spec("torch")
    places = (spec and spec.submodule_search_locations) or []
    files = sorted(file for place in places for file in Path(place, "optim").glob("*.py"))
    nodes = [
        node
        for file in files
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef)
    ]
    found: dict[str, frozenset[str]] = {}
    known = {"Optimizer"}
    while new := [n for n in nodes if n.name not in known and known & {*map(ast.unparse, n.bases)}]:
        known |= {node.name for node in new}
        found |= {node.name: _arguments(node) for node in new}
    return {name: found[name] for name in sorted(found) if name not in NEEDS_CLOSURE}


def _arguments(node: ast.ClassDef) -> frozenset[str]:
    """Names of the constructor's arguments, without those that are given."""
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            names = [argument.arg for argument in (*method.args.args, *method.args.kwonlyargs)]
            return frozenset(names) - GIVEN
    return frozenset()
