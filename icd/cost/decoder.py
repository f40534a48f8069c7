"""Decoder and distillation loss against their plain formulation: ``python -m icd.cost.decoder``.

Three variants compute the same losses and gradients from the same feature pyramids:

- ``both sides``: plain, with a whole decoder for the student too, as the published code has it;
- ``plain``: :mod:`icd.methods.icd.plain`, which only projects the student's values;
- ``fast``: :meth:`icd.methods.icd.method.ICD.losses`.

Time is that of one forward and backward pass: variants in turn, median over rounds; on a CPU the
time of the processor, so that other processes count less. Memory is the largest there was beyond
what inputs and parameters take: on a CPU the high-water mark of a fresh process after a small
warm-up, in which memory goes back to the system as soon as it is free; on a GPU what the
allocator counts.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from icd.methods.icd import plain
from icd.methods.icd.method import ICD
from icd.methods.icd.queries import Queries, pose
from icd.methods.icd.where import Clues
from icd.methods.targets import Targets
from icd.methods.tokens import Size, tokenize

STRIDES = (8, 16, 32, 64, 128)
CLASSES = 80
UNIFORM = {
    "frequency": [1 / CLASSES] * CLASSES,
    "size_mean": [[0.2, 0.2]] * CLASSES,
    "size_std": [[0.1, 0.1]] * CLASSES,
}


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
        options = {"channels": self.channels, "heads": self.heads, "layers": self.layers}
        method = ICD(UNIFORM, warmup=0, **options).to(self.device)
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
        targets = Targets(list(boxes), list(labels), [self.size] * self.images, self.size)
        return method, teacher, student, targets


Losses = Callable[..., dict[str, Tensor]]


def both_sides(method: ICD) -> Losses:
    """The plain losses with student values from a whole decoder; most of it serves nothing."""
    student_decoder = copy.deepcopy(method.decoder)

    def losses(
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        queries: Queries,
        detach: bool,
    ) -> dict[str, Tensor]:
        sizes, asked = (targets.image_sizes, targets.padded_size), method.encoder(queries)
        tokens = tokenize(teacher, *sizes)
        found = method.decoder(asked, tokens)
        seen = student_decoder(asked.detach(), tokenize(student, *sizes))
        instances = method.asked(targets, queries)
        clues = Clues(targets, teacher, student, tokens.valid, instances, method.temperature)
        imitation = plain.imitation(method, [layer.values for layer in seen], found, clues)
        return method.total(
            [method.auxiliary(layer.queries, queries) for layer in found], imitation
        )

    return losses


VARIANTS: dict[str, Callable[[ICD], Losses]] = {
    "both sides": both_sides,
    "plain": lambda method: partial(plain.losses, method),
    "fast": lambda method: method.losses,
}


def step(case: Case, variant: str) -> Callable[[], None]:
    """One forward and backward pass, to be called as often as one likes."""
    method, teacher, student, targets = case.inputs()
    losses = VARIANTS[variant](method)
    queries = pose(targets, method.draw(targets, 0), method.jitter)

    def run() -> None:
        sum(losses(teacher, student, targets, queries, False).values()).backward()
        method.zero_grad()
        for level in student:
            level.grad = None

    return run


def seconds(case: Case, rounds: int) -> dict[str, float]:
    """Median time of each variant, measured in turn."""
    steps = {variant: step(case, variant) for variant in VARIANTS}
    measured: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds + 1):
        for variant, run in steps.items():
            measured[variant].append(elapsed(run, case.device))
    return {variant: median(times[1:]) for variant, times in measured.items()}


def elapsed(run: Callable[[], None], device: str) -> float:
    """Seconds of the processor, or by the clock where a GPU does the work."""
    if device == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def peak(case: Case, variant: str) -> float:
    """Largest memory in MiB beyond inputs and parameters; of a variant that ran nothing before."""
    step(replace(case, size=(64, 64)), variant)()
    run = step(case, variant)
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


def fresh_peak(case: Case, variant: str) -> float:
    """The same in a process of its own, in which freed memory does not linger."""
    command = [sys.executable, "-m", "icd.cost.decoder", "--peak", variant]
    command += ["--case", json.dumps(asdict(case))]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    return float(subprocess.check_output(command, env=environment, text=True))


def table(case: Case, objects: Sequence[int], rounds: int) -> str:
    """A table in Markdown; ratios are to both sides and to plain."""
    lines = [
        "| queries | variant | s | of both sides | of plain | MiB | of both sides | of plain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for count in objects:
        some = replace(case, objects=count)
        times = seconds(some, rounds)
        memory = {variant: fresh_peak(some, variant) for variant in VARIANTS}
        for variant in VARIANTS:
            cells = [f"{count * 6}", variant]
            for values, form in ((times, ".3f"), (memory, ".0f")):
                cells.append(f"{values[variant]:{form}}")
                cells += [f"{values[variant] / values[to]:.3f}" for to in ("both sides", "plain")]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or the peak memory of one variant."""
    parser = argparse.ArgumentParser(description="cost of decoder and distillation loss")
    parser.add_argument("--objects", type=int, nargs="+", default=[7, 50], help="in each image")
    parser.add_argument("--rounds", type=int, default=5, help="of measuring each variant in turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--case", type=json.loads, default={}, help="fields of Case, as JSON")
    parser.add_argument("--peak", choices=VARIANTS, help="of one variant, alone")
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    case = Case(**given.case)
    print(peak(case, given.peak) if given.peak else table(case, given.objects, given.rounds))


if __name__ == "__main__":
    main()
