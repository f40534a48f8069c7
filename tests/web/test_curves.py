"""Training curves of the page are those of the logs."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from statistics import fmean

import pytest

from icd.report.existing import existing
from icd.web.content import content
from icd.web.curves import (
    FEWEST,
    POINTS,
    Curve,
    fitting,
    gather,
    logged,
    of_figures,
    thinned,
)
from icd.web.gathered import CURVES, gathered
from tests.web.site import Site


def log(work: Path, session: str, lines: list[dict]) -> None:
    file = work / session / "vis_data/scalars.json"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"lr": 0.')


def test_short_curves_stay_as_they_are() -> None:
    curve = Curve(iterations=[50, 100, 150], values=[3.0, 2.0, 1.0])
    assert thinned(curve) == curve


def test_long_curves_are_means_that_lose_nothing() -> None:
    count = 2 * POINTS + 50
    values = [1.0 + i % 7 for i in range(count)]
    curve = Curve(iterations=list(range(1, count + 1)), values=values)
    thin = thinned(curve)
    assert len(thin["values"]) <= POINTS
    assert thin["iterations"][0] == 3
    assert thin["iterations"][-1] == count
    assert thin["values"][0] == pytest.approx(fmean(values[:3]), rel=1e-3)
    widths = [b - a for a, b in zip([0, *thin["iterations"]], thin["iterations"], strict=False)]
    total = sum(value * width for value, width in zip(thin["values"], widths, strict=True))
    assert total == pytest.approx(sum(values), rel=1e-3)


@pytest.mark.parametrize(("room", "points"), [(6000, 100), (600, 60), (6, FEWEST)])
def test_many_curves_have_fewer_points(
    room: int, points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icd.web.curves.VALUES", room)
    curve = Curve(iterations=list(range(1, 601)), values=[1.0] * 600)
    found = fitting({run: {f"loss_{i}": curve for i in range(5)} for run in ("a", "b")})
    assert {len(one["values"]) for own in found.values() for one in own.values()} == {points}
    assert found["b"]["loss_4"]["iterations"][-1] == 600


def test_a_later_session_counts_where_it_repeats(tmp_path: Path) -> None:
    log(tmp_path, "1", [{"step": step, "loss": 1.0, "time": 9.0} for step in (50, 100, 150)])
    log(tmp_path, "2", [{"step": step, "loss": 2.0} for step in (100, 150)])
    assert logged(tmp_path) == {"loss": {"iterations": [50, 100, 150], "values": [1.0, 2.0, 2.0]}}


def test_lines_of_one_iteration_belong_together(tmp_path: Path) -> None:
    heads = {"diagnosis/layer1/head1/inside": 0.2, "diagnosis/layer1/head2/inside": 0.4}
    log(tmp_path, "1", [{"step": 50, "student.lr": 2.0, "method.lr": 3.0}, {"step": 50} | heads])
    assert logged(tmp_path) == {
        "lr": {"iterations": [50], "values": [2.0]},
        "method.lr": {"iterations": [50], "values": [3.0]},
        "diagnosis/layer1/inside": {"iterations": [50], "values": [0.3]},
    }


def test_runs_without_logs_have_no_curves(site: Site) -> None:
    with chdir(site.folder):
        found = gather([site.run("never"), site.run("icd")], {})
        assert found.keys() == {site.run("icd").id}
        assert found[site.run("icd").id] == gathered(site.track, CURVES)[site.run("icd").id]
    assert found[site.run("icd").id]["AP, tune split"]["values"] == [10.0, 20.0]


def test_without_runs_those_of_the_figures_are_shown(site: Site, tmp_path: Path) -> None:
    """Results are committed without their runs, but with the CSV files of figures."""
    with chdir(site.folder):
        tables = existing(site.track, site.ablations).shown
        folder = site.track.results / "figures"
        folder.mkdir()
        run = site.run("student").id
        (folder / "losses.csv").write_text(
            f"row,run,iteration,loss,value\nstudent,{run},50,loss,2\nstudent,{run},100,loss,1\n"
        )
        (folder / "steps.csv").write_text(
            f"row,run,split,iteration,AP\nstudent,{run},tune,50,0.25\n"
        )
        (folder / "diagnosis.csv").write_text(f"row,run,iteration,boxes\nstudent,{run},50,\n")
        try:
            found = of_figures(site.track, tables)
            shown = content(site.track, existing(site.track, site.ablations)).parts[CURVES]
        finally:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    assert found == {
        run: {
            "loss": {"iterations": [50, 100], "values": [2.0, 1.0]},
            "AP, tune split": {"iterations": [50], "values": [25.0]},
        }
    }
    assert "loss_cls" in shown[run], "what was gathered of the run itself comes first"
