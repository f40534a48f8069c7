"""What the page says of runs is what their manifests say."""

from __future__ import annotations

import json
from contextlib import chdir

from icd.web.provenance import provenances
from tests.web.site import COMMIT, Site, manifest


def test_runs_and_their_sources_are_there_once(site: Site) -> None:
    icd, student = site.run("icd"), site.run("student")
    with chdir(site.folder):
        found = provenances(icd.manifest.parent, [icd.id, student.id])
    expected = {run.id for run in (icd, student, *icd.sources, *student.sources)}
    assert found.keys() == expected
    assert found[icd.id].sources == {role: run.id for role, run in icd.sources_by_role.items()}
    assert found[icd.id].summary == icd.summary


def test_what_is_recorded_is_shown(site: Site) -> None:
    run = site.run("icd")
    with chdir(site.folder):
        found = provenances(run.manifest.parent, [run.id])[run.id]
    expected = manifest(run)
    assert found.recorded["git"]["commit"] == COMMIT
    for key in ("time", "versions", "hardware", "seconds", "inputs"):
        assert found.recorded[key] == expected[key]
    assert found.description == {
        key: value for key, value in run.description.items() if key not in run.sources_by_role
    }
    json.dumps(found.recorded, allow_nan=False)


def test_a_run_without_a_manifest_has_nothing_recorded(site: Site) -> None:
    with chdir(site.folder):
        found = provenances(site.run("icd").manifest.parent, ["unknown"])
    assert found["unknown"].recorded == {}
