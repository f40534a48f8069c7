"""What a table shows of its decoders, from manifests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icd.experiments.ablation import Ablation
from icd.report.diagnosis import diagnoses
from icd.report.summary import summarise
from icd.report.tables import DECODER, numbers
from tests.report.small_table import collected, shown

RMS = {"rms/teacher/stride8": 1.5, "rms/student/stride8": 1.0}


def layer(number: int, effective: float, recognised: float) -> dict[str, float]:
    values = {
        "effective_tokens": 341 * effective,
        "effective": effective,
        "inside": 0.8,
        "recognised": recognised,
        "mistaken": 0.25,
        "rank": 7.0,
    }
    return {f"layer{number}/{name}": value for name, value in values.items()}


@pytest.fixture
def diagnosed(ablation: Ablation) -> Ablation:
    """The manifests of two runs of ICD have a diagnosis of its two layers, another's only RMS."""
    ablation = replace(ablation, diagnosis=True)
    icd, student = ablation.row("icd").runs, ablation.row("student").runs
    decoder = {"tokens": 341.0, "boxes": 0.62}
    content = {
        icd[0].id: RMS | decoder | layer(1, 0.1, 0.4) | layer(2, 0.3, 0.6),
        icd[1].id: RMS | decoder | layer(1, 0.2, 0.6) | layer(2, 0.6, 1.0),
        student[0].id: {"rms/student/stride8": 2.0},
    }
    Path("manifests").mkdir()
    for run, values in content.items():
        manifest = {"diagnosis": {"measurements": 5, "values": values, "warnings": []}}
        manifest |= {"description": next(r for r in ablation.runs if r.id == run).description}
        Path(f"manifests/{run}.json").write_text(json.dumps(manifest))
    earlier: dict[str, Any] = {"description": icd[2].description}
    Path(f"manifests/{icd[2].id}.json").write_text(json.dumps(earlier))
    return ablation


def test_raw_numbers_have_a_record_for_each_diagnosed_run(diagnosed: Ablation) -> None:
    table = diagnoses(diagnosed, Path("manifests"))
    assert list(zip(table["row"], table["seed"], strict=True)) == [
        ("student", 0),
        ("icd", 0),
        ("icd", 1),
    ]
    assert table["rms/student/stride8"].tolist() == [2.0, 1.0, 1.0]
    assert table["layer2/effective"].tolist()[1:] == [0.3, 0.6]


def test_columns_are_means_over_layers_and_seeds(diagnosed: Ablation, content: dict) -> None:
    results = collected(diagnosed, content)
    cells = shown(diagnosed, results)
    headings = DECODER.values()
    assert [cells["ICD"][name] for name in headings] == ["102 (30 %)", "80 % (62 %)", "65 % / 25 %"]
    for label in ("Student", "Teacher"):
        assert [cells[label][name] for name in headings] == ["-"] * 3
    table = numbers(summarise(diagnosed, results)).set_index("row")
    assert table.loc["icd", "effective"] == pytest.approx(0.3)
    assert table.loc["student", "effective"] is None


def test_a_table_that_does_not_ask_for_it_stays_as_it_is(
    diagnosed: Ablation, content: dict
) -> None:
    silent = replace(diagnosed, diagnosis=False)
    results = collected(silent, content)
    assert len(results.diagnosis) == 3
    assert not {*DECODER} & {*shown(silent, results)["ICD"]}
    assert "effective" not in numbers(summarise(silent, results))


def test_without_any_diagnosis_there_are_no_columns(ablation: Ablation, content: dict) -> None:
    asking = replace(ablation, diagnosis=True)
    cells = shown(asking, collected(asking, content))
    assert not {*DECODER} & cells["ICD"].keys()
