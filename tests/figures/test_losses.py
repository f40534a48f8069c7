"""Losses from training logs, also of a training that was stopped and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from icd.errors import InputError
from icd.experiments.ablation import load_ablation
from icd.figures import measure_diagnosis
from icd.figures.measure_losses import logged, prefixes, write
from tests.figures.tracks import track


def log(work: Path, session: str, *entries: dict, end: str = "") -> None:
    folder = work / session / "vis_data"
    folder.mkdir(parents=True)
    lines = [json.dumps({"lr": 0.1, "iter": e["step"], "time": 0.5, **e}) for e in entries]
    (folder / "scalars.json").write_text("\n".join([*lines, end]))


def test_a_resumed_training_counts_each_iteration_once(tmp_path):
    first = [{"step": step, "loss": step / 10, "loss_cls": 1.0} for step in (50, 100, 150)]
    later = [{"step": step, "loss": step / 100, "loss_cls": 2.0} for step in (100, 150, 200)]
    log(tmp_path, "20260101_120500", *later)
    log(tmp_path, "20260101_115900", *first, end='{"loss": 3.0, "st')
    assert logged(tmp_path) == {
        50: {"loss": 5.0, "loss_cls": 1.0},
        100: {"loss": 1.0, "loss_cls": 2.0},
        150: {"loss": 1.5, "loss_cls": 2.0},
        200: {"loss": 2.0, "loss_cls": 2.0},
    }
    assert list(logged(tmp_path)) == [50, 100, 150, 200]


def test_a_training_without_logs_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no logged losses"):
        logged(tmp_path / "work")


def test_losses_of_several_methods_have_their_names(tmp_path):
    both = track().describe({"method": ["icd", "fitnet"]}, 0)
    known = {"loss": 3.0, "icd.loss_distillation": 1.0, "fitnet.loss_distillation": 2.0}
    log(tmp_path, "20260101_120000", {"step": 50, **known, "d0.loss_cls": 1.0, "icd.lr": 1.0})
    assert logged(tmp_path, prefixes(both)) == {50: known}
    assert prefixes(track().describe({"method": "icd"}, 0)) == ("loss",)


def test_a_diagnosis_in_the_same_log_is_not_a_loss_and_the_reverse(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ablation = load_ablation("main", track())
    folders = [row.runs[0].folder / "work" for row in ablation.choose(["student", "icd"])]
    for folder in folders:
        layer = {f"diagnosis/layer1/head{h}/inside": 0.25 * h for h in (1, 3)}
        entries = [{"step": 50, "diagnosis/boxes": 0.5, **layer}, {"step": 50, "loss": 1.0}]
        entries.append({"step": 60, "diagnosis/boxes": 0.25, **layer})
        log(folder, "20260101_120000", *entries)
    assert logged(folders[0]) == {50: {"loss": 1.0}}
    measure_diagnosis.write(ablation, track(), tmp_path / "diagnosis.csv")
    table = pd.read_csv(tmp_path / "diagnosis.csv")
    assert table["iteration"].tolist() == [50, 60, 50, 60]
    assert table["boxes"].tolist() == [0.5, 0.25] * 2
    assert table["layer1/inside"].tolist() == [0.5] * 4


def test_writes_what_was_logged_to_the_last_digit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ablation = load_ablation("main", track())
    runs = {row.id: row.runs[0] for row in ablation.choose(["student", "icd"])}
    for row, run in runs.items():
        losses = {"loss": 0.1 + 0.2, "loss_cls": 0.3}
        losses |= {"loss_distillation": 1 / 3} if row == "icd" else {}
        log(run.folder / "work", "20260101_120000", {"step": 50, **losses})
    write(ablation, track(), tmp_path / "losses.csv")
    table = pd.read_csv(tmp_path / "losses.csv")
    assert list(table.columns) == ["row", "run", "iteration", "loss", "value"]
    assert len(table) == 5
    assert set(table.run) == {run.id for run in runs.values()}
    value = table[(table.row == "icd") & (table.loss == "loss_distillation")].value
    assert value.tolist() == [1 / 3]
