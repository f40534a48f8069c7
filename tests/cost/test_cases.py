"""The cost table for known numbers, and errors in its file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from icd.cost import cases
from icd.cost.cases import MEMORY, METHOD, SECONDS, STEP, load_plan, method_costs, ratios
from icd.cost.report import markdown, write
from icd.errors import InputError
from icd.experiments.track import Track, load_track
from icd.experiments.yaml_files import load_yaml
from icd.files import write_json
from icd.mappings import merge
from tests.experiments.track_files import stating

BATCH = {
    "device": "cpu",
    "precision": "float32",
    "images": 8,
    "detector": "retinanet",
    "objects": 10,
}
ABOUT = {
    "device": "CPU",
    "images": {"height": 128, "width": 128},
    "hardware": {"processor": "a processor", "threads": 1},
}


def line(row: str, part: str, quantity: str, i: int, value: float) -> dict:
    return BATCH | {"row": row, "part": part, "quantity": quantity, "round": i, "value": value}


def numbers() -> pd.DataFrame:
    """Three rounds on a machine that is twice as slow in the second and jumps in the third."""
    lines = []
    for i, slow in enumerate((1.0, 2.0, 1.0)):
        lines += [
            line("student", STEP, SECONDS, i, 3.0 * slow),
            line("teacher", STEP, SECONDS, i, 1.0 * slow),
            line("icd", METHOD, SECONDS, i, 0.2 * slow * (9 if i == 2 else 1)),
            line("icd", STEP, SECONDS, i, 4.4 * slow),
            line("fitnet", METHOD, SECONDS, i, 0.08 * slow),
        ]
    lines += [line("icd", METHOD, MEMORY, 0, 30.0), line("fitnet", METHOD, MEMORY, 0, 5.0)]
    return pd.DataFrame([*lines, line("student", STEP, MEMORY, 0, 100.0)])


@pytest.fixture
def track(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Track:
    monkeypatch.chdir(tmp_path)
    return load_track("mini")


def test_ratios_are_medians_over_rounds_of_ratios_within_a_round():
    found = ratios(numbers()).set_index("row")
    assert found.time["icd"] == pytest.approx(1.05)
    assert found.step["icd"] == pytest.approx(1.1)
    assert found.time["fitnet"] == pytest.approx(1.02)
    assert pd.isna(found.step["fitnet"])
    assert found.MiB.to_dict() == {"icd": 30.0, "fitnet": 5.0}


def test_the_cost_of_each_method_is_read_by_what_it_depends_on(track):
    assert method_costs(track) == {}
    cases.folder(track).mkdir(parents=True)
    others = numbers().assign(detector="fcos")
    others.loc[others.row.isin(["icd", "fitnet"]), "value"] *= 2
    lines = pd.concat([numbers(), others])
    lines.to_csv(cases.folder(track) / "cost.csv", index=False)
    expected = {
        ("retinanet", "icd"): (pytest.approx(1.05), 30.0),
        ("retinanet", "fitnet"): (pytest.approx(1.02), 5.0),
        ("fcos", "icd"): (pytest.approx(1.1), 60.0),
        ("fcos", "fitnet"): (pytest.approx(1.04), 10.0),
    }
    assert method_costs(track) == {
        track.describe({"detector": detector, "method": method}, 3).step_key: cost
        for (detector, method), cost in expected.items()
    }


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"inherit": True, "schedule": "2x"}, True),
        ({"options": {"layers": 4}}, False),
        ({"backbone": "resnet18-w16"}, False),
        ({"teacher": {"backbone": "resnet18-w8"}}, False),
    ],
)
def test_what_changes_the_cost_of_a_step_is_another(track, change, is_same):
    icd = {"method": "icd"}
    assert (track.describe(icd | change, 1).step_key == track.describe(icd, 0).step_key) == is_same


def test_the_table_compares_all_rows_by_the_same_and_shows_the_steps_that_there_are(track):
    text = markdown(load_plan(track), numbers(), ABOUT)
    (icd,) = (part for part in text.splitlines() if part.startswith("| ICD "))
    (fitnet,) = (part for part in text.splitlines() if part.startswith("| FitNet"))
    assert [cell.strip() for cell in icd.split("|")[1:-1]] == ["ICD", "1.05", "1.10", "30"]
    assert [cell.strip() for cell in fitnet.split("|")[1:-1]] == ["FitNet", "1.02", "-", "5"]
    assert "a processor, 1 thread, float32, batch of 8 at 128 x 128" in text


def test_table_and_figure_are_written(track, tmp_path):
    source = tmp_path / "cost.csv"
    numbers().to_csv(source, index=False)
    write_json(source.with_suffix(".json"), ABOUT)
    outputs = [tmp_path / name for name in ("table.md", "table.html", "figure.svg", "figure.png")]
    write(load_plan(track), source, outputs)
    assert all(output.stat().st_size > 500 for output in outputs)


def test_each_row_is_a_run_of_each_track_and_no_two_are_the_same():
    for name in ("mini", "coco"):
        plan = load_plan(load_track(name, {"coco": "data"}))
        runs = plan.runs(plan.detector)
        suited = [row.id for row in plan.content.rows if row.suits(plan.detector)]
        assert list(runs) == suited
        assert len({run.id for run in runs.values()}) == len(runs)
        assert plan.settings("cpu")
        assert {one.precision for one in plan.settings("cuda")} == {"float32", "bfloat16"}
    assert plan.size == (800, 1344)


def test_rows_are_measured_with_the_detectors_that_they_suit(track):
    plan = load_plan(track)
    asking = {"crosskd", "bckd", "ld"}
    for detector, suited in (
        ("retinanet", {"crosskd", "bckd"}),
        ("gfl", asking),
        ("faster-rcnn", set()),
    ):
        assert asking & set(plan.runs(detector)) == suited


def test_rows_of_methods_that_the_track_lacks_are_left_out(track):
    for methods, detector, expected in (
        (["icd", "pkd"], "retinanet", {"icd", "everywhere", "heads-16", "pkd"}),
        (["icd", "pkd"], "fcos", {"icd", "pkd"}),
    ):
        entries = {name: track.content.methods[name].stated() for name in methods}
        less = stating(track, track.content.stated() | {"methods": entries})
        runs = load_plan(less).runs(detector)
        assert expected <= set(runs)
        assert {run.method.name for run in runs.values() if run.method} == set(methods)
    own = {"mine": {"class": "my.Mine"}}
    with pytest.raises(InputError, match=r"rows: the track mini cannot have any; .* \['mine'\]"):
        load_plan(stating(track, track.content.stated() | {"methods": own}))


@pytest.mark.parametrize(("own", "others"), [("retinanet", ["gfl"]), ("gfl", [])])
def test_other_detectors_are_those_that_the_track_has(track, own, others):
    detectors = {name: track.content.detectors[name].stated() for name in ("retinanet", "gfl")}
    content = merge(track.content.stated(), {"roles": {"student": {"detector": own}}})
    plan = load_plan(stating(track, content | {"detectors": detectors}))
    assert plan.detector == own
    assert [one.detectors for one in plan.settings("cpu")] == [others]


def test_a_row_that_is_not_there_cannot_be_measured(track, tmp_path, monkeypatch):
    content = cases.FILE.read_text().replace("steps: [icd]", "steps: [icd, odd]")
    assert "odd" in content
    monkeypatch.setattr(cases, "FILE", tmp_path / "cost.yaml")
    cases.FILE.write_text(content)
    load_yaml(cases.FILE, cases.CostContent, "cost")
    with pytest.raises(InputError, match=r"cpu\.steps: 'odd' is not a row"):
        load_plan(track)


def test_settings_of_a_track_that_is_not_there_are_refused(track, tmp_path, monkeypatch):
    content = cases.FILE.read_text()
    (name,) = load_yaml(cases.FILE, cases.CostContent, "cost").tracks
    monkeypatch.setattr(cases, "FILE", tmp_path / "cost.yaml")
    cases.FILE.write_text(content.replace(f"\n  {name}:", "\n  cocoo:"))
    with pytest.raises(InputError, match=r"tracks\.cocoo: 'cocoo' is not a track; expected one of"):
        load_plan(track)
