"""Every backbone of the shipped tracks trains in two processes, where an idle parameter fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from icd.experiments.run import TrainedRun
from icd.experiments.track import load_track, shipped_tracks
from icd.mappings import merge
from tests.full import FULL
from tests.lab import Lab, teacher_of
from tests.training.test_parallel import torchrun

pytestmark = pytest.mark.slow


def content_of(lab: Lab, track: str) -> dict[str, Any]:
    """The content of a shipped track for two short iterations on the lab's data, from scratch."""
    splits = {
        name: {"annotations": split.annotations, "images": split.images}
        for name, split in lab.track.splits.items()
    }
    content = load_track(track, data_root=lab.data).content.stated()
    content["data"] = {"root": str(lab.data), "splits": splits}
    content["roles"]["student"].pop("pretrained", None)
    content["methods"]["icd"].pop("decoder", None)  # another run would train it
    for entry in content["backbones"].values():
        entry["backbone"]["init_cfg"] = None
    return merge(
        content,
        {
            "images": {"scale": [64, 64], "train_short_sides": [64]},
            "recipe": {"unit": 2, "batch_size": 4, "ramp": 0},
            "machine": {"gpus": 2},
            "methods": {"icd": {"options": {"warmup": 0}}},
        },
    )


def runs_of(lab: Lab) -> dict[str, tuple[Lab, TrainedRun]]:
    """A run of ICD for each backbone; of those that several tracks have, one."""
    runs: dict[str, tuple[Lab, TrainedRun]] = {}
    known: list[dict[str, Any]] = []
    for track in shipped_tracks():
        content = content_of(lab, track)
        there = replace(lab, track=load_track(track, data_root=lab.data)).stating(content)
        small = next(name for name in content["backbones"] if name.startswith("resnet18"))
        for name, entry in content["backbones"].items():
            if entry not in known:
                known.append(entry)
                teacher = {"backbone": small, "schedule": "1x"}
                run = there.run(method="icd", backbone=name, teacher=teacher)
                runs[f"{track}-{name}"] = there, run
    return runs


@FULL
def test_every_backbone_trains_in_two_processes(lab: Lab, tmp_path: Path) -> None:
    """Everything that is not frozen moves, also what mmdet freezes only when training starts."""
    runs, configs = runs_of(lab), {}
    for name, (there, run) in runs.items():
        if not there.folder(teacher_of(run)).exists():
            there.place_untrained(teacher_of(run))
        config = there.config(run).to_dict()
        config["default_hooks"]["checkpoint"] = None  # hundreds of megabytes each
        configs[name] = config | {"experiment_name": name}
    torch.save(configs, tmp_path / "configs.pt")
    torchrun(str(Path(__file__).with_name("every_backbone.py")), str(tmp_path), cwd=lab.project)
    outcomes = torch.load(tmp_path / "outcomes.pt", weights_only=False)
    assert outcomes.keys() == runs.keys()
    for name, found in outcomes.items():
        assert not found["moved"] & found["frozen"], name
        still = found["all"] - found["moved"] - found["frozen"]
        assert still <= {"method.decoder.layers.0.position.bias"}, name
        starts_from_weights = name.startswith("coco") and "cspnext" not in name
        assert bool(found["frozen"]) == starts_from_weights, name
