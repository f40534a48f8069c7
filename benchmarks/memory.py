"""What a training step keeps for its backward pass, by detector: ``python -m benchmarks.memory``.

The networks and losses of a student of ICD run on the CPU, on one random image and on two. Counted
are the tensors that autograd keeps between forward and backward pass, each once. What the second
image adds is most of a step's memory; it grows in proportion to images and pixels. ``fixed`` are
weights, gradients and optimiser, the teacher's weights, and copies of weights in bfloat16. A GPU
also needs the gradients of activations, cuDNN's workspace and some slack: these are lower bounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.testing import demo_mm_inputs
from torch import Tensor

from icd.cost.models import CLASSES, build
from icd.experiments.run import TrainedRun
from icd.experiments.track import load_track

GB = 1e9
OBJECTS = 7  # as on average in COCO
FULL = (800, 1344)  # most images of the track coco


def kept(model: Any, data: dict[str, Any]) -> int:
    """Bytes that autograd keeps of the losses of a batch, without the model's parameters."""
    torch.manual_seed(0)
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no address is used twice

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            alive.append(tensor.detach())
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(**model.data_preprocessor(data, training=True), mode="loss")
    return sum(sizes.values())


def fixed(model: Any) -> int:
    """Bytes of weights, gradients and momentum of the student, and of the teacher's weights."""
    student = sum(p.numel() * (3 if p.requires_grad else 1) for p in model.parameters())
    return 4 * (student + sum(p.numel() for p in model.teacher.detector.parameters()))


def batch(size: Sequence[int], images: int) -> dict[str, Any]:
    """Random images with objects and their masks."""
    options = {"num_items": [OBJECTS] * images, "num_classes": CLASSES, "with_mask": True}
    return demo_mm_inputs(images, [(3, *size)] * images, **options)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--track", default="coco")
    parser.add_argument("--detectors", nargs="*", help="default: all of the track")
    parser.add_argument("--size", nargs=2, type=int, default=[400, 672], help="height and width")
    args = parser.parse_args(argv)
    track = load_track(args.track, {"coco": "coco"})
    factor = FULL[0] * FULL[1] / (args.size[0] * args.size[1])
    print(f"| detector | precision | fixed, GB | per image of {FULL[0]} x {FULL[1]}, GB |")
    print("|---|---|---:|---:|")
    for detector in args.detectors or track.content.detectors:
        run = track.describe({"detector": detector, "method": "icd"}, 0)
        assert isinstance(run, TrainedRun)
        for precision in ("float32", "bfloat16"):
            model = build(run, "cpu", precision)
            one, two = (kept(model, batch(args.size, images)) for images in (1, 2))
            constant = (fixed(model) + 2 * one - two) / GB
            image = (two - one) * factor / GB
            print(f"| {detector} | {precision} | {constant:.1f} | {image:.2f} |", flush=True)


if __name__ == "__main__":
    main()
