"""Which iterations of a training wait for the device: those that are logged, and no others.

Detectors of mmdet wait on their own, for what they sample and assign.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from mmengine.runner import IterBasedTrainLoop
from torch.utils._python_dispatch import TorchDispatchMode

from tests.fake_gpu import READS
from tests.lab import Lab, teacher_of

pytestmark = pytest.mark.slow

# The detectors' own, and the sizes of images in a batch, which are always on the CPU.
OTHERS = ("/mmdet/", "/torchvision/", "/mmcv_ext/", "/mmengine/model/utils.py")


class Readers(TorchDispatchMode):
    """Collects who reads values: files and lines in ``icd`` or mmengine."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func.overloadpacket.__name__ in READS:
            self.seen.append(reader())
        return func(*args, **(kwargs or {}))


def reader() -> str:
    """The innermost caller that is not PyTorch, as file:line."""
    frame = sys._getframe(2)
    while frame.f_back and "/torch/" in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"method": "icd"},
        {"method": "pkd"},
        {"method": "mgd"},
        {"method": "crosskd"},
        {"method": "ld", "detector": "gfl"},
    ],
    ids=str,
)
def test_iterations_between_two_logs_read_nothing(
    lab: Lab, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """mmengine's hooks would read each loss, and its optimisers the norms of gradients."""
    read: dict[int, list[str]] = {}
    run_iter = IterBasedTrainLoop.run_iter

    def watched(loop: IterBasedTrainLoop, batch: Any) -> None:
        number = loop.iter + 1
        with Readers() as readers:
            run_iter(loop, batch)
        read[number] = [r for r in readers.seen if not any(name in r for name in OTHERS)]

    monkeypatch.setattr(IterBasedTrainLoop, "run_iter", watched)
    run = lab.run(**change)
    if "detector" in change:
        lab.place_untrained(teacher_of(run))
    lab.train(run)
    assert sorted(read) == [1, 2, 3, 4, 5, 6]
    assert {number: who for number, who in read.items() if who}.keys() == {6}, read
