"""What a tiny run of each method computes, as a few numbers; recorded by version of the runs.

``python -m tests.digest`` records the numbers of this code under the current
:data:`icd.experiments.run.VERSION` in ``tests/digest.json``.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from icd import mmcv_ext
from icd.experiments.run import VERSION
from icd.files import write_json
from icd.training.distiller import bare_detector
from tests.lab import Lab, make, teacher_of

FILE = Path(__file__).with_name("digest.json")
METHODS = ("none", "icd", "fitnet", "cwd", "pkd", "mgd", "fgd", "crosskd", "bckd", "ld")
DETECTORS = {"ld": "gfl"}  # of methods that do not work with RetinaNet
ITERATIONS = 3

Digest = dict[str, list[float]]


def digest(lab: Lab, method: str) -> Digest:
    """Losses of the first iterations by name, then mean and norm of the student's weights.

    The random weights of the teacher replace those in the lab's folder.
    """
    run = lab.run(method=method, detector=DETECTORS.get(method))
    if run.teacher:
        lab.place_untrained(teacher_of(run))
    config = lab.config(run)
    torch.manual_seed(0)
    with contextlib.chdir(lab.project):
        model = MODELS.build(config.model)
    if method == "none":
        model.init_weights()
    else:
        model.student.init_weights()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    batches = iter(Runner.build_dataloader(config.train_dataloader, seed=0))
    found: Digest = {}
    for iteration in range(ITERATIONS):
        torch.manual_seed(iteration)  # as SeedByIteration does
        model.iteration = iteration
        log = model.train_step(next(batches), wrapper)
        for name, loss in log.items():
            found.setdefault(name, []).append(loss.item())
    weights = torch.cat([p.detach().double().flatten() for p in bare_detector(model).parameters()])
    found["weights"] = [weights.mean().item(), weights.norm().item()]
    return found


def main() -> None:
    """Record the digests of all methods."""
    mmcv_ext.install()
    torch.set_num_threads(1)
    init_default_scope("mmdet")
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        lab = make(Path(folder))
        recorded[str(VERSION)] = {method: digest(lab, method) for method in METHODS}
    write_json(FILE, recorded, compact=True)


if __name__ == "__main__":
    main()
