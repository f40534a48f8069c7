"""AP of snapshots in one table."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from icd.errors import InputError
from icd.experiments.ablation import load_ablation
from icd.figures.measure_steps import write
from tests.figures.tracks import track


def test_gathers_the_snapshots_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mini = track(snapshots=2)
    ablation = load_ablation("main", mini)
    with pytest.raises(InputError, match=r"steps/250\.json: does not exist"):
        write(ablation, mini, tmp_path / "steps.csv")
    assert not (tmp_path / "steps.csv").exists()
    for offset, row in enumerate(ablation.choose(["student", "icd"])):
        folder = row.runs[0].folder / "steps"
        folder.mkdir(parents=True)
        for iteration in (250, 500):
            metrics = {"bbox": {"AP": iteration / 7000 + offset}}
            content = {"split": "tune", "metrics": metrics}
            (folder / f"{iteration}.json").write_text(json.dumps(content))
    write(ablation, mini, tmp_path / "steps.csv")
    table = pd.read_csv(tmp_path / "steps.csv", float_precision="round_trip")
    assert table.row.tolist() == ["student", "student", "icd", "icd"]
    assert table.iteration.tolist() == [250, 500, 250, 500]
    assert table.AP.tolist() == [250 / 7000, 500 / 7000, 250 / 7000 + 1, 500 / 7000 + 1]
    assert set(table.split) == {"tune"}
