"""Snakemake knows every key of the profiles; it may silently ignore unknown ones."""

from __future__ import annotations

import pytest
import yaml
from snakemake.cli import get_argument_parser

from icd.experiments.yaml_files import ROOT, WORKFLOW

PROFILES = sorted((ROOT / "profiles").glob("*/config*.yaml"))


def options() -> dict[str, str]:
    """Snakemake's long options without dashes, and where it keeps their values."""
    found = get_argument_parser()._option_string_actions
    return {name[2:]: action.dest for name, action in found.items() if name.startswith("--")}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.parent.name)
def test_every_key_of_a_profile_takes_effect(profile):
    keys = yaml.safe_load(profile.read_text())
    assert sorted(keys.keys() - options().keys()) == [], "unknown to Snakemake"
    before = vars(get_argument_parser().parse_args([]))
    after = vars(get_argument_parser(profiles=[str(profile)]).parse_args([]))
    for dest in map(options().get, keys):
        assert after[dest] != before[dest], f"{dest} is the default anyway"


def test_an_edit_of_the_code_repeats_no_run():
    for profile in PROFILES:
        keys = yaml.safe_load(profile.read_text())
        assert sorted(keys["rerun-triggers"]) == ["input", "mtime"]


def test_profiles_differ_only_in_where_jobs_run():
    here, cluster = (
        yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text())
        for name in ("default", "slurm")
    )
    for key in here.keys() - {"cores", "resources"}:
        assert cluster[key] == here[key]


def test_the_profile_of_the_container_differs_only_in_where_jobs_run():
    here, container = (
        yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text())
        for name in ("default", "apptainer")
    )
    deployment = {"software-deployment-method": "apptainer", "apptainer-args": "--nv"}
    assert container == here | deployment


def test_jobs_and_users_of_conda_get_the_same_python():
    job = yaml.safe_load((WORKFLOW / "envs/icd.yaml").read_text())
    user = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert job["channels"] == user["channels"]
    assert job["dependencies"] == [part for part in user["dependencies"] if isinstance(part, str)]
