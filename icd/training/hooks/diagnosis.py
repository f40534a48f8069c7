"""Numbers about features and attention that losses do not show, logged now and then.

They are measured at an interval, in a forward pass of the training itself, and change nothing in
it: no random numbers are drawn, and no state is kept in the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from icd.methods.combination import named_parts
from icd.methods.icd.diagnosis import diagnose
from icd.methods.icd.method import ICD
from icd.methods.tokens import full_precision
from icd.training.diagnosis import summary, warnings
from icd.training.distiller import Taught, unwrap
from icd.training.hooks.losses import read_all
from icd.training.pyramid import FPN, pyramid_of

PREFIX = "diagnosis/"
AVERAGED = 5  # measurements, the last of a training, of which its summary has the mean


class DiagnosisHook(Hook):
    """Logs the RMS of each level of teacher and student and, for ICD, what the decoder does.

    The main process measures its own images. Measuring starts a few more computations on the
    device, and reading them waits for it once.

    Args:
        interval: iterations between two measurements. The last iteration is measured, too.
    """

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.found: dict[str, Tensor] = {}
        self.handles: list[RemovableHandle] = []
        self.strides: list[int] = []  # of a detector's pyramid, once measured
        self.warned: set[str] = set()
        self.summary: dict[str, Any] = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """If a measurement is due, let it follow the forward pass."""
        done = runner.iter + 1
        due = done % self.interval == 0 or done == runner.max_iters
        if due and is_main_process():
            self.found = {}
            self.handles = list(self.observe(unwrap(runner.model)))

    def observe(self, model: Any) -> Iterator[RemovableHandle]:
        """Hooks on the modules that see the pyramids."""
        if isinstance(model, Taught):
            yield model.method.register_forward_hook(self.measure_method)
            for part in named_parts(model.method).values():
                if isinstance(part, ICD):
                    yield part.register_forward_hook(self.measure_decoder)
        elif isinstance(getattr(model, "neck", None), FPN):
            self.strides = self.strides or pyramid_of(model).strides
            yield model.neck.register_forward_hook(
                lambda neck, inputs, levels: self.measure_levels("student", levels, self.strides)
            )

    def measure_method(self, method: Any, inputs: tuple[Any, ...], losses: object) -> None:
        """Measure what the method has received."""
        if any(name.startswith("rms/") for name in self.found):  # of the first share, if several
            return
        teacher, student, targets = inputs[:3]
        self.measure_levels("teacher", teacher, targets.strides)
        if student is not None:  # not while a decoder is trained alone
            self.measure_levels("student", student, targets.strides)

    def measure_decoder(self, method: ICD, inputs: tuple[Any, ...], losses: object) -> None:
        """Measure what the decoder does."""
        if any(name.startswith("layer") for name in self.found):
            return
        teacher, _, targets, iteration = inputs
        self.found |= diagnose(method, teacher, targets, iteration)

    @torch.no_grad()
    def measure_levels(self, whose: str, levels: Sequence[Tensor], known: Sequence[int]) -> None:
        """Measure the RMS of levels [N, C, h, w] of known strides, over all cells of the batch."""
        for stride, level in zip(known, levels, strict=True):
            name = f"rms/{whose}/stride{stride}"
            self.found[name] = full_precision(level).square().mean().sqrt()

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Read and log what was measured."""
        for handle in self.handles:
            handle.remove()
        self.handles = []
        if not self.found:
            return
        values = dict(zip(self.found, read_all(list(self.found.values())), strict=True))
        logged = {PREFIX + name: value for name, value in values.items() if isfinite(value)}
        self.found = {}
        for name, value in logged.items():
            runner.message_hub.update_scalar(name, value)
        runner.visualizer.add_scalars(logged, step=runner.iter + 1)
        self.warn(runner)

    def warn(self, runner: Runner) -> None:
        """Log each warning once, when there are enough measurements to be sure."""
        found = recent(runner)
        if found["measurements"] >= AVERAGED:
            for subject, text in warnings(found["values"]).items():
                if subject not in self.warned:
                    self.warned.add(subject)
                    runner.logger.warning(f"diagnosis: {text}")

    def after_train(self, runner: Runner) -> None:
        """Summarise, also if all iterations were done in an earlier session."""
        found = recent(runner)
        self.summary = found | {"warnings": list(warnings(found["values"]).values())}


def recent(runner: Runner) -> dict[str, Any]:
    """The mean of the last measurements, and of how many."""
    histories = {
        name.removeprefix(PREFIX): buffer.data[0].tolist()
        for name, buffer in runner.message_hub.log_scalars.items()
        if name.startswith(PREFIX)
    }
    return summary(histories, AVERAGED)
