"""Render a JSON schema as a reference of keys, in place of ``<!-- schema: NAME -->`` in a page.

It knows what our schemas use of draft 2020-12: properties, arrays, maps, ``$ref``, unions, bounds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Schema = Mapping[str, Any]

FOLDER = Path(__file__).resolve().parents[2] / "workflow/schemas"
PLACE = re.compile(r"^<!-- schema: (\w+) -->$", re.M)
TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "object": "map",
    "array": "list",
    "null": "`null`",
}
BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "{} or more items",
    "maxItems": "{} or fewer items",
}
HEADER = "| key | value | default | meaning |\n|:--|:--|:--|:--|"
UNIONS = ("anyOf", "oneOf")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the places of a page by the references of their schemas."""
    return PLACE.sub(lambda place: reference(read_schema(place[1])), markdown)


def read_schema(name: str) -> dict[str, Any]:
    """The committed schema of a kind of file."""
    schema: dict[str, Any] = json.loads((FOLDER / f"{name}.schema.json").read_text())
    return schema


def reference(schema: Schema) -> str:
    """A table of the schema's own keys, then a section for each object that it describes."""
    return "\n\n".join(_Reference(schema.get("$defs", {})).sections(schema))


class _Reference:
    """Renders the parts of one schema, whose definitions are ``definitions``."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self.definitions = definitions

    def sections(self, schema: Schema) -> Iterator[str]:
        """The text of the schema itself, then of its definitions."""
        yield from self._keys(schema, "")
        for name, definition in self.definitions.items():
            if _has_keys(definition):
                yield f"## {name}"
                if text := definition.get("description"):
                    yield text
                yield from self._keys(definition, name)
            else:
                yield from self._inside(definition, name)

    def _keys(self, schema: Schema, title: str) -> Iterator[str]:
        """A table of an object's keys, then one for each object inside of it."""
        keys = schema["properties"]
        yield "\n".join([HEADER, *(self._line(key, part, schema) for key, part in keys.items())])
        for key, part in keys.items():
            yield from self._inside(part, f"{title}.{key}".lstrip("."))

    def _inside(self, part: Schema, title: str) -> Iterator[str]:
        """The sections of objects without a name of their own: in a key, a list, a map, a union."""
        if _has_keys(part):
            yield f"### {title}"
            if text := part.get("description"):
                yield text
            yield from self._keys(part, title)
            return
        for child, ending in _children(part):
            yield from self._inside(child, f"{title}{ending}")

    def _line(self, key: str, part: Schema, schema: Schema) -> str:
        default = _required(key, schema)
        if not default and isinstance(part.get("default"), bool | int | float | str | list):
            default = _value(part["default"])
        cells = [f"`{key}`", self._type(part), default, self._meaning(part)]
        return f"| {' | '.join(_cell(cell) for cell in cells)} |"

    def _meaning(self, part: Schema) -> str:
        """The description of a key, or else of the definition that it refers to."""
        if "description" in part:
            return str(part["description"])
        referred = [variant["$ref"] for variant in (part, *_union(part)) if "$ref" in variant]
        return self._meaning(self._definition(referred[0])) if len(referred) == 1 else ""

    def _type(self, part: Schema) -> str:
        """What a value may be, in words."""
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            definition = self._definition(part["$ref"])
            return f"[{name}](#{name.lower()})" if _has_keys(definition) else self._type(definition)
        if "enum" in part:
            return ", ".join(map(_value, part["enum"]))
        if "const" in part:
            return _value(part["const"])
        if "allOf" in part:
            return ", ".join(self._type(each) for each in part["allOf"])
        if union := _union(part):
            return " or ".join(dict.fromkeys(map(self._type, union)))
        if "properties" in part and "type" not in part:
            keys = part["properties"].items()
            return ", ".join(f"`{key}`: {self._type(value)}" for key, value in keys)
        return self._plain_type(part)

    def _plain_type(self, part: Schema) -> str:
        text = TYPES.get(part.get("type", ""), "anything")
        if part.get("type") == "array" and "items" in part:
            text = f"list of {self._type(part['items'])}"
        for values in [] if _has_keys(part) else _values(part):
            text = f"map of names to {self._type(values)}"
        if part.get("minItems", 0) == part.get("maxItems"):
            return f"{text}, {part['minItems']} items"
        bounds = [words.format(part[key]) for key, words in BOUNDS.items() if key in part]
        if "pattern" in part:
            bounds.append(f"matches `{part['pattern']}`")
        return ", ".join([text, *bounds])

    def _definition(self, reference: str) -> Schema:
        return self.definitions[reference.rpartition("/")[2]]


def _required(key: str, schema: Schema) -> str:
    """Whether an object needs a key: always, or unless it has another one."""
    branches = [branch.get("required", []) for branch in schema.get("anyOf", [])] or [[]]
    if key in schema.get("required", []) or all(key in branch for branch in branches):
        return "required"
    first, *others = branches
    instead = [name for each in others if key not in each for name in each if name not in first]
    return f"required, or `{instead[0]}`" if key in first and instead else ""


def _children(part: Schema) -> Iterator[tuple[Schema, str]]:
    """The schemas of what a value contains, with how a title marks them."""
    if isinstance(items := part.get("items"), dict):
        yield items, "[]"
    for values in _values(part):
        yield values, ".NAME"
    for variant in _union(part):
        yield variant, ""


def _values(part: Schema) -> list[Schema]:
    """What a map has under names that are free, or that match a pattern."""
    free = [part["additionalProperties"]] if "additionalProperties" in part else []
    found = [*part.get("patternProperties", {}).values(), *free]
    return [values for values in found if isinstance(values, dict)]


def _union(part: Schema) -> list[Schema]:
    """The alternatives of a value; ``null``, which says that it may be missing, is none."""
    variants = [variant for key in UNIONS for variant in part.get(key, [])]
    return [variant for variant in variants if variant.get("type") != "null"]


def _has_keys(schema: Schema) -> bool:
    return schema.get("type") == "object" and bool(schema.get("properties"))


def _value(value: Any) -> str:
    """A value as it stands in YAML."""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
