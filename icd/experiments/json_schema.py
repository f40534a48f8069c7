"""JSON schemas of the YAML files, for editors and for the reference of all keys.

``python -m icd schemas`` writes them. A test fails if the committed schemas are out of date.
Editors complete keys in files whose first line is ``# yaml-language-server: $schema=...``.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from icd.experiments.ablation_content import AblationContent
from icd.experiments.options import shipped_methods
from icd.experiments.track import shipped_tracks
from icd.experiments.track_content import TrackContent
from icd.experiments.yaml_files import WORKFLOW

FOLDER = WORKFLOW / "schemas"
NULL = {"type": "null", "description": "leaves out an entry of the extended track"}


def json_schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The JSON schema of a model."""
    schema = model.model_json_schema(by_alias=True)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": title}


def track_schema() -> dict[str, Any]:
    """The schema of a track, with the options of each method and the key ``extends``."""
    schema = json_schema(TrackContent, "A data set and a scale, with the recipe that goes with it")
    known: dict[str, Any] = {}
    for name, method in shipped_methods().items():
        options = method.options.model_json_schema()
        schema["$defs"][f"{name}Options"] = options
        own = {"properties": {"options": {"$ref": f"#/$defs/{name}Options"}}}
        known[name] = {"anyOf": [{"allOf": [{"$ref": "#/$defs/MethodEntry"}, own]}, NULL]}
    schema["properties"]["methods"] |= {"properties": known, "additionalProperties": False}
    required = schema.pop("required")
    whole = _let_parts_be_changes(schema)
    schema["properties"]["extends"] = {
        "enum": shipped_tracks(),
        "description": "a shipped track, inherited except for name, title, data and pretrained",
    }
    extending = {"required": ["extends", "name", "title", "data"]}
    return schema | {"anyOf": [{"required": required, "properties": whole}, extending]}


def _let_parts_be_changes(schema: dict[str, Any]) -> dict[str, Any]:
    """Let the parts of a track be incomplete; returns the complete ones, for a track on its own."""
    definitions, properties = schema["$defs"], schema["properties"]
    for name in ("Resizing", "Roles", "TrackDetector", "Backbone"):
        optional = {key: value for key, value in definitions[name].items() if key != "required"}
        meaning = "what differs from the extended track"
        definitions[f"{name}Change"] = optional | {"title": f"{name}Change", "description": meaning}
    whole = {}
    for key, change in (("images", "Resizing"), ("roles", "Roles"), ("recipe", "Recipe")):
        whole[key] = properties[key]
        meaning = definitions[whole[key]["$ref"].rpartition("/")[2]]["description"]
        either = [whole[key], {"$ref": f"#/$defs/{change}Change"}]
        properties[key] = {"anyOf": either, "description": meaning}
    for key, change in (("detectors", "TrackDetector"), ("backbones", "Backbone")):
        entries = properties[key]["patternProperties"]
        whole[key] = {"patternProperties": dict(entries)}
        for pattern, entry in entries.items():
            entries[pattern] = {"anyOf": [entry, {"$ref": f"#/$defs/{change}Change"}, NULL]}
    return whole


def ablation_schema() -> dict[str, Any]:
    """The schema of an ablation."""
    return json_schema(AblationContent, "A table of the paper, row by row")
