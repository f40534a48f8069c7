"""No circular imports between modules or packages."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import icd

ROOT = Path(icd.__file__).parents[1]

Graph = Mapping[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in (ROOT / "icd").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports anywhere: in functions and for type checkers, too."""
    package = ".".join(path.parent.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{path} imports from above its folder"
            module = ".".join(filter(None, [package if node.level else "", node.module]))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def module_graph() -> dict[str, set[str]]:
    """What each module imports of the package itself."""
    every = modules()
    graph = {}
    for name, path in every.items():
        names = {other for other in imported(path) if other in every and other != name}
        # `from icd.a import b` is an import of the module icd.a.b, not of icd.a, if there is one.
        graph[name] = {a for a in names if not any(b.startswith(f"{a}.") for b in names)}
    return graph


def package_of(name: str) -> str:
    """icd.methods of icd.methods.icd.fast; a module at the top is a package of its own."""
    return ".".join(name.split(".")[:2])


def package_graph() -> dict[str, set[str]]:
    """The same for the packages below icd, and the modules that stand beside them."""
    graph: dict[str, set[str]] = {}
    for name, others in module_graph().items():
        ours = graph.setdefault(package_of(name), set())
        ours |= {package_of(other) for other in others} - {package_of(name), "icd"}
    return graph


def circles(graph: Graph) -> set[frozenset[str]]:
    """The groups of nodes that reach each other."""
    reached = {node: reach(graph, node) for node in graph}
    groups = {frozenset(b for b in reached[a] if a in reached.get(b, ())) for a in graph}
    return {group for group in groups if group}


def reach(graph: Graph, start: str) -> set[str]:
    """All nodes that a path of at least one edge leads to."""
    seen: set[str] = set()
    waiting = [*graph.get(start, ())]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph.get(node, ())
    return seen


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert not circles(module_graph())


def test_no_packages_import_each_other_in_a_circle() -> None:
    assert not circles(package_graph())


def test_the_methods_need_nothing_that_stands_above_them() -> None:
    assert package_graph()["icd.methods"] <= {"icd.data", "icd.errors", "icd.files", "icd.seeds"}


def test_commands_stand_above_everything_and_on_their_own() -> None:
    assert {name for name, others in package_graph().items() if "icd.commands" in others} == {
        "icd.__main__"
    }
    graph = module_graph()
    themes = {name for name in graph if name.startswith("icd.commands.")}
    for theme in themes:
        assert graph[theme] & themes <= {"icd.commands.arguments"}


def test_finds_circles() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "d"}, "e": set()}
    assert circles(graph) == {frozenset("bc"), frozenset("d")}
