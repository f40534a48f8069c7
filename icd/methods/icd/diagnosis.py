"""What a decoder has learnt and where it looks, in numbers. No part of the training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from icd.methods.icd import fast
from icd.methods.icd.decoder import LayerOutput
from icd.methods.icd.method import ICD
from icd.methods.icd.queries import Queries, make_queries
from icd.methods.tokens import Targets, full_precision, sizes_of
from icd.methods.where import foreground

Values = dict[str, Tensor]


@torch.no_grad()
def diagnose(method: ICD, teacher: Sequence[Tensor], targets: Targets, iteration: int) -> Values:
    """Numbers about each layer and head of the decoder, scalars by name.

    They change nothing: the queries are those that the training draws in this iteration.

    ``tokens`` is the number of tokens of an image and ``boxes`` their share in annotated boxes,
    which even attention would have there. ``layer1/`` precedes the numbers of the first layer (see
    :func:`auxiliary_values`), ``layer1/head1/`` those of its first head (see
    :func:`attention_values` and :func:`effective_rank`). They are means over the images with
    objects; without any, the result is empty.

    Args:
        method: as it is trained.
        teacher, targets, iteration: what the method receives in a training step.
    """
    images = [image for image, boxes in enumerate(targets.boxes) if len(boxes)]
    if not images:
        return {}
    chosen = torch.tensor(images).to(teacher[0].device, non_blocking=True)
    queries = make_queries(targets, method.draw(targets, iteration), method.jitter)
    tokens = method.tokens(teacher, targets)
    valid = tokens.valid[chosen]
    inside = foreground(teacher, [], targets, tokens.valid)[chosen, 0] > 0
    real = queries.real[:, : max(map(len, targets.boxes))]
    cells = {
        f"stride{stride}": rows * columns
        for stride, (rows, columns) in zip(targets.strides, sizes_of(teacher), strict=True)
    }
    found = {
        "tokens": valid.sum(dim=1).double().mean(),
        "boxes": (inside.sum(dim=1) / valid.sum(dim=1)).mean(),
    }
    outputs = method.decoder(method.encoder(queries), tokens, fast.look_up)
    for number, output in enumerate(outputs, start=1):
        predicted = full_precision(method.auxiliary.predictor(output.queries))
        found |= _named(f"layer{number}", auxiliary_values(predicted, queries))
        maps = output.attention(real, method.temperature)[chosen]
        heads = attention_values(maps, valid, inside, cells)
        heads["rank"] = effective_rank(output, tokens.valid)
        for head in range(maps.shape[1]):
            own = {name: value[head] for name, value in heads.items()}
            found |= _named(f"layer{number}/head{head + 1}", own)
    return found


def _named(prefix: str, values: Values) -> Values:
    return {f"{prefix}/{name}": value for name, value in values.items()}


def attention_values(
    maps: Tensor, valid: Tensor, inside: Tensor, cells: dict[str, int]
) -> dict[str, Tensor]:
    """Where attention goes, [M] by name: means over images of numbers of each head.

    ``effective_tokens`` is the exponential of the entropy of the attention, ``effective`` its share
    of the image's tokens. ``largest`` is the largest share of one token, ``inside`` the share in
    annotated boxes. The names of the levels follow, with the share of each.

    Args:
        maps: [N, M, L], attention summed over the annotated instances of an image.
        valid, inside: [N, L] bool, tokens that see the image, and those in boxes.
        cells: number of tokens of each level, by its name.
    """
    shares = full_precision(maps)
    shares = shares / shares.sum(dim=-1, keepdim=True)
    effective = torch.special.entr(shares).sum(dim=-1).exp()
    values = {
        "effective_tokens": effective,
        "effective": effective / valid.sum(dim=-1, keepdim=True),
        "largest": shares.amax(dim=-1),
        "inside": (shares * inside[:, None]).sum(dim=-1),
    }
    for name, part in zip(cells, shares.split(list(cells.values()), dim=-1), strict=True):
        values[name] = part.sum(dim=-1)
    return {name: value.mean(dim=0) for name, value in values.items()}


def effective_rank(output: LayerOutput, valid: Tensor) -> Tensor:
    """Effective rank [M] of the teacher's values at the valid [N, L] tokens of all images.

    It is the exponential of the entropy of the normalised singular values (Roy and Vetterli, 2007),
    from 1 to the number of a head's channels; NaN if values are not finite.
    """
    values = full_precision(output.values) * valid[:, None, :, None]
    values = values.transpose(0, 1).flatten(1, 2)  # [M, N * L, d]
    products = (values.transpose(1, 2) @ values).double()
    # The decomposition would raise for what is not finite; of zeros, the rank is NaN.
    finite = products.isfinite().all(dim=-1).all(dim=-1)
    squares = torch.linalg.eigvalsh(products.where(finite[:, None, None], 0))
    singular = squares.clamp(min=0).sqrt()
    shares = singular / singular.sum(dim=-1, keepdim=True)
    return torch.special.entr(shares).sum(dim=-1).exp()


def auxiliary_values(prediction: Tensor, queries: Queries) -> Values:
    """How well the auxiliary task is solved from predictions [N, K, 5].

    ``recognised`` and ``mistaken`` are the shares of annotated and of fake instances whose
    objectness is above 0.5; without fakes there is no ``mistaken``. ``iou`` is the mean IoU of the
    predicted and the annotated box.
    """
    real, fake = queries.real, queries.valid & ~queries.real
    positive = prediction[..., 0] > 0
    overlap = iou(queries, prediction[..., 1:].sigmoid())
    return {
        "recognised": (positive & real).sum() / real.sum(),
        "mistaken": (positive & fake).sum() / fake.sum(),
        "iou": (overlap * real).sum() / real.sum(),
    }


def iou(queries: Queries, sides: Tensor) -> Tensor:
    """IoU [N, K] of the boxes with these sides [N, K, 4] and of the queries' own boxes."""
    first, second = (
        torch.cat([queries.centres - own[..., :2], queries.centres + own[..., 2:]], dim=-1)
        for own in (full_precision(sides), full_precision(queries.sides))
    )
    corner = torch.maximum(first[..., :2], second[..., :2])
    common = (torch.minimum(first[..., 2:], second[..., 2:]) - corner).clamp(min=0).prod(dim=-1)
    area = sum((box[..., 2:] - box[..., :2]).prod(dim=-1) for box in (first, second))
    return common / (area - common).clamp(min=1e-12)
