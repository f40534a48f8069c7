"""Experiment files: YAML, checked against a schema, with errors a user can act on."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from icd.errors import InputError

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "workflow"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # in C, it is eight times as fast
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


def load_yaml(path: Path, schema: str) -> dict[str, Any]:
    """The content of a YAML file that fits ``workflow/schemas/<schema>.schema.yaml``.

    Raises:
        InputError: the file is missing, is no YAML, or breaks the schema.
    """
    content = read_yaml(path, schema)
    check(content, schema, path)
    return content


def read_yaml(path: Path, schema: str) -> Any:
    """The content of a YAML file, of plain data but otherwise unchecked.

    Raises:
        InputError: the file is missing or no YAML; ``schema`` names what it should be.
    """
    try:
        content = yaml.load(path.read_text(), _Loader)
    except OSError as error:
        raise InputError(
            path, "", f"cannot be read ({error.strerror})", f"a {schema} file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())  # on one line
        raise InputError(path, "", f"is no YAML ({reason})", f"a {schema} file") from error
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


def check(
    content: Any, schema: str, path: Path, key: Sequence[str] = (), part: str | None = None
) -> None:
    """Raise InputError unless ``content``, found in ``path`` under ``key``, fits a schema.

    ``part`` names one of the schema's ``$defs`` instead of the whole.
    """
    validator = _validator(schema)
    if part is not None:
        validator = validator.evolve(
            schema={"$ref": f"#/$defs/{part}", "$defs": validator.schema["$defs"]}
        )
    error = best_match(validator.iter_errors(content))
    if error is not None:
        raise explain(path, error, key)


def definitions(schema: str) -> dict[str, dict[str, Any]]:
    """The ``$defs`` of a schema by name."""
    return _validator(schema).schema["$defs"]


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(
        yaml.safe_load((WORKFLOW / "schemas" / f"{schema}.schema.yaml").read_text())
    )


def explain(path: Path, error: ValidationError, prefix: Sequence[str] = ()) -> InputError:
    """A schema violation as file, key, what is there and what would be right."""
    key = ".".join(str(part) for part in [*prefix, *error.absolute_path])
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))
        return InputError(
            path, ".".join(filter(None, [key, unknown[0]])), "unknown key", f"one of {known}"
        )
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        part = error.schema.get("properties", {}).get(missing, {})
        expected = part.get("description", "this key")
        return InputError(path, ".".join(filter(None, [key, missing])), "is missing", expected)
    return InputError(path, key, f"is {error.instance!r}", _expectation(error))


def _expectation(error: ValidationError) -> str:
    """The schema's description of the value, else the violated condition, in words."""
    expected = error.schema.get("description", f"{error.validator} {error.validator_value}")
    text = error.instance
    if isinstance(text, str) and re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", text):
        expected += f" (YAML reads {text} as text: write numbers like 1.0e-3 or 1.0e+3)"
    return expected
