"""The pipeline gathers the page from what is finished, and waits for what is being made."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

from icd.web.gathered import ATTENTION, CURVES, DETECTIONS, PRECISION
from icd.web.wanted import attentive, evaluated, files_of, illustrated
from tests.web.site import Site


def test_without_runs_nothing_is_waited_for(site: Site, tmp_path: Path) -> None:
    with chdir(tmp_path):
        for part in (CURVES, PRECISION, DETECTIONS, ATTENTION):
            assert files_of(part, site.track, site.ablations, ()) == []


def test_finished_runs_are_shown(site: Site) -> None:
    with chdir(site.folder):
        curves = files_of(CURVES, site.track, site.ablations, ())
        assert set(curves) == {file for file in curves if file.is_file()}
        assert site.run("icd").weights in curves
        assert site.run("never").weights not in curves
        precision = files_of(PRECISION, site.track, site.ablations, ())
        assert site.run("icd", seed=1).detections() in precision
        shown = files_of(DETECTIONS, site.track, site.ablations, ())
        assert site.run("icd").detections() in shown
        assert site.run("icd", seed=1).detections() not in shown
        assert files_of(ATTENTION, site.track, site.ablations, ()) == [], "no method.pth"


def test_tables_that_are_being_made_are_waited_for(site: Site, tmp_path: Path) -> None:
    main = site.ablations[0]
    with chdir(tmp_path):
        curves = files_of(CURVES, site.track, site.ablations, ["main"])
        runs = {run.id: run for run in main.runs}
        weights = {run.weights for run in runs.values()}
        assert weights < set(curves)
        steps = {file for file in curves if file.parent.name == "steps"}
        assert weights | steps == set(curves)
        assert len(steps) == 2 * site.track.machine.snapshots, "of the rows of the figure"
        expected = [run.detections() for run in main.measured]
        assert files_of(PRECISION, site.track, site.ablations, ["main"]) == expected
        icd = site.run("icd")
        attention = files_of(ATTENTION, site.track, site.ablations, ["main"])
        assert attention[0] == icd.folder / "method.pth"
        assert icd.sources_by_role["teacher"].folder / "model.pth" in attention


def test_rows_of_figures_come_first(site: Site) -> None:
    first = [one.run.id for one in illustrated(site.ablations)]
    assert first[:2] == [site.run("student").id, site.run("icd").id]
    assert len(first) == len(set(first))
    assert {one.iou_type for one in illustrated(site.ablations)} == {"bbox", "segm"}
    assert [one.run.id for one in attentive(site.ablations)] == [site.run("icd").id]
    assert len(evaluated(site.ablations)) == len(
        {(e.run.id, e.iou_type) for e in evaluated(site.ablations)}
    )
