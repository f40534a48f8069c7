"""The losses of ICD in both formulations, measured: ``python -m benchmarks.look_up``.

The same losses and gradients come from :mod:`icd.methods.icd.plain` and
:mod:`icd.methods.icd.fast`, for the same feature pyramids. Time is that of one forward and backward
pass: the formulations take turns, and the median over rounds counts. On a CPU it is the time of the
processor, so that other processes disturb less. Memory is the peak beyond inputs and parameters: on
a CPU the high-water mark of a fresh process after a small warm-up, with freed memory returned at
once; on a GPU what the allocator counts.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from icd.cost.timing import elapsed
from icd.methods.icd import fast, plain
from icd.methods.icd.method import ICD
from icd.methods.icd.queries import make_queries
from icd.methods.tokens import Size, Targets

STRIDES = (8, 16, 32, 64, 128)
CLASSES = 80
UNIFORM = {
    "frequency": [1 / CLASSES] * CLASSES,
    "size_mean": [[0.2, 0.2]] * CLASSES,
    "size_std": [[0.1, 0.1]] * CLASSES,
}
FORMULATIONS = {"plain": plain, "fast": fast}


@dataclass(frozen=True)
class Case:
    """A batch of random features, and the method's options.

    size: of the images in pixels, none of them padded.
    images: their number.
    objects: annotated in each of them; with fakes there are six queries to one object.
    """

    size: Size = (800, 1344)
    images: int = 2
    objects: int = 7
    channels: int = 256
    heads: int = 8
    layers: int = 1
    device: str = "cpu"

    def inputs(self) -> tuple[ICD, list[Tensor], list[Tensor], Targets]:
        """Method, features of teacher and student, and ground truth."""
        torch.manual_seed(0)
        method = ICD(UNIFORM, self.channels, heads=self.heads, layers=self.layers, warmup=0).to(
            self.device
        )
        shapes = [
            (self.images, self.channels, *(-(-extent // stride) for extent in self.size))
            for stride in STRIDES
        ]
        teacher = [torch.randn(shape).to(self.device) for shape in shapes]
        student = [torch.randn(shape).to(self.device).requires_grad_() for shape in shapes]
        height, width = self.size
        corner, extent = torch.rand(2, self.images, self.objects, 2).to(self.device) / 2
        boxes = torch.cat([corner, corner + extent + 0.01], dim=-1)
        boxes = boxes * boxes.new_tensor([width, height, width, height])
        labels = torch.zeros(self.images, self.objects, dtype=torch.long, device=self.device)
        targets = Targets(list(boxes), list(labels), [self.size] * self.images, self.size, STRIDES)
        return method, teacher, student, targets


def step(case: Case, name: str) -> Callable[[], None]:
    """One forward and backward pass of a formulation, to be called repeatedly."""
    method, teacher, student, targets = case.inputs()
    queries = make_queries(targets, method.draw(targets, 0), method.jitter)

    def run() -> None:
        losses = method.losses(teacher, student, targets, queries, False, FORMULATIONS[name])
        torch.stack(list(losses.values())).sum().backward()
        method.zero_grad()
        for level in student:
            level.grad = None

    return run


def seconds(case: Case, rounds: int) -> dict[str, float]:
    """Median time of each formulation, measured in turn after one round of warm-up."""
    steps = {name: step(case, name) for name in FORMULATIONS}
    measured: dict[str, list[float]] = {name: [] for name in FORMULATIONS}
    for _ in range(rounds + 1):
        for name, run in steps.items():
            measured[name].append(elapsed(run, case.device))
    return {name: median(times[1:]) for name, times in measured.items()}


def peak(case: Case, name: str) -> float:
    """Peak memory in MiB beyond inputs and parameters, of a process that ran nothing before."""
    step(replace(case, size=(64, 64)), name)()
    run = step(case, name)
    gc.collect()
    if case.device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts here
    run()
    return (resident("VmHWM") - before) / 2**10


def resident(key: str) -> int:
    """A line of Linux's account of this process, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def fresh_peak(case: Case, name: str) -> float:
    """The same in a process of its own, in which freed memory does not linger."""
    command = [sys.executable, "-m", "benchmarks.look_up", "--peak", name]
    command += ["--case", json.dumps(asdict(case))]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    printed = subprocess.check_output(command, env=environment, text=True)
    return float(printed.splitlines()[-1])  # libraries print while they are imported


def table(case: Case, objects: Sequence[int], rounds: int) -> str:
    """Times and peaks in Markdown."""
    lines = [
        "| queries | formulation | s | of plain | MiB | of plain |",
        "|---|---|---|---|---|---|",
    ]
    for count in objects:
        some = replace(case, objects=count)
        times = seconds(some, rounds)
        memory = {name: fresh_peak(some, name) for name in FORMULATIONS}
        for name in FORMULATIONS:
            cells = [f"{count * 6}", name]
            for values, form in ((times, ".3f"), (memory, ".0f")):
                share = values[name] / values["plain"]
                cells += [f"{values[name]:{form}}", f"{share:.3f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or the peak memory of one formulation."""
    parser = argparse.ArgumentParser(description="cost of ICD's losses")
    parser.add_argument("--objects", type=int, nargs="+", default=[7, 50], help="in each image")
    parser.add_argument("--rounds", type=int, default=5, help="after one of warm-up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--case", type=json.loads, default={}, help="fields of Case, as JSON")
    parser.add_argument("--peak", choices=FORMULATIONS, help="of one formulation, alone")
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    case = Case(**given.case)
    print(peak(case, given.peak) if given.peak else table(case, given.objects, given.rounds))


if __name__ == "__main__":
    main()
