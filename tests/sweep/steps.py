"""What every detector must do: train alone, learn with ICD, and leave a plain mmdet detector."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor, nn

from icd.experiments.run import TrainedRun
from icd.training.config import plain_config
from icd.training.distiller import Distiller, unwrap
from icd.training.export import export
from icd.training.hooks.progress import ProgressHook
from icd.training.pyramid import pyramid_network, pyramid_of
from tests.lab import Lab, differing, snapshot, teacher_of, weights
from tests.sweep.families import Family

STEPS = ("train", "ICD", "export", "load", "predict")
AUXILIARY = {"loss_identification", "loss_localisation"}
CLASSES = 8  # of the synthetic images


@dataclass
class Outcome:
    """What became of a family.

    detector, pyramid: types of the detector and of the network that makes its pyramid.
    strides, widths: of the levels of the pyramid.
    failed: the first of STEPS that failed, or None.
    reason: its error, in one line.
    """

    detector: str = ""
    pyramid: str = ""
    strides: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    failed: str | None = None
    reason: str = ""


@dataclass
class Seen:
    """A training of one iteration: the model before and after it, and its losses."""

    model: Any = None
    before: dict[str, Tensor] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)

    def learned(self, prefix: str) -> bool:
        """Whether a parameter with this prefix has moved."""
        trained = {name for name, p in self.model.named_parameters() if p.requires_grad}
        moved = trained & {*differing(self.before, snapshot(self.model))}
        return any(name.startswith(prefix) for name in moved)


class Course:
    """A family on its way through the steps, in a fresh folder."""

    def __init__(self, family: Family, lab: Lab) -> None:
        self.lab = family.in_track(lab)
        self.outcome = Outcome()
        self.folder = Path()
        self.detector: nn.Module | None = None

    def train(self) -> None:
        """The student alone trains on two images."""
        seen = self.trained(self.lab.run())
        self.outcome.detector = type(seen.model).__name__
        self.outcome.pyramid = type(pyramid_network(seen.model)).__name__
        pyramid = pyramid_of(seen.model)
        self.outcome.strides, self.outcome.widths = pyramid.strides, pyramid.widths
        assert seen.learned("backbone")

    def icd(self) -> None:
        """The student learns from a teacher of the same family."""
        run = self.lab.run(method="icd", options={"warmup": 0}, adapter=True)
        place_teacher(self.lab, teacher_of(run))
        seen = self.trained(run)
        assert isinstance(seen.model, Distiller)
        assert seen.losses.keys() >= AUXILIARY
        assert seen.losses["loss_distillation"] > 0
        assert seen.learned("student.backbone")
        assert seen.learned("method")

    def export(self) -> None:
        """What is left names nothing of this package."""
        assert {"model.pth", "method.pth"} <= {file.name for file in self.folder.iterdir()}
        assert "icd" not in (self.folder / "model.py").read_text()

    def load(self) -> None:
        """mmdet builds the student from the two files, with all its weights."""
        files = (str(self.folder / name) for name in ("model.py", "model.pth"))
        self.detector = init_detector(*files, device="cpu")
        assert not differing(snapshot(self.detector), weights(self.folder))

    def predict(self) -> None:
        """It finds what may be nonsense, but finite boxes and known classes."""
        image = next(self.lab.track.images("test").glob("*.png"))
        found = inference_detector(self.detector, str(image)).pred_instances
        assert found.bboxes.shape == (len(found), 4)
        assert found.bboxes.isfinite().all()
        assert found.scores.isfinite().all()
        assert ((found.labels >= 0) & (found.labels < CLASSES)).all()

    def trained(self, run: TrainedRun) -> Seen:
        """Carry out a run as the pipeline does."""
        seen = Seen()
        with watched(seen):
            self.folder = self.lab.train(run)
        assert seen.losses, "it has trained"
        assert all(math.isfinite(value) for value in seen.losses.values()), seen.losses
        return seen


def place_teacher(lab: Lab, run: TrainedRun) -> None:
    """Put a detector with initial weights where the trained one of a run would be."""
    torch.manual_seed(7)
    detector = MODELS.build(plain_config(run, lab.inputs).model)
    detector.init_weights()  # or weights that a detector only allocates would be anything
    export(run, lab.inputs, detector, lab.folder(run))
    lab.write_description(run)


@contextmanager
def watched(seen: Seen) -> Iterator[None]:
    """Within the block, keep what the training of one iteration does."""

    def start(hook: ProgressHook, runner: Runner) -> None:
        seen.model = unwrap(runner.model)
        seen.before = snapshot(seen.model)

    def follow(
        hook: ProgressHook, runner: Runner, batch_idx: int, data_batch: Any, outputs: dict
    ) -> None:
        seen.losses = {name: value.item() for name, value in outputs.items() if "loss" in name}

    with (
        mock.patch.object(ProgressHook, "before_train", start),
        mock.patch.object(ProgressHook, "after_train_iter", follow),
    ):
        yield


def go(family: Family, lab: Lab, fail: bool = False) -> Outcome:
    """Take a family through the steps, as far as it gets.

    Args:
        family: the detector.
        lab: with a fresh folder.
        fail: let errors pass.
    """
    course: Course | None = None
    for name in STEPS:
        try:
            course = course or Course(family, lab)
            step: Callable[[], None] = getattr(course, name.lower())
            with lab.runner():
                init_default_scope("mmdet")
                step()
        except Exception as error:
            if fail:
                raise
            traceback.print_exc()
            outcome = course.outcome if course else Outcome()
            outcome.failed = name
            outcome.reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return outcome
    assert course
    return course.outcome
