"""The base class of all typed descriptions, and errors that name file, key and remedy.

Every description (a track, an ablation, a run and their parts) is a pydantic model. It defines each
key once: type, bounds, default and, as ``description``, its meaning. Validation, error messages,
the JSON schemas for editors and the reference of all keys are derived from these models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from icd.errors import InputError

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
Key = Sequence[str | int]  # path to a value: keys of mappings and indices of lists


class Model(BaseModel):
    """Plain data with known keys. Validation is strict: it never converts text to a number."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        populate_by_name=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, content: Any) -> Any:
        if isinstance(content, Mapping) and cls.model_config.get("extra") == "forbid":
            known = sorted({field.alias or name for name, field in cls.model_fields.items()})
            for key in content:
                if key not in known and key not in cls.model_fields:
                    raise PydanticCustomError("unknown_key", "{key}", {"key": key, "known": known})
        return content

    def stated(self) -> dict[str, Any]:
        """The values that were set explicitly, without defaults, as plain data."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _require_different(values: list[T]) -> list[T]:
    if len({str(value) for value in values}) < len(values):
        raise ValueError("a value is repeated")
    return values


# Metadata for the type of a list without repeated values.
DIFFERENT = (AfterValidator(_require_different), Field(json_schema_extra={"uniqueItems": True}))
Name = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9][A-Za-z0-9_-]*$",
        description="a name of letters, digits, - and _, because it becomes part of file names",
    ),
]


def validate(model: type[M], content: Any, file: str | Path, key: Key = ()) -> M:
    """Validate ``content``, which stands in ``file`` under ``key``, and return it as a model.

    Raises:
        InputError: it does not match the model.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        _explain(error, model, content, file, key)


def _explain(
    error: ValidationError, model: type[BaseModel], content: Any, file: str | Path, key: Key
) -> NoReturn:
    """Raise one InputError: for a wrong key if there is one, else for the deepest error.

    Among alternatives, the deepest error belongs to the one that the user meant.
    """
    problems = [(_place(one, content), one) for one in error.errors()]
    place, problem = max(problems, key=lambda pair: (_is_of_key(pair[1]), len(pair[0])))
    problem_text, expected = _words(problem, place, model)
    name = ".".join(map(str, (*key, *place)))
    raise InputError(file, name, problem_text, expected) from error


def _place(problem: ErrorDetails, content: Any) -> list[str | int]:
    """The path of a problem in ``content``, without the alternatives in pydantic's path."""
    place: list[str | int] = []
    location = problem["loc"]
    if _is_of_key(problem):
        location = location[:-2]
    for part in location:
        is_key = isinstance(content, Mapping) and part in content
        if is_key or (isinstance(content, list) and isinstance(part, int)):
            content = content[part]
            place.append(part)
    if problem["type"] in ("unknown_key", "requires"):  # raised for the mapping that has the key
        return [*place, problem["ctx"]["key"]]
    return [*place, location[-1]] if problem["type"] == "missing" else place


def _is_of_key(problem: ErrorDetails) -> bool:
    """True if the key is wrong, not the value."""
    return problem["loc"][-1:] == ("[key]",)


def _words(
    problem: ErrorDetails, place: list[str | int], model: type[BaseModel]
) -> tuple[str, str]:
    """The problem with a value, and what is expected instead."""
    if problem["type"] == "unknown_key":
        return "unknown key", f"one of {problem['ctx']['known']}"
    if problem["type"] == "requires":
        return f"is {problem['ctx']['value']!r}", problem["ctx"]["expected"]
    expected = expectation(model.model_json_schema(), place, _is_of_key(problem))
    if problem["type"] == "missing":
        return "is missing", expected
    value = problem["input"]
    if isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", value):
        expected += f" (YAML reads {value} as text: write numbers like 1.0e-3 or 1.0e+3)"
    return f"is {value!r}", expected


def expectation(schema: Mapping[str, Any], place: Key, of_key: bool = False) -> str:
    """What a JSON schema expects at a path, in words."""
    nodes: list[Mapping[str, Any]] = [schema]
    for part in place:
        nodes = [inner for node in nodes for inner in _children(node, schema, part)]
    if of_key:
        parts = (part for node in nodes for part in _branches(node, schema))
        nodes = [part["propertyNames"] for part in parts if "propertyNames" in part]
    texts = dict.fromkeys(filter(None, (_expected(node, schema) for node in nodes)))
    return " or ".join(texts) or "another value"


def _branches(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A node of a schema and all its alternatives, with references resolved."""
    yield node
    if "$ref" in node:
        yield from _branches(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    for key in ("anyOf", "oneOf", "allOf"):
        for part in node.get(key, ()):
            yield from _branches(part, schema)


def _children(
    node: Mapping[str, Any], schema: Mapping[str, Any], part: str | int
) -> Iterator[Mapping[str, Any]]:
    """The schemas of the value under a key or at an index of a list."""
    for branch in _branches(node, schema):
        if isinstance(part, int):
            child = branch.get("items")
        else:
            others = [*branch.get("patternProperties", {}).values()]
            others += [branch.get("additionalProperties")]
            child = branch.get("properties", {}).get(part, others[0])
        if isinstance(child, Mapping):
            yield child


def _expected(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Type and bounds of a value, followed by its meaning."""
    branches = list(_branches(node, schema))
    types = dict.fromkeys(filter(None, map(type_words, branches)))
    meaning = next((part["description"] for part in branches if "description" in part), "")
    meaning = " ".join(meaning.split("\n\n")[0].split()).rstrip(".")
    meaning = re.sub(r"^(An?|The|What|How) ", lambda word: word[0].lower(), meaning)
    if types and meaning:
        return f"{' or '.join(types)} ({meaning})"
    return " or ".join(types) or meaning


def type_words(node: Mapping[str, Any]) -> str:
    """A schema's type and bounds in words, e.g. ``a whole number from 1``; may be empty."""
    if "enum" in node or "const" in node:
        *others, last = map(_word, node.get("enum", [node.get("const")]))
        return f"{', '.join(others)} or {last}" if others else last
    if node.get("type") == "boolean":
        return "true or false"
    if node.get("type") == "array" and "items" in node:
        return _list_words(node)
    if node.get("type") not in ("integer", "number"):
        return ""
    noun = "whole number" if node["type"] == "integer" else "number"
    if node.get("exclusiveMinimum") == 0:
        return f"a positive {noun}" + _below(node)
    least = f" from {_word(node['minimum'])}" if "minimum" in node else ""
    return f"a {noun}{least}" + _below(node)


def _list_words(node: Mapping[str, Any]) -> str:
    """The allowed number of items of a list, in words."""
    least, most = node.get("minItems", 0), node.get("maxItems")
    if most is not None:
        return f"a list of {most if least == most or most == 1 else f'{least} to {most}'}"
    if node.get("uniqueItems"):
        return "a list of different values"
    return f"a list of {least} or more" if least else "a list"


def _below(node: Mapping[str, Any]) -> str:
    if "maximum" in node:
        return f" to {_word(node['maximum'])}"
    return f" below {_word(node['exclusiveMaximum'])}" if "exclusiveMaximum" in node else ""


def _word(value: Any) -> str:
    """A value as YAML has it, with all digits of a whole number."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
