"""A method outside the package, added as docs/methods.md describes, up to its table row."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from icd.errors import InputError
from icd.experiments.ablation import read_ablation
from icd.experiments.track import read_track
from icd.experiments.yaml_files import ROOT
from icd.report.results import read_results, write_results
from icd.report.tables import write_tables
from tests.lab import Lab, differing, weights

pytestmark = pytest.mark.slow

SECTION = (ROOT / "docs/methods.md").read_text().split("## Add a method")[1]
METHOD, PREDICTING = re.findall(r"```python\n(.+?)```", SECTION, re.S)  # the one file ...
ENTRIES = re.findall(r"```yaml\n(methods:.+?)```", SECTION, re.S)
# ... the one entry of the track, of features and of predictions ...
ROW, SCORES = (entry for text in ENTRIES for entry in yaml.safe_load(text)["methods"].values())
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
def own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The lab with the method in the working directory, as the pipeline's processes see it."""
    Path("my_methods.py").write_text(METHOD)
    monkeypatch.syspath_prepend(str(lab.project))
    yield lab.changed({"methods": {"means": ROW}, "seeds": [0]})
    sys.modules.pop("my_methods", None)  # other tests have one of their own


def test_it_ends_in_a_table(own: Lab) -> None:
    read_track(own.track.content.stated(), own.track.file)
    Path("ours.yaml").write_text(TABLE)
    table = read_ablation(Path("ours.yaml"), own.track)
    for row in table.rows:
        own.train(row.runs[0])
        own.evaluate(row.runs[0])
    write_results(table, Path("ours"))
    write_tables(table, read_results(Path("ours")), Path("ours"))
    (line,) = (text for text in Path("ours/table.md").read_text().splitlines() if "| Means" in text)
    assert line.split("|")[2].strip() not in ("", "-")
    run = table.row("means").runs[0]
    config = json.loads((own.folder(run) / "config.json").read_text())
    assert config["model"]["method"] == {"type": "my_methods.Means", "weight": 0.5}
    plain = torch.load(own.folder(table.row("student").runs[0]) / "model.pth", weights_only=True)
    learned = torch.load(own.folder(run) / "model.pth", weights_only=True)
    assert learned["state_dict"].keys() == plain["state_dict"].keys()
    assert differing(learned["state_dict"], plain["state_dict"])  # it has taught something


def test_it_may_ask_for_predictions(own: Lab) -> None:
    Path("my_methods.py").write_text(PREDICTING)
    lab = own.changed({"methods": {"scores": SCORES}})
    run = lab.run(method="scores")
    folder = lab.train(run)
    config = json.loads((folder / "config.json").read_text())
    assert config["model"]["method"] == {"type": "my_methods.Scores", "weight": 2.0}
    plain = torch.load(lab.train(lab.run()) / "model.pth", weights_only=True)["state_dict"]
    assert differing(weights(folder), plain)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("my_methods.Medians", "cannot be imported .*no attribute 'Medians'"),
        ("my_methods.torch.tensor", "cannot be imported"),
        ("my_methods.nn", r"is not a torch\.nn\.Module"),
        ("my_broken.Means", "cannot be imported .*no_such_thing"),
    ],
)
def test_a_class_that_is_no_method_is_named(own: Lab, path: str, problem: str) -> None:
    Path("my_broken.py").write_text("import no_such_thing")
    run = own.changed({"methods": {"means": {"class": path}}}).run(method="means")
    with pytest.raises(InputError, match=f"methods: {path}: {problem}"):
        own.config(run)


LEARNS = """
from my_methods import Means
from torch import nn


class Learned(Means):
    def __init__(self, channels: int, strides: list[int], weight: float = 1.0) -> None:
        super().__init__(channels, strides, weight)
        self.scale = nn.Linear(channels, channels)

    def forward(self, teacher, student, targets, iteration):
        scaled = [self.scale(level.movedim(1, 3)).movedim(3, 1) for level in student]
        return super().forward(teacher, scaled, targets, iteration)
"""


def test_parameters_of_its_own_learn_with_the_optimiser_of_the_row(own: Lab) -> None:
    Path("my_learned.py").write_text(LEARNS)
    row: dict[str, Any] = {"class": "my_learned.Learned"}
    without = own.changed({"methods": {"learned": row}})
    with pytest.raises(InputError, match="optimizer: is missing, but Learned has parameters"):
        own.train(without.run(method="learned"))
    row["optimizer"] = {"type": "AdamW", "lr": 0.01}
    run = own.changed({"methods": {"learned": row}}).run(method="learned")
    folder = own.train(run)
    learned = torch.load(folder / "method.pth", weights_only=True)["state_dict"]
    assert learned.keys() == {"scale.weight", "scale.bias"}
    student = torch.load(folder / "model.pth", weights_only=True)["state_dict"]
    assert not any("scale" in name for name in student)
