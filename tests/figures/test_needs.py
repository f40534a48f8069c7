"""The inputs of each figure, as the pipeline sees them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from icd.errors import InputError
from icd.experiments.ablation import Ablation, load_ablation
from icd.experiments.run import Run
from icd.experiments.snapshots import snapshot_iterations
from icd.experiments.yaml_files import ROOT
from icd.figures import needs
from icd.figures.catalogue import FIGURES, MEASUREMENTS, captions, drawing, measuring, possible
from tests.figures.tracks import track

TRACK = track()
MAIN = load_ablation("main", TRACK)


def run(row: str, seed: int = 0) -> Run:
    return MAIN.choose([row])[0].runs[seed]


def without(row: str) -> Ablation:
    return replace(MAIN, rows=tuple(one for one in MAIN.rows if one.id != row))


def bare() -> Ablation:
    """The main table without figures."""
    return replace(MAIN, figures={})


def test_an_ablation_has_the_figures_that_it_asks_for():
    assert possible(bare()) == []
    one = replace(MAIN, name="heads", figures={"curves": ("icd",)})
    assert possible(one) == ["curves"]
    assert [*captions(TRACK, [bare(), one])] == ["heads/figures/curves"]
    files = needs.sources("errors", replace(MAIN, name="heads"), TRACK)
    assert files == [TRACK.results / "heads/figures/errors.csv"]
    text = captions(TRACK, [MAIN])["figures/detections"]
    assert text.endswith("Shown: Student, ICD, ICD + inheriting, Teacher.")


def test_errors_are_those_of_all_seeds():
    """And of the one teacher that all of them have."""
    rows = ("student", "icd", "icd_inherit")
    runs = [run(row, seed) for row in rows for seed in (0, 1, 2)]
    expected = [one.folder / "test/bbox.json" for one in (*runs, run("teacher", 0))]
    assert needs.measured("errors", MAIN, TRACK) == expected


def test_curves_take_as_many_snapshots_as_the_track_keeps():
    found = needs.measured("steps", MAIN, track(5))
    assert found == [
        run(row).folder / "steps" / f"{iteration}.json"
        for row in ("student", "icd")
        for iteration in (100, 200, 300, 400, 500)
    ]
    assert [file.name for file in needs.sources("curves", MAIN, track(5))] == [
        "losses.csv",
        "diagnosis.csv",
        "steps.csv",
    ]
    without = needs.sources("curves", MAIN, track(0))
    assert [file.name for file in without] == ["losses.csv", "diagnosis.csv"]


def test_only_runs_whose_curve_is_drawn_leave_snapshots():
    with_three = track(3)
    leaving = [one for one in MAIN.runs if needs.snapshots(one, [MAIN], with_three)]
    assert {one.id for one in leaving} == {run("student").id, run("icd").id}
    assert needs.snapshots(run("icd"), [bare(), MAIN], with_three) == 3
    assert needs.snapshots(run("icd"), [bare(), without("icd")], with_three) == 0
    assert needs.snapshots(run("icd"), [MAIN], track(0)) == 0


def test_attention_needs_the_method_and_the_teacher():
    found = needs.drawn("attention", MAIN)
    assert run("icd").folder / "method.pth" in found
    assert {file.parent for file in found} == {run("icd").folder, run("teacher").folder}


def absent(*rows: str) -> Ablation:
    """The main table of a track that cannot have these rows."""
    reason = "the track has no method icd"
    found = (replace(r, runs=(), absent=reason) if r.id in rows else r for r in MAIN.rows)
    return replace(MAIN, rows=tuple(found))


def test_figures_of_absent_rows_are_left_out():
    assert possible(MAIN) == list(FIGURES)
    assert possible(absent("teacher")) == ["attention", "curves"]
    assert possible(absent("icd_inherit", "student")) == ["attention"]
    assert possible(absent("icd")) == []
    with pytest.raises(InputError, match=r"rows\.icd: is needed, but absent: the track has no me"):
        needs.drawn("attention", absent("icd"))


def test_an_absent_row_leaves_no_snapshots():
    for row, count in (("student", 3), ("icd", 0)):
        assert needs.snapshots(run(row), [absent("icd")], track(3)) == count


def test_a_missing_row_is_named():
    problem = r"main\.yaml: rows: has no row 'icd_inherit'"
    with pytest.raises(InputError, match=problem):
        needs.measured("errors", without("icd_inherit"), TRACK)
    with pytest.raises(InputError, match=problem):
        needs.drawn("detections", without("icd_inherit"))


@pytest.mark.parametrize(("count", "expected"), [(1, [500]), (7, None), (1000, range(1, 501))])
def test_snapshots_are_equally_spaced_and_end_with_the_training(count, expected):
    found = snapshot_iterations(run("icd"), count)
    if expected is not None:
        assert found == list(expected)
    gaps = {after - before for before, after in zip([0, *found], found, strict=False)}
    assert max(gaps) - min(gaps) <= 1
    assert found[-1] == 500
    assert snapshot_iterations(run("icd"), 0) == []


def test_every_figure_and_measurement_has_its_module():
    assert all(callable(measuring(name)) for name in MEASUREMENTS)
    assert all(callable(drawing(name)) for name in FIGURES)


def test_the_pipeline_does_not_wait_for_torch():
    code = "import sys, icd.figures.needs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
