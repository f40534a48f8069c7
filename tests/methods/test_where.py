"""The alternatives of where to imitate, against plain loops over images, cells and objects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from icd.experiments.options import shipped_methods
from icd.methods.icd.method import ICD
from icd.methods.icd.plain import PlainOutput
from icd.methods.icd.queries import make_queries
from icd.methods.tokens import Targets, sizes_of, tokenize
from icd.methods.where import ALTERNATIVES, Where, all_anchors, near_objects
from tests.methods.batches import (
    P2_P6,
    P3_P7,
    PRIORS,
    Batch,
    attention_of,
    gradient,
    level_sizes,
    random_batch,
    random_method,
    run,
    total,
)
from tests.methods.reference import valid_rows_and_columns

MASKS = ("everywhere", "foreground", "fine_grained")
UNASKED = (*MASKS, "activation")

# Batches whose levels have the strides of a pyramid, and those strides.
SHAPES: dict[str, tuple[dict[str, Any], Sequence[int]]] = {
    "padding": ({}, P3_P7),
    "P2-P6": ({"padded": (64, 96), "sizes": ((64, 96), (41, 50), (17, 96))}, P2_P6),
    "two levels": ({"padded": (160, 96), "sizes": ((160, 80), (150, 96), (31, 90))}, (16, 32)),
    "no object at all": ({"counts": (0, 0, 0)}, P3_P7),
    "many objects": ({"counts": (30, 1, 7)}, (8, 16)),
    "tiny images": ({"sizes": ((3, 2), (1, 1), (96, 1))}, P3_P7),
}


def shaped(name: str, seed: int = 0) -> tuple[Batch, Sequence[int]]:
    shape, strides = SHAPES[name]
    levels = level_sizes(shape.get("padded", (96, 128)), strides)
    options = {"levels": levels, "strides": strides, "seed": seed, **shape}
    return random_batch(dtype=torch.float64, **options), strides


def valid_of(batch: Batch) -> Tensor:
    """[N, L] bool, the tokens that are not in the padding."""
    return tokenize(batch.teacher, batch.targets.image_sizes, batch.targets.padded_size).valid


def weigh(name: str, batch: Batch) -> Tensor:
    """The weights of an alternative."""
    return ALTERNATIVES[name](batch.teacher, batch.student, batch.targets, valid_of(batch))


def cells(
    batch: Batch, strides: Sequence[int], image: int
) -> Iterator[tuple[bool, int, int, int, int]]:
    """Of each token of an image in order: validity, level, stride, row and column."""
    targets = batch.targets
    for k, (level, stride) in enumerate(zip(batch.teacher, strides, strict=True)):
        height, width = level.shape[-2:]
        rows, columns = valid_rows_and_columns(
            targets.image_sizes[image], targets.padded_size, (height, width)
        )
        for row in range(height):
            for column in range(width):
                yield row < rows and column < columns, k, stride, row, column


# --- Each by loops ----------------------------------------------------------------------------


def plain_everywhere(batch: Batch, strides: Sequence[int], image: int) -> list[float]:
    return [float(valid) for valid, *_ in cells(batch, strides, image)]


def plain_foreground(batch: Batch, strides: Sequence[int], image: int) -> list[float]:
    weights = []
    for valid, _, stride, row, column in cells(batch, strides, image):
        x, y = stride * column + stride / 2, stride * row + stride / 2
        inside = any(
            x1 <= x < x2 and y1 <= y < y2 for x1, y1, x2, y2 in batch.targets.boxes[image].tolist()
        )
        weights.append(float(valid and inside))
    return weights


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


def plain_fine_grained(batch: Batch, strides: Sequence[int], image: int) -> list[float]:
    """mmdet puts the anchors of a cell around its upper left corner."""
    tokens = list(cells(batch, strides, image))
    weights = [0.0] * len(tokens)
    for box in batch.targets.boxes[image].tolist():
        best = []
        for valid, _, stride, row, column in tokens:
            overlaps = [0.0]
            for octave in (0, 1 / 3, 2 / 3) if valid else ():
                for ratio in (0.5, 1.0, 2.0):
                    side = 4 * stride * 2**octave
                    w, h = side / math.sqrt(ratio), side * math.sqrt(ratio)
                    x, y = stride * column, stride * row
                    anchor = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
                    overlaps.append(overlap(anchor, box))
            best.append(max(overlaps))
        threshold = 0.5 * max(best)
        assert min(abs(b - threshold) for b in best) > 1e-6, "another seed: it hangs on rounding"
        weights = [1.0 if b > threshold else w for w, b in zip(weights, best, strict=True)]
    return weights


def plain_activation(batch: Batch, strides: Sequence[int], image: int) -> list[float]:
    tokens = list(cells(batch, strides, image))
    weights = np.zeros(len(tokens))
    for pyramid in (batch.teacher, batch.student):
        for k in range(len(strides)):
            used = [i for i, token in enumerate(tokens) if token[1] == k and token[0]]
            powers = []
            for i in used:
                cell = pyramid[k][image, :, tokens[i][3], tokens[i][4]].numpy()
                powers.append(math.exp(np.abs(cell).mean() / 0.5))
            weights[used] += np.array(powers) * len(used) / sum(powers) / 2
    return weights.tolist()


PLAIN = {
    "everywhere": plain_everywhere,
    "foreground": plain_foreground,
    "fine_grained": plain_fine_grained,
    "activation": plain_activation,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", UNASKED)
def test_weights_equal_those_of_plain_loops(name: str, shape: str) -> None:
    batch, strides = shaped(shape)
    weights = weigh(name, batch)
    assert weights.shape == (3, 1, sum(level[0, 0].numel() for level in batch.teacher))
    for image in range(3):
        expected = PLAIN[name](batch, strides, image)
        assert weights[image, 0].tolist() == pytest.approx(expected, rel=1e-12)


# --- What they have in common -----------------------------------------------------------------


def look_up(batch: Batch, queries: int = 4) -> PlainOutput:
    """Random logits of two heads, as a decoder layer leaves them."""
    valid = valid_of(batch)
    logits = torch.randn(len(valid), 2, queries, valid.shape[1], dtype=torch.float64)
    logits = logits.masked_fill(~valid[:, None, None], -torch.inf)
    return PlainOutput(torch.zeros(0), torch.zeros(0), logits.requires_grad_())


@pytest.mark.parametrize("name", get_args(Where))
@pytest.mark.parametrize("shape", SHAPES)
def test_weights_are_constants_that_skip_the_padding(name: str, shape: str) -> None:
    batch, _ = shaped(shape)
    for level in (*batch.teacher, *batch.student):
        level.requires_grad_()
    counted = torch.ones(3, 4, dtype=torch.bool)
    weights = look_up(batch).attention(counted) if name == "instance" else weigh(name, batch)
    assert not weights.requires_grad
    assert weights.isfinite().all()
    assert (weights >= 0).all()
    assert not weights.masked_select(~valid_of(batch)[:, None]).any()


@pytest.mark.parametrize("name", UNASKED)
def test_an_image_does_not_depend_on_the_others(name: str) -> None:
    batch, _ = shaped("padding")
    together = weigh(name, batch)
    for i in range(3):
        targets = batch.targets
        alone = Batch(
            [level[i : i + 1] for level in batch.teacher],
            [level[i : i + 1] for level in batch.student],
            replace(
                targets, boxes=targets.boxes[i : i + 1], image_sizes=targets.image_sizes[i : i + 1]
            ),
        )
        torch.testing.assert_close(weigh(name, alone), together[i : i + 1])


@pytest.mark.parametrize("name", ["foreground", "fine_grained"])
def test_images_without_objects_have_no_weight(name: str) -> None:
    batch, _ = shaped("padding")
    assert weigh(name, batch).sum(dim=(1, 2)).bool().tolist() == [True, False, True]


@pytest.mark.parametrize("name", ["everywhere", "activation"])
def test_images_without_objects_weigh_as_others(name: str) -> None:
    batch, _ = shaped("padding")
    valid = valid_of(batch).sum(dim=1)
    torch.testing.assert_close(weigh(name, batch).sum(dim=(1, 2)).float(), valid.float())


def test_more_objects_are_a_union() -> None:
    batch, _ = shaped("many objects")
    targets = batch.targets
    for name in ("foreground", "fine_grained"):
        union = torch.zeros_like(weigh(name, batch)[0])
        for box in targets.boxes[0]:
            one = replace(targets, boxes=[box[None]] * 3)
            union = union.maximum(weigh(name, Batch(batch.teacher, batch.student, one))[0])
        assert torch.equal(weigh(name, batch)[0], union)


def test_objects_of_several_images_at_once_are_as_each_alone() -> None:
    """A GPU takes them in blocks, a CPU one at a time."""
    batch, strides = shaped("many objects")
    anchors = all_anchors(sizes_of(batch.teacher), strides, torch.device("cpu"))
    boxes = torch.cat([own[:1] for own in batch.targets.boxes]).float()
    valid = valid_of(batch)
    alone = [near_objects(anchors, valid[i : i + 1], boxes[i : i + 1]) for i in range(3)]
    assert torch.equal(near_objects(anchors, valid, boxes), torch.cat(alone))


def test_each_object_has_cells_near_it_however_small() -> None:
    """Its own best anchor sets the measure, whatever the size of anchors."""
    batch, _ = shaped("padding")
    for side in (1.0, 5.0, 60.0):
        box = torch.tensor([[30.0, 20.0, 30.0 + side, 20.0 + side]])
        targets = Targets([box] * 3, [], ((96, 128),) * 3, (96, 128), P3_P7)
        assert weigh("fine_grained", Batch(batch.teacher, batch.student, targets)).any(dim=2).all()


def test_a_point_between_the_centres_has_no_foreground() -> None:
    batch, _ = shaped("padding")
    box = torch.tensor([[5.0, 5.0, 7.0, 7.0]])
    targets = Targets([box] * 3, [], ((96, 128),) * 3, (96, 128), P3_P7)
    assert not weigh("foreground", Batch(batch.teacher, batch.student, targets)).any()


@pytest.mark.parametrize("name", ["foreground", "fine_grained"])
def test_a_box_that_reaches_into_the_padding_has_no_weight_there(name: str) -> None:
    batch, _ = shaped("padding")
    targets = replace(batch.targets, boxes=[torch.tensor([[0.0, 0.0, 128.0, 96.0]])] * 3)
    weights = weigh(name, replace(batch, targets=targets))
    valid = valid_of(batch)[:, None]
    assert not weights[~valid].any()
    assert weights[valid].any()


def test_half_precision_features_give_single_precision_weights() -> None:
    batch, _ = shaped("padding")
    half = Batch(
        [x.bfloat16() for x in batch.teacher], [x.bfloat16() for x in batch.student], batch.targets
    )
    for name in UNASKED:
        assert weigh(name, half).dtype == torch.float32
    same = Batch([x.float() for x in half.teacher], [x.float() for x in half.student], half.targets)
    assert torch.equal(weigh("activation", half), weigh("activation", same))


# --- In the method ----------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("name", UNASKED)
def test_the_method_weighs_its_values_there(name: str, layers: int) -> None:
    """The loss from its definition, one image, head and layer at a time."""
    method = random_method(where=name, layers=layers).double()
    batch, strides = shaped("padding")
    loss = run(method, batch)["loss_distillation"].item()
    summed = 0.0
    for projection, layer in zip(method.student_values, method.decoder.layers, strict=True):
        theirs = attention_of(layer).value
        assert isinstance(projection, nn.Linear)
        for image in range(3):
            m = np.array(PLAIN[name](batch, strides, image))
            for head in range(4):
                values = []
                for linear, levels in ((projection, batch.student), (theirs, batch.teacher)):
                    features = np.concatenate([x[image].flatten(1).numpy() for x in levels], 1)
                    v = linear.weight.detach().numpy() @ features
                    v = (v + linear.bias.detach().numpy()[:, None])[4 * head : 4 * head + 4]
                    values.append((v - v.mean(0)) / np.sqrt(v.var(0) + 1e-5))
                error = ((values[0] - values[1]) ** 2).mean(0)
                summed += (m * error).sum() / m.sum() if m.any() else 0.0
    assert loss == pytest.approx(8 * summed / (4 * 3 * len(method.student_values)), rel=1e-10)


@pytest.mark.parametrize("name", UNASKED)
def test_the_place_changes_the_distillation_loss_alone(name: str) -> None:
    batch, _ = shaped("padding")
    here, there = (run(random_method(where=w).double(), batch) for w in ("instance", name))
    assert here["loss_distillation"] != there["loss_distillation"]
    for auxiliary in ("loss_identification", "loss_localisation"):
        assert torch.equal(here[auxiliary], there[auxiliary])
    states = [random_method(where=where).state_dict().keys() for where in ("instance", name)]
    assert states[0] == states[1]


@pytest.mark.parametrize("counts", [(0, 0, 0), (0, 2, 0), (2, 1, 3)])
@pytest.mark.parametrize("name", get_args(Where))
def test_distillation_reaches_students_and_their_projections_alone(
    name: str, counts: tuple[int, ...]
) -> None:
    method, batch = random_method(where=name, layers=2), random_batch(counts)
    for level in (*batch.teacher, *batch.student):
        level.requires_grad_()
    losses = run(method, batch)
    losses["loss_distillation"].backward(retain_graph=True)
    assert all(level.grad is None for level in batch.teacher)
    learns = any(counts) or name in ("everywhere", "activation")
    for tensors in (batch.student, [*method.student_values.parameters()]):
        assert all(gradient(tensor).isfinite().all() for tensor in tensors)
        assert any(bool(gradient(tensor).any()) for tensor in tensors) == learns
    for part in (method.encoder, method.decoder, method.auxiliary):
        assert all(parameter.grad is None for parameter in part.parameters())
    total(losses).backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_attention_of_all_queries_that_count_is_summed(temperature: float) -> None:
    batch, _ = shaped("padding")
    found = look_up(batch)
    counted = torch.arange(4) < torch.tensor([4, 1, 0])[:, None]
    weights = found.attention(counted, temperature)
    for image, count in enumerate((4, 1, 0)):
        for head in range(2):
            expected = np.zeros(weights.shape[-1])
            for query in range(count):
                powers = np.exp(found.logits[image, head, query].detach().numpy() / temperature)
                expected += powers / powers.sum()
            assert weights[image, head].tolist() == pytest.approx(expected.tolist(), rel=1e-10)


@pytest.mark.parametrize(("fakes", "counts"), [(False, [2, 0, 3]), (True, [12, 1, 18])])
def test_fakes_count_if_told(fakes: bool, counts: list[int]) -> None:
    """An image without objects has one query, a fake."""
    batch, _ = shaped("padding")
    method = random_method(fakes=fakes).double()
    queries = make_queries(batch.targets, method.draw(batch.targets, 0), method.jitter)
    counted = method.counted(batch.targets, queries)
    assert counted.sum(dim=1).tolist() == counts
    assert all(own == sorted(own, reverse=True) for own in counted.tolist())
    losses = run(method, batch)
    other = run(random_method(fakes=not fakes).double(), batch)
    assert [name for name in losses if losses[name] != other[name]] == ["loss_distillation"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "nowhere"}, "where is 'nowhere', which is unknown"),
        ({"where": "foreground", "fakes": True}, "uses no queries"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ICD(PRIORS, channels=16, **options)


def test_names_are_those_of_the_schema() -> None:
    schema = shipped_methods()["icd"].options.model_json_schema()
    assert schema["properties"]["where"]["enum"] == list(get_args(Where))
    assert get_args(Where) == ("instance", *ALTERNATIVES)
