"""A method from outside of the package, added as the README says, up to the line of a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from lab import Lab

from icd.errors import InputError
from icd.suite.ablation import read_ablation
from icd.suite.methods import check_methods
from icd.suite.results import read_results, write_results
from icd.suite.tables import write_tables

# The one file ...
METHOD = '''
"""Imitates the mean of each channel."""

import torch
from torch import nn


class Means(nn.Module):
    def __init__(self, channels, levels, weight=1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(levels, channels))
        self.weight = weight

    def forward(self, teacher, student, targets, iteration):
        losses = [
            (scale * ours.mean((2, 3)) - theirs.mean((2, 3))).square().mean()
            for scale, theirs, ours in zip(self.scale, teacher, student, strict=True)
        ]
        return {"loss_means": self.weight * sum(losses)}
'''
# ... the one row of the track ...
ROW = {
    "class": "own_means.Means",
    "options": {"weight": 0.5},
    "optimizer": {"type": "AdamW", "lr": 0.01},
}
# ... and a table that asks for it.
TABLE = """
title: Ours
question: Does it help?
baseline: student
base: {detector: retinanet}
rows:
  - {id: student, label: Student}
  - {id: means, label: Means, change: {method: means}}
"""


@pytest.fixture
def own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab with the method in the working directory, as the pipeline's processes see it."""
    Path("own_means.py").write_text(METHOD)
    monkeypatch.syspath_prepend(str(lab.project))
    return lab.changed({"methods": {"means": ROW}, "seeds": [0]})


def test_it_ends_in_a_table(own: Lab) -> None:
    check_methods(own.track.content, own.track.file)
    Path("ours.yaml").write_text(TABLE)
    table = read_ablation(Path("ours.yaml"), own.track)
    for row in table.rows:
        own.train(row.runs[0])
        own.evaluate(row.runs[0])
    write_results(table, Path("ours"))
    write_tables(table, read_results(Path("ours")), Path("ours"))
    (row,) = (line for line in Path("ours/table.md").read_text().splitlines() if "| Means" in line)
    assert row.split("|")[2].strip() not in ("", "-")
    run = table.row("means").runs[0]
    manifest = json.loads((own.folder(run) / "manifest.json").read_text())
    assert manifest["config"]["model"]["method"] == {"type": "own_means.Means", "weight": 0.5}
    learned = torch.load(own.folder(run) / "method.pth", weights_only=True)["state_dict"]
    assert not torch.equal(learned["scale"], torch.ones(5, 16))
    student = torch.load(own.folder(run) / "model.pth", weights_only=True)["state_dict"]
    assert not any("scale" in name for name in student)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("own_means.Medians", "cannot be imported .*no attribute 'Medians'"),
        ("own_means.torch.tensor", "cannot be imported"),
        ("own_means.torch", r"is no torch\.nn\.Module"),
        ("own_broken.Means", "cannot be imported .*no_such_thing"),
    ],
)
def test_a_class_that_is_no_method_is_named(own: Lab, path: str, problem: str) -> None:
    Path("own_broken.py").write_text("import no_such_thing")
    run = own.changed({"methods": {"means": {"class": path}}}).run(method="means")
    with pytest.raises(InputError, match=f"methods: {path}: {problem}"):
        own.config(run)


def test_parameters_without_an_optimiser_are_named(own: Lab) -> None:
    content = own.track.content
    del content["methods"]["means"]["optimizer"]
    with pytest.raises(InputError, match="optimizer: is missing, but Means has parameters"):
        own.train(own.run(method="means"))
