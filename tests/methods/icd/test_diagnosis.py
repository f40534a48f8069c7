"""Numbers about the decoder against loops over images, heads and instances in NumPy."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from icd.methods.icd import plain
from icd.methods.icd.diagnosis import diagnose
from icd.methods.icd.method import ICD
from icd.methods.icd.plain import PlainOutput
from icd.methods.icd.queries import Queries, make_queries
from icd.methods.tokens import tokenize
from tests.methods.batches import P3_P7, Batch, attention_of, random_batch, random_method, run

LEVELS = [f"stride{stride}" for stride in P3_P7]
ITERATION = 4


def spread(shares: np.ndarray) -> float:
    """The exponential of the entropy."""
    return math.exp(-sum(p * math.log(p) for p in shares if p > 0))


def box_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Of two boxes given by their corners."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    common = np.prod(np.maximum(sides, 0))
    areas = [np.prod(box[2:] - box[:2]) for box in (first, second)]
    return float(common / (sum(areas) - common))


def as_boxes(queries: Queries, image: int, sides: Tensor) -> np.ndarray:
    centres, own = queries.centres[image].numpy(), sides.numpy()
    return np.concatenate([centres - own[:, :2], centres + own[:, 2:]], axis=1)


def centres_in_boxes(batch: Batch) -> list[np.ndarray]:
    """For each image [L] bool: the centre of the token's cell lies in an annotated box."""
    found = []
    for boxes in batch.targets.boxes:
        inside = []
        for level, stride in zip(batch.teacher, P3_P7, strict=True):
            for row, column in np.ndindex(*level.shape[2:]):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                inside.append(any(a <= x < c and b <= y < d for a, b, c, d in boxes.tolist()))
        found.append(np.array(inside))
    return found


def expected(method: ICD, batch: Batch) -> dict[str, float]:
    """What :func:`diagnose` computes, image by image."""
    targets = batch.targets
    queries = make_queries(targets, method.draw(targets, ITERATION), method.jitter)
    tokens = tokenize(batch.teacher, targets.image_sizes, targets.padded_size)
    outputs: list[Any] = method.decoder(method.encoder(queries), tokens, plain.look_up)
    images = [i for i, boxes in enumerate(targets.boxes) if len(boxes)]
    inside = [
        own & valid
        for own, valid in zip(centres_in_boxes(batch), tokens.valid.numpy(), strict=True)
    ]
    found = {
        "tokens": np.mean([int(tokens.valid[i].sum()) for i in images]),
        "boxes": np.mean([inside[i][tokens.valid[i].numpy()].mean() for i in images]),
    }
    for number, output in enumerate(outputs, start=1):
        named = about_task(method, queries, output)
        for head in range(output.values.shape[1]):
            named |= {
                f"head{head + 1}/{name}": value
                for name, value in about_head(batch, output, head, inside, tokens.valid).items()
            }
        found |= {f"layer{number}/{name}": value for name, value in named.items()}
    return found


def about_task(method: ICD, queries: Queries, output: PlainOutput) -> dict[str, float]:
    real: list[bool] = []
    fake: list[bool] = []
    overlaps: list[float] = []
    for i, prediction in enumerate(method.auxiliary.predictor(output.queries)):
        ours = as_boxes(queries, i, prediction[:, 1:].sigmoid())
        theirs = as_boxes(queries, i, queries.sides[i])
        for k in range(len(prediction)):
            if queries.real[i, k]:
                real.append(prediction[k, 0].item() > 0)
                overlaps.append(box_iou(ours[k], theirs[k]))
            elif queries.valid[i, k]:
                fake.append(prediction[k, 0].item() > 0)
    return {
        "recognised": float(np.mean(real)),
        "mistaken": float(np.mean(fake)),
        "iou": float(np.mean(overlaps)),
    }


def about_head(
    batch: Batch, output: PlainOutput, head: int, inside: list[np.ndarray], valid: Tensor
) -> dict[str, float]:
    ends = np.cumsum([0] + [level[0, 0].numel() for level in batch.teacher])
    rows = []
    for i, boxes in enumerate(batch.targets.boxes):
        if len(boxes):
            maps = output.logits[i, head, : len(boxes)].softmax(dim=-1).numpy()
            shares = maps.sum(axis=0) / len(boxes)
            levels = [shares[a:b].sum() for a, b in pairwise(ends)]
            effective = spread(shares)
            share = effective / int(valid[i].sum())
            rows.append([effective, share, shares.max(), shares[inside[i]].sum(), *levels])
    values = output.values[:, head][valid].numpy()
    singular = np.linalg.svd(values, compute_uv=False)
    names = ["effective_tokens", "effective", "largest", "inside", *LEVELS]
    means = dict(zip(names, np.mean(rows, axis=0), strict=True))
    return means | {"rank": spread(singular / singular.sum())}


@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_numbers_are_those_of_a_loop_over_everything(layers: int) -> None:
    method = random_method(layers=layers).double()
    batch = random_batch(dtype=torch.float64)
    found = diagnose(method, batch.teacher, batch.targets, ITERATION)
    wanted = expected(method, batch)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].item() == pytest.approx(value, rel=1e-7), name


def test_an_attention_without_preference_has_all_tokens() -> None:
    method, batch = random_method(), random_batch()
    for parameter in attention_of(method.decoder.layers[0]).key.parameters():
        torch.nn.init.zeros_(parameter)
    found = diagnose(method, batch.teacher, batch.targets, 0)
    assert found["layer1/head1/effective"].item() == pytest.approx(1, rel=1e-5)
    assert found["layer1/head1/inside"].item() == pytest.approx(found["boxes"].item(), rel=1e-5)


def test_a_batch_without_objects_says_nothing() -> None:
    batch = random_batch((0, 0, 0))
    assert diagnose(random_method(), batch.teacher, batch.targets, 0) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_training_that_has_diverged_does_not_end_here(value: float) -> None:
    """The losses say so, with the iteration and its images."""
    method, batch = random_method(), random_batch()
    batch.teacher[0][0, 0, 0, 0] = value
    found = diagnose(method, batch.teacher, batch.targets, 0)
    assert found["layer1/head1/rank"].isnan()


@pytest.mark.parametrize("scale_levels", [False, True])
def test_it_changes_no_loss_and_no_state(scale_levels: bool) -> None:
    batch = random_batch()
    seen, unseen = (random_method(scale_levels=scale_levels) for _ in range(2))
    for iteration in range(2):
        expected = run(unseen, batch, iteration)
        random = torch.get_rng_state()
        diagnose(seen, batch.teacher, batch.targets, iteration)
        assert torch.equal(torch.get_rng_state(), random)
        losses = run(seen, batch, iteration)
        assert all(torch.equal(losses[name], loss) for name, loss in expected.items())
    states = seen.state_dict(), unseen.state_dict()
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())
