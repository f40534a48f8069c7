"""Measures the parts in `workflow/cost.yaml`, in turn and in several rounds, on GPU or CPU.

On a CPU, time is processor time. On a GPU, it is wall-clock time until the GPU has finished. Memory
is the peak that PyTorch allocates beyond weights, pyramids and optimisers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile

from icd.cost.cases import MEMORY, METHOD, SECONDS, STEP, Plan, Setting
from icd.cost.models import (
    batch,
    build,
    distilled_step,
    method_of,
    method_step,
    pyramids,
    student_step,
    teacher_forward,
)
from icd.files import atomic, write_json
from icd.training.manifest import environment
from icd.training.precision import flush_denormals

Steps = dict[tuple[str, str], Callable[[], Any]]


def measure(plan: Plan, output: Path) -> None:
    """Write the raw numbers to a CSV file, and device and environment to a JSON file beside it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    with flush_denormals():  # as in trainings
        lines = [line | {"quantity": SECONDS} for line in clocked(plan, device)]
        lines += measured_memory(plan, device)
    with atomic(output) as temporary:
        pd.DataFrame(lines).to_csv(temporary, index=False)
    size = {"height": plan.size[0], "width": plan.size[1]}
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    write_json(output.with_suffix(".json"), {"device": name, "images": size, **environment()})


def steps(plan: Plan, setting: Setting, device: str) -> Iterator[tuple[dict[str, Any], Steps]]:
    """For each detector and number of objects: its columns, and the steps by row and part."""
    for detector in (plan.detector, *setting.detectors):
        runs, student = plan.runs(detector), plan.student(detector)
        model = build(next(iter(runs.values())), device, setting.precision)
        methods = {
            row: method_of(run, model, device, setting.precision) for row, run in runs.items()
        }
        columns = {"device": device, **setting.key, "detector": detector}
        for objects in setting.objects:
            data = batch(plan.size, setting.images, objects)
            given = pyramids(model, data)
            parts: Steps = {("student", STEP): student_step(student, model, data)}
            parts["teacher", STEP] = teacher_forward(model, data)
            for row, run in runs.items():
                parts[row, METHOD] = method_step(run, model, methods[row], given)
                if setting.steps is None or row in setting.steps:
                    parts[row, STEP] = distilled_step(run, model, methods[row], data)
            yield {**columns, "objects": objects}, parts


def clocked(plan: Plan, device: str) -> Iterator[dict[str, Any]]:
    """Seconds of each part in each round, after one unmeasured round."""
    for setting in plan.settings(device):
        for columns, parts in steps(plan, setting, device):
            print(columns, flush=True)
            for i in range(-1, setting.rounds):
                for (row, part), run in parts.items():
                    value = elapsed(run, device)
                    if i >= 0:
                        yield columns | {"row": row, "part": part, "round": i, "value": value}


def elapsed(run: Callable[[], Any], device: str) -> float:
    """Seconds of processor time on a CPU, of wall-clock time on a GPU."""
    if device == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def measured_memory(plan: Plan, device: str) -> Iterator[dict[str, Any]]:
    """Peak memory of each part in MiB, beyond what is allocated before it."""
    for setting in plan.settings(device):
        for columns, parts in steps(plan, setting, device):
            for (row, part), run in parts.items():
                run()  # lets optimisers allocate their state
                line = {"row": row, "part": part, "round": 0, "value": allocated(run, device)}
                yield columns | line | {"quantity": MEMORY}


def allocated(run: Callable[[], Any], device: str) -> float:
    """Peak memory in MiB that PyTorch allocates during ``run``, beyond the memory before it.

    On a CPU, this sums PyTorch's allocations, because resident memory also includes memory that
    earlier steps have left.
    """
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = profiler.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(accumulate((size for _, size in changes), initial=0)) / 2**20
