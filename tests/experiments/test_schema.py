"""The schemas themselves, and what a reader is told when a file breaks them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from icd.errors import InputError
from icd.experiments.options import shipped_methods
from icd.experiments.schema import ROOT, WORKFLOW, load_yaml, read_yaml
from icd.experiments.track import load_track
from tests.experiments.track_files import MINI, changed, leaves, write

SCHEMAS = sorted((WORKFLOW / "schemas").glob("*.schema.yaml"))
JSON_TYPES = {
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "str": "string",
    "Sequence[str]": "array",
}
CONDITIONS = ("/$defs/icd/if", "/$defs/icd/then")


def parts(tree: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All dictionaries of a schema with their places."""
    if isinstance(tree, dict):
        yield key, tree
        for name, part in tree.items():
            yield from parts(part, f"{key}/{name}")
    elif isinstance(tree, list):
        for i, part in enumerate(tree):
            yield from parts(part, f"{key}/{i}")


@pytest.fixture(params=SCHEMAS, ids=lambda path: path.name.split(".")[0])
def schema(request):
    return yaml.safe_load(request.param.read_text())


def test_schemas_are_schemas(schema):
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


def test_no_schema_lets_unknown_keys_pass(schema):
    """A schema that lists properties says what others may be; only an optimiser has others.

    Conditions (if, then) come on top of such a list.
    """
    listing = {
        key: part
        for key, part in parts(schema)
        if isinstance(part.get("properties"), dict) and key not in CONDITIONS
    }
    open_ones = [
        key for key, part in listing.items() if part.get("additionalProperties") is not False
    ]
    assert listing
    assert [key for key in open_ones if key != "/$defs/optimizer"] == []
    assert all("additionalProperties" in part for part in listing.values())


def test_every_checked_value_is_described(schema):
    """The description is what a user reads; constants and references have one elsewhere."""
    bare = [
        key
        for key, part in parts(schema)
        if part.get("type") in ("integer", "number", "string") and "description" not in part
    ]
    assert bare == []


GIVEN = {"priors", "channels", "student_channels", "levels", "seed"}  # by data, pyramids and run


@pytest.mark.parametrize("method", shipped_methods())
def test_options_of_a_method_are_the_arguments_of_the_class(method: str):
    listed = shipped_methods()[method]
    *module, name = listed["class"].split(".")
    tree = ast.parse(ROOT.joinpath(*module).with_suffix(".py").read_text())
    (init,) = (
        part
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == name
        for part in node.body
        if isinstance(part, ast.FunctionDef) and part.name == "__init__"
    )
    found = {argument.arg: ast.unparse(argument.annotation) for argument in init.args.args[1:]}
    arguments = {name: found[name] for name in found.keys() - GIVEN}
    types = {name: part["type"] for name, part in listed["properties"].items()}
    assert types == {name: JSON_TYPES[annotation] for name, annotation in arguments.items()}


OUR_KEYS = [
    key
    for key, value in leaves(MINI)
    if isinstance(value, str | int | float)
    and not (key.startswith("backbones.") or ".model." in key)  # mmdet's
]


@pytest.mark.parametrize("key", OUR_KEYS)
def test_no_setting_may_be_a_mapping(key, tmp_path):
    path = write(tmp_path / "track.yaml", changed(MINI, key, {"a": 1}))
    with pytest.raises(InputError) as caught:
        load_track(str(path))
    assert caught.value.where == str(path)
    assert key.startswith(caught.value.key)


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "4e5", "-2e-1", "1.0e3"])
def test_numbers_that_yaml_reads_as_text_are_explained(tmp_path, number):
    (tmp_path / "track.yaml").write_text(
        yaml.safe_dump(MINI).replace("decay: cosine", f"decay: [{number}]")
    )
    with pytest.raises(
        InputError, match=rf"YAML reads {number} as text: write numbers like 1\.0e-3"
    ):
        load_yaml(tmp_path / "track.yaml", "track")


@pytest.mark.parametrize("number", ["1.0e-3", "0.001", "1.0e-1", ".5"])
def test_numbers_that_yaml_reads_as_numbers_are_taken(tmp_path, number):
    (tmp_path / "track.yaml").write_text(
        yaml.safe_dump(MINI).replace("decay: cosine", f"decay: [{number}]")
    )
    assert load_yaml(tmp_path / "track.yaml", "track")["recipe"]["decay"] == [float(number)]


MERGES = {
    "of a deeper node": "outer: {b: &b {<<: {x: 1}, x: 2}}\nc: {<<: *b, y: 3}",
    "twice": "a: &a {x: 1}\nouter: {b: &b {<<: *a, x: 2}}\nc: [{<<: *b}, {<<: [*a, *b], x: 4}]",
}


@pytest.mark.parametrize("text", MERGES.values(), ids=MERGES)
def test_merged_keys_do_not_stand_twice(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert read_yaml(tmp_path / "a.yaml", "track") == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["{x: 1, x: 2}", "a: [{b: &b {x: 1, x: 2}}]\nc: {<<: *b}"])
def test_keys_that_stand_twice_are_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match="the key 'x' stands twice"):
        read_yaml(tmp_path / "a.yaml", "track")


def test_the_suite_needs_no_torch():
    modules = "icd.errors, icd.files, icd.data.survey, icd.__main__"
    modules += "".join(
        f", icd.experiments.{path.stem}" for path in (ROOT / "icd/experiments").glob("[!_]*.py")
    )
    heavy = {"torch", "mmdet", "mmcv", "mmengine"}
    code = f"import sys, {modules}; print(*({heavy} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []
