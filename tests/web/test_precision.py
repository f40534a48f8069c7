"""Precision-recall curves belong to the metrics: their means are AP."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icd.web import precision
from icd.web.content import precision_of
from icd.web.gathered import PRECISION, gathered
from icd.web.precision import decoded, encoded
from icd.web.tables import MeasuredRun
from icd.web.wanted import evaluated
from tests.web.site import Site

CLOSE = 1 / 65535  # of 16-bit integers


@pytest.fixture(scope="module")
def found(site: Site) -> dict[str, Any]:
    with chdir(site.folder):
        return gathered(site.track, PRECISION)


@pytest.mark.parametrize(("table", "iou_type"), [(0, "bbox"), (1, "segm")])
def test_the_mean_of_a_curve_is_the_metric(
    site: Site, found: dict[str, Any], table: int, iou_type: str
) -> None:
    names = {"0.50:0.95": "AP", "0.50": "AP50", "0.75": "AP75", "small": "APs"}
    runs = [run for run in site.ablations[table].measured if run.id in found]
    assert len(runs) >= 4
    for run in runs:
        curves, metrics = found[run.id]["test"][iou_type], site.metrics(run)["metrics"][iou_type]
        assert curves["names"] == list(names)
        means = decoded(curves["curves"]).reshape(-1, 101).mean(axis=1)
        np.testing.assert_allclose(means, [metrics[name] for name in names.values()], atol=CLOSE)
        assert curves["AP"] == metrics["AP"]


def test_so_it_is_for_each_class(site: Site, found: dict[str, Any]) -> None:
    run = site.run("icd")
    classes = found[run.id]["test"]["bbox"]["classes"]
    parts = site.metrics(run)["parts"]["bbox"]["class"]
    assert set(classes) == {name for name, part in parts.items() if part["AP"] is not None}
    for name, text in classes.items():
        mean, _ = decoded(text).reshape(2, 101).mean(axis=1)
        assert mean == pytest.approx(parts[name]["AP"], abs=CLOSE)


def test_classes_without_objects_have_no_curve_and_do_not_count(tmp_path: Path) -> None:
    """As of a data set with 80 classes, of which a test split may lack some."""
    box = {"image_id": 1, "bbox": [0, 0, 20, 20], "area": 400, "iscrowd": 0}
    truth = {
        "images": [{"id": 1, "width": 50, "height": 50, "file_name": "1.png"}],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(80)],
        "annotations": [box | {"id": i, "category_id": 7 * i} for i in (1, 2)],
    }
    guesses = [box | {"category_id": label, "score": 0.9} for label in (7, 30)]
    for name, content in (("truth", truth), ("found", guesses)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    matched = precision.match(tmp_path / "truth.json", tmp_path / "found.json", "bbox")
    curves = precision.of_matches(matched, [])
    assert curves["AP"] == pytest.approx(0.5)
    assert decoded(curves["curves"]).reshape(-1, 101).mean(axis=1) == pytest.approx(0.5, abs=CLOSE)
    means = {name: decoded(text).mean() for name, text in curves["classes"].items()}
    assert means == {"class 7": 1.0, "class 14": 0.0}


def test_curves_fall_with_recall(site: Site, found: dict[str, Any]) -> None:
    curves = decoded(found[site.run("icd").id]["test"]["bbox"]["curves"]).reshape(-1, 101)
    assert (np.diff(curves, axis=1) <= 0).all()
    assert curves.max() > 0.5


def test_values_survive_packing() -> None:
    values = np.arange(101, dtype=np.float64) / 100
    assert np.abs(decoded(encoded(values)) - values).max() <= CLOSE / 2


def test_equal_detections_are_not_matched_again(
    site: Site, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.folder)
    known = json.loads(json.dumps(found))
    changed = site.run("student")
    known[changed.id]["test"]["bbox"]["inputs"][0] = "other detections"
    matched = []
    match = precision.match

    def counting(annotations: Any, detections: Any, *others: Any) -> Any:
        matched.append(detections)
        return match(annotations, detections, *others)

    monkeypatch.setattr(precision, "match", counting)
    assert precision.gather(site.track, evaluated(site.ablations), known) == found
    assert matched == [changed.detections()]


def table_of(run: str, ap: float) -> Any:
    """As much of a table as the choice of curves looks at."""
    row = SimpleNamespace(runs=[MeasuredRun(run, 0, "done", "", {"AP": ap})])
    return SimpleNamespace(rows=[row], split="test", iou_type="bbox")


def test_curves_of_other_detections_than_the_tables_are_left_out(found: dict[str, Any]) -> None:
    run, curves = next(iter(found.items()))
    ap = 100 * curves["test"]["bbox"]["AP"]
    assert precision_of([table_of(run, ap)], found) == {run: curves}
    assert precision_of([table_of(run, ap + 0.1)], found) == {}
    assert precision_of([table_of("another", ap)], found) == {}
