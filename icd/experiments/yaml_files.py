"""YAML files of plain data: repeated keys, dates and infinities are errors."""

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
    """Refuses repeated keys. The base class would silently keep the last one."""

    def construct_document(self, node: yaml.Node) -> Any:
        for mapping in _mappings(node, set()):  # before merges (<<) add keys to them
            _require_different_keys(mapping)
        return super().construct_document(node)


def _mappings(node: yaml.Node, seen: set[int]) -> Iterator[yaml.MappingNode]:
    """All mappings in a node, each once. Aliases repeat nodes and may be recursive."""
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
            problem = f"the key {name!r} is repeated"
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)


def load_yaml(path: Path, model: type[M], what: str) -> M:
    """The content of a YAML file as a model.

    Args:
        path: of the file.
        model: of the content.
        what: the expected type of file (track, ablation), for error messages.

    Raises:
        InputError: the file is missing, is not YAML, or does not match the model.
    """
    return validate(model, read_yaml(path, what), path)


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file, checked only for being plain data.

    Args:
        path: of the file.
        what: the expected type of file (track, ablation), for error messages.

    Raises:
        InputError: the file is missing, is not YAML, or holds other values than JSON has.
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
    """Raise InputError for values that JSON does not have, because runs are hashed as JSON."""
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
