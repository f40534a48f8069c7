"""Focal and Global Distillation (Yang et al., CVPR 2022): objects, background and their relation.

::

    masks     M_ij = 1 in a box r, else 0;  S_ij = 1 / (H_r W_r) in a box, else 1 / N_bg   (2)-(4)
    maps      G^S, G^C = mean of |F| over channels, over cells                             (5), (6)
    attention A^S = H W softmax(G^S / T), A^C = C softmax(G^C / T)                         (7), (8)
    features  L_fea = sum (alpha M + beta (1 - M)) S A^S A^C (F^T - F^S)^2                 (9)
    attention L_at = gamma (|A^S_T - A^S_S|_1 + |A^C_T - A^C_S|_1)                         (10)
    global    L_global = lambda sum (R(F^T) - R(F^S))^2                                    (12)

L_fea uses the teacher's attention. R is the global context block of GCNet (Cao et al., 2019), one
for the teacher and one for the student, as in the authors' code. Where boxes overlap, S is that of
the smaller box. All losses are sums over cells and channels, averaged over images and summed over
levels.

A box contains the cells that it touches. All means, softmaxes and sums exclude padding, and N_bg
counts valid cells only. (The authors' code includes padding and gives a box one more row and
column. It divides boxes by the size of the image without padding and multiplies them by the size of
the level with padding, so masks are stretched where an image is padded.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from icd.methods.tokens import (
    P3_P7,
    Size,
    Targets,
    flatten_levels,
    full_precision,
    padded_boxes,
    sizes_of,
    valid_levels,
)


class FGD(nn.Module):
    """Focal and global distillation on a feature pyramid.

    The context blocks, two per level, learn from the global loss and are dropped after training.

    Args:
        channels: Given by the trainer: width C of both feature pyramids.
        strides: Given by the trainer: those of their levels.
        weight: Weight of all four losses together.
        foreground: Weight alpha of the feature loss inside boxes.
        background: Weight beta of the feature loss outside boxes.
        attention: Weight gamma of the attention loss.
        context: Weight lambda of the global loss.
        temperature: Temperature T of the attention.

    The defaults are for anchor-based one-stage detectors on COCO. The losses are sums over cells
    and channels, so smaller images and narrower pyramids need larger weights.
    """

    learns = True  # has parameters of its own

    def __init__(
        self,
        channels: int = 256,
        strides: Sequence[int] = P3_P7,
        weight: Annotated[float, Ge(0)] = 1.0,
        foreground: Annotated[float, Ge(0)] = 1e-3,
        background: Annotated[float, Ge(0)] = 5e-4,
        attention: Annotated[float, Ge(0)] = 5e-4,
        context: Annotated[float, Ge(0)] = 5e-6,
        temperature: Annotated[float, Gt(0)] = 0.5,
    ) -> None:
        super().__init__()
        self.teacher_blocks, self.student_blocks = (
            nn.ModuleList(ContextBlock(channels) for _ in strides) for _ in range(2)
        )
        self.weights = {
            "loss_foreground": weight * foreground,
            "loss_background": weight * background,
            "loss_attention": weight * attention,
            "loss_global": weight * context,
        }
        self.temperature = temperature

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
    ) -> dict[str, Tensor]:
        """The four losses of one batch; arguments as of :class:`icd.methods.icd.method.ICD`."""
        sizes, valid_cells = sizes_of(teacher), valid_levels(teacher, targets)
        strides, boxes = targets.strides, padded_boxes(targets)
        losses = []
        levels = zip(teacher, student, valid_cells, strict=True)
        for i, (teacher_level, student_level, valid) in enumerate(levels):
            foreground, background = scale_masks(boxes, sizes[i], strides[i], valid)
            target = flatten_levels([teacher_level.detach()])
            tokens = flatten_levels([student_level])
            focal = self.focal(full_precision(target), full_precision(tokens), valid)
            related = self.teacher_blocks[i](target, valid) - self.student_blocks[i](tokens, valid)
            losses.append(
                {
                    "loss_foreground": (foreground * focal["error"]).sum(),
                    "loss_background": (background * focal["error"]).sum(),
                    "loss_attention": focal["attention"],
                    "loss_global": related.square().where(valid[..., None], 0).sum(),
                }
            )
        images = len(targets.boxes)
        return {
            name: weight / images * sum(level[name] for level in losses)
            for name, weight in self.weights.items()
        }

    def focal(self, teacher: Tensor, student: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """The parts of the focal losses, for tokens [N, L, C] of one level.

        Returns:
            error: [N, L], squared error weighted by the teacher's attention, summed over channels.
            attention: absolute difference of the attentions, summed over images.
        """
        (cells, channels), (own_cells, own_channels) = (
            attention(tokens, valid, self.temperature) for tokens in (teacher, student)
        )
        squares = (channels[:, None] * (teacher - student).square()).sum(dim=-1)
        gaps = (cells - own_cells).abs().sum() + (channels - own_channels).abs().sum()
        return {"error": cells * squares, "attention": gaps}


def attention(tokens: Tensor, valid: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """A^S [N, L], zero in the padding, and A^C [N, C] of tokens [N, L, C]; both with mean 1."""
    strength = tokens.abs()
    logits = (strength.mean(dim=-1) / temperature).masked_fill(~valid, -torch.inf)
    count = valid.sum(dim=1, keepdim=True)
    per_channel = strength.where(valid[..., None], 0).sum(dim=1) / count
    channels = tokens.shape[-1] * (per_channel / temperature).softmax(dim=-1)
    return count * logits.softmax(dim=-1), channels


def scale_masks(boxes: Tensor, size: Size, stride: float, valid: Tensor) -> tuple[Tensor, Tensor]:
    """M S and (1 - M) S of one level, each [N, L], without gradient and zero in the padding.

    Args:
        boxes: [N, K, 4], corners in pixels; empty where an image has fewer than K.
        size: rows and columns of the level.
        stride: distance between cells in pixels.
        valid: [N, L] bool, False in the padding.
    """
    foreground = box_scale(boxes, size, stride) * valid
    free = (valid & (foreground == 0)).to(foreground)
    return foreground, free / free.sum(dim=1, keepdim=True).clamp(min=1)


def box_scale(boxes: Tensor, size: Size, stride: float) -> Tensor:
    """[N, h * w], one over the number of cells of the smallest box [N, K, 4] at a cell, else 0."""
    rows, columns = (
        touched(boxes[..., axis], boxes[..., axis + 2], cells, stride)
        for axis, cells in zip((1, 0), size, strict=True)
    )
    inside = (rows[..., :, None] & columns[..., None, :]).flatten(2).to(boxes)
    scale = inside / inside.sum(dim=2, keepdim=True).clamp(min=1)
    nothing = scale.new_zeros(len(scale), 1, scale.shape[2])  # a batch may have no boxes
    return torch.cat([nothing, scale], dim=1).amax(dim=1)


def touched(low: Tensor, high: Tensor, cells: int, stride: float) -> Tensor:
    """[..., cells] bool, True where intervals [...] (in pixels) touch a cell of one axis."""
    start = torch.arange(cells, device=low.device) * stride
    return (start < high[..., None]) & (start + stride > low[..., None])


class ContextBlock(nn.Module):
    """The global context block of GCNet, on tokens. It adds one global context to all tokens.

    Args:
        channels: width C of the tokens.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key = nn.Linear(channels, 1)
        down, up = nn.Linear(channels, channels // 2), nn.Linear(channels // 2, channels)
        self.transform = nn.Sequential(down, nn.LayerNorm(channels // 2), nn.ReLU(), up)
        nn.init.kaiming_normal_(self.key.weight, nonlinearity="relu")
        nn.init.zeros_(self.key.bias)
        nn.init.zeros_(up.weight)  # the block starts as the identity, as in GCNet
        nn.init.zeros_(up.bias)

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """Add to tokens [N, L, C] the context, a weighted sum over the cells ``valid`` [N, L]."""
        logits = full_precision(self.key(tokens))[..., 0].masked_fill(~valid, -torch.inf)
        context = (logits.softmax(dim=-1)[..., None] * tokens).sum(dim=1, keepdim=True)
        return full_precision(tokens) + full_precision(self.transform(context))
