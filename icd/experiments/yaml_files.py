"""YAML files of plain data: a key given twice, a date or an infinity is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from icd.errors import InputError
from icd.experiments.base import M, validate

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "workflow"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # in C: 8x as fast
    """Refuses a key that is given twice, of which YAML would silently take the last."""

    def construct_document(self, node: yaml.Node) -> Any:
        for mapping in _mappings(node, set()):  # before merges put more keys into them
            _require_different_keys(mapping)
        return super().construct_document(node)


def _mappings(node: yaml.Node, seen: set[int]) -> Iterator[yaml.MappingNode]:
    """All mappings in a node, each once: aliases repeat a node and may be its own part."""
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    parts = node.value
    if isinstance(node, yaml.MappingNode):
        yield node
        parts = [part for pair in node.value for part in pair]
    for part in parts:
        yield from _mappings(part, seen)


def _require_different_keys(mapping: yaml.MappingNode) -> None:
    names = [key.value for key, _ in mapping.value]
    for (key, _), name in zip(mapping.value, names, strict=True):
        if names.count(name) > 1:
            problem = f"the key {name!r} stands twice"
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)


def load_yaml(path: Path, model: type[M], what: str) -> M:
    """The content of a YAML file as a model.

    Raises:
        InputError: the file is missing, is not YAML, or is not what the model describes; ``what``
            names what it should be.
    """
    return validate(model, read_yaml(path, what), path)


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file, of plain data but otherwise unchecked.

    Raises:
        InputError: the file is missing or not YAML; ``what`` names what it should be.
    """
    try:
        content = yaml.load(path.read_text(), _Loader)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise InputError(path, "", problem, f"a {what} file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())  # on one line
        raise InputError(path, "", f"is not YAML ({reason})", f"a {what} file") from error
    _require_plain(content, path)
    return content


def _require_plain(value: Any, path: Path, key: tuple[str, ...] = ()) -> None:
    """Only what JSON knows, since runs are identified by their JSON."""
    if isinstance(value, dict):
        for name, part in value.items():
            if not isinstance(name, str):
                expected = "keys that are text (YAML reads yes, no, on and off as true and false)"
                raise InputError(path, ".".join(key), f"has the key {name!r}", expected)
            _require_plain(part, path, (*key, name))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            _require_plain(part, path, (*key, str(i)))
    elif not isinstance(value, str | int | float | None) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        expected = "text, a number, true, false or null"
        raise InputError(path, ".".join(key), f"is {value!r}", expected)
