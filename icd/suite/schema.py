"""Experiment files: YAML, checked against a schema, with errors a user can act on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from icd.errors import InputError

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "workflow"


def load_yaml(path: Path, schema: str) -> dict[str, Any]:
    """The content of a YAML file that fits ``workflow/schemas/<schema>.schema.yaml``.

    Raises:
        InputError: the file is missing, is no YAML, or breaks the schema.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(
            path, "", f"cannot be read ({error.strerror})", f"a {schema} file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(path, "", f"is no YAML ({error})", f"a {schema} file") from error
    check(content, schema, path)
    return content


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
        return InputError(path, ".".join(filter(None, [key, missing])), "is missing", "this key")
    return InputError(path, key, f"is {error.instance!r}", _expectation(error))


def _expectation(error: ValidationError) -> str:
    """The schema's description of the value, else the violated condition, in words."""
    expected = error.schema.get("description")
    if expected is None:
        expected = f"{error.validator} {error.validator_value}"
    if isinstance(error.instance, str) and re.fullmatch(r"-?\d+e-?\d+", error.instance):
        expected += f" (YAML reads {error.instance} as text: write it with a decimal point)"
    return expected
