"""The JSON schemas for editors, and the error messages for files that violate them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from icd.commands.schemas import SCHEMAS
from icd.errors import InputError
from icd.experiments.json_schema import FOLDER
from icd.experiments.options import (
    GIVEN,
    CommonOptions,
    argument_meanings,
    shipped_methods,
)
from icd.experiments.track import load_track
from icd.experiments.yaml_files import ROOT, WORKFLOW, read_yaml
from tests.experiments.track_files import MINE, MINI, changed, leaves, write

FILES = {
    "track": sorted((WORKFLOW / "tracks").glob("*.yaml")),
    "ablation": sorted((ROOT / "ablations").glob("*.yaml")),
    "cost": [WORKFLOW / "cost.yaml"],
}


def parts(tree: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All dictionaries of a schema with their places."""
    if isinstance(tree, dict):
        yield key, tree
        for name, part in tree.items():
            yield from parts(part, f"{key}/{name}")
    elif isinstance(tree, list):
        for i, part in enumerate(tree):
            yield from parts(part, f"{key}/{i}")


@pytest.fixture(params=SCHEMAS)
def schema(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SCHEMAS[request.param]()


def test_there_is_a_schema_of_every_file() -> None:
    assert FILES.keys() == SCHEMAS.keys()


@pytest.mark.parametrize("name", SCHEMAS)
def test_committed_schemas_are_current(name: str) -> None:
    """`python -m icd schemas` writes them."""
    committed = json.loads((FOLDER / f"{name}.schema.json").read_text())
    assert committed == SCHEMAS[name]()


@pytest.mark.parametrize("name", SCHEMAS)
def test_files_name_their_schema_and_fit_it(name: str) -> None:
    validator = Draft202012Validator(SCHEMAS[name]())
    for file in FILES[name]:
        first = file.read_text().splitlines()[0]
        found = re.fullmatch(r"# yaml-language-server: \$schema=(.+)", first)
        assert found, file
        assert (file.parent / found[1]).resolve() == FOLDER / f"{name}.schema.json"
        assert list(validator.iter_errors(read_yaml(file, name))) == []


def test_editors_see_options_of_methods_and_unknown_keys() -> None:
    validator = Draft202012Validator(SCHEMAS["track"]())
    for key, value in (
        ("methods.icd.options.head", 8),
        ("methods.icd.options.where", "nowhere"),
        ("recipe.colour", 1),
        ("data.splits.test", None),
    ):
        assert list(validator.iter_errors(changed(MINI, key, value))), key


def test_schemas_are_schemas(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


def test_no_schema_lets_unknown_keys_pass(schema: dict[str, Any]) -> None:
    """Only an optimiser has keys that are not listed: arguments of a torch.optim class."""
    listing = {
        key: part
        for key, part in parts(schema)
        if part.get("type") == "object" and "properties" in part
    }
    open_ones = {key for key, part in listing.items() if part.get("additionalProperties") is True}
    assert listing
    assert open_ones == set()
    assert all("additionalProperties" in part for part in listing.values())


def test_every_key_is_described(schema: dict[str, Any]) -> None:
    """The description is what a user reads, in an editor and in an error."""

    def is_described(part: dict[str, Any]) -> bool:
        if "description" in part:
            return True
        inner = [part, *part.get("anyOf", ()), *part.get("allOf", ())]
        references = [one["$ref"].rpartition("/")[2] for one in inner if "$ref" in one]
        return any("description" in schema["$defs"][name] for name in references) or any(
            "description" in one for one in inner
        )

    bare = [
        f"{key}/{name}"
        for key, part in parts(schema)
        if part.get("type") == "object" and isinstance(part.get("properties"), dict)
        for name, value in part["properties"].items()
        if not is_described(value)
    ]
    assert bare == []


@pytest.mark.parametrize("method", shipped_methods())
def test_options_of_a_method_are_the_arguments_of_the_class(method: str) -> None:
    """Names, defaults and docstrings as Python itself sees them."""
    import inspect

    from icd.training.method_class import method_class

    found = shipped_methods()[method]
    kind = method_class(found.path)
    parameters = dict(inspect.signature(kind).parameters)
    options = found.options.model_fields
    assert options.keys() == CommonOptions.model_fields.keys() | (parameters.keys() - GIVEN)
    assert options["levels"].default == getattr(kind, "distils", "all")
    for name in parameters.keys() - GIVEN:
        field = options[name]
        assert field.default == list_of(parameters[name].default)
        assert field.description == argument_meanings(kind.__doc__ or "")[name]
    assert found.learns is getattr(kind, "learns", False)


def list_of(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


OUR_KEYS = [
    key
    for key, value in leaves(MINI)
    if isinstance(value, str | int | float)
    and not (key.startswith("backbones.") or ".model." in key)  # mmdet's
    and not key.endswith(".optimizer")  # student, or a mapping
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
        yaml.safe_dump(MINE).replace("decay: cosine", f"decay: [{number}]")
    )
    with pytest.raises(
        InputError, match=rf"YAML reads {number} as text: write numbers like 1\.0e-3"
    ):
        load_track(str(tmp_path / "track.yaml"))


@pytest.mark.parametrize("number", ["1.0e-3", "0.001", "1.0e-1", ".5"])
def test_numbers_that_yaml_reads_as_numbers_are_taken(tmp_path, number):
    (tmp_path / "track.yaml").write_text(
        yaml.safe_dump(MINE).replace("decay: cosine", f"decay: [{number}]")
    )
    assert load_track(str(tmp_path / "track.yaml")).content.recipe.decay == [float(number)]


MERGES = {
    "of a deeper node": "outer: {b: &b {<<: {x: 1}, x: 2}}\nc: {<<: *b, y: 3}",
    "twice": "a: &a {x: 1}\nouter: {b: &b {<<: *a, x: 2}}\nc: [{<<: *b}, {<<: [*a, *b], x: 4}]",
}


@pytest.mark.parametrize("text", MERGES.values(), ids=MERGES)
def test_merged_keys_do_not_stand_twice(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert read_yaml(tmp_path / "a.yaml", "track") == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["{x: 1, x: 2}", "a: [{b: &b {x: 1, x: 2}}]\nc: {<<: *b}"])
def test_repeated_keys_are_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match="the key 'x' is repeated"):
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
