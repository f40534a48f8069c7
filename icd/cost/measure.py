"""Measures what `workflow/cost.yaml` asks for, in turn and repeatedly, on the device that is there.

Time is that of the processor, or of the clock on a GPU, whose work is waited for. Memory is the
largest beyond weights, gradients and optimisers; on a CPU it is measured in a process that gives
freed memory back at once, which would slow the clocked one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from icd.cost.cases import MEMORY, METHOD, SECONDS, STEP, Plan, Setting
from icd.cost.decoder import elapsed, peak_of
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

GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}

Steps = dict[tuple[str, str], Callable[[], Any]]


def measure(plan: Plan, output: Path) -> None:
    """Write the raw numbers to a CSV file, and what they were measured with beside it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    lines = [line | {"quantity": SECONDS} for line in clocked(plan, device)]
    if device == "cpu":
        lines += _in_fresh_process(plan, output)
    else:
        lines += measured_memory(plan, device)
    with atomic(output) as temporary:
        pd.DataFrame(lines).to_csv(temporary, index=False)
    size = {"height": plan.size[0], "width": plan.size[1]}
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    write_json(output.with_suffix(".json"), {"device": name, "images": size, **environment()})


def _in_fresh_process(plan: Plan, output: Path) -> list[dict[str, Any]]:
    """Lines of memory from another process, which needs its settings from the start."""
    file = output.with_name(f"{output.stem}-memory.csv")
    file.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "icd.cost.measure", str(plan.track.file)]
    command += [str(plan.track.data_root), str(file)]
    subprocess.run(command, env={**os.environ, **GIVE_BACK}, check=True)
    lines = pd.read_csv(file).to_dict("records")
    file.unlink()
    return lines


def steps(plan: Plan, setting: Setting, device: str) -> Iterator[tuple[dict[str, Any], Steps]]:
    """For each number of objects its columns and what to run, by row and part."""
    runs = plan.runs
    model = build(next(iter(runs.values())), device, setting.precision)
    methods = {row: method_of(run, model, device) for row, run in runs.items()}
    student = plan.track.describe({}, 0)
    for objects in setting.objects:
        data = batch(plan.size, setting.images, objects)
        given = pyramids(model, data)
        found: Steps = {("student", STEP): student_step(student, model, data)}
        found["teacher", STEP] = teacher_forward(model, data)
        for row, run in runs.items():
            found[row, METHOD] = method_step(run, methods[row], given)
            if setting.steps is None or row in setting.steps:
                found[row, STEP] = distilled_step(run, model, methods[row], data)
        yield {"device": device, **setting.key, "objects": objects}, found


def clocked(plan: Plan, device: str) -> Iterator[dict[str, Any]]:
    """Seconds of each part in each round; before the first, all is run once."""
    for setting in plan.settings(device):
        for columns, parts in steps(plan, setting, device):
            print(columns, flush=True)
            for i in range(-1, setting.rounds):
                for (row, part), run in parts.items():
                    value = elapsed(run, device)
                    if i >= 0:
                        yield columns | {"row": row, "part": part, "round": i, "value": value}


def measured_memory(plan: Plan, device: str) -> Iterator[dict[str, Any]]:
    """Largest MiB of each part beyond what there is before it and stays."""
    for setting in plan.settings(device):
        for columns, parts in steps(plan, setting, device):
            for (row, part), run in parts.items():
                run()  # optimisers make their state
                line = {"row": row, "part": part, "round": 0, "value": peak_of(run, device)}
                yield columns | line | {"quantity": MEMORY}


def main(track: str, data: str, output: str) -> None:
    """The memory alone, for :func:`measure`."""
    from icd.cost.cases import load_plan
    from icd.suite.track import load_track

    plan = load_plan(load_track(track, data_root=Path(data)))
    torch.set_num_threads(1)
    pd.DataFrame(list(measured_memory(plan, "cpu"))).to_csv(output, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
