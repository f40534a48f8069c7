"""Masked Generative Distillation (Yang et al., ECCV 2022): restore features from masked ones.

::

    mask     M_ij = 0 if R_ij < lambda else 1, R_ij uniform in (0, 1)                (2)
    recovery G(F) = W_2(ReLU(W_1(F))), two convolutions of 3x3 cells                 (4)
    loss     L    = alpha  sum over levels, channels, cells of (T - G(S M))^2        (5), (6)

averaged over images. G treats an image's padding as zeros, like the area beyond the border, and the
sum excludes it (the authors' code includes it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from icd.methods.shares import share_index
from icd.methods.tokens import P3_P7, Targets, full_precision, valid_levels
from icd.seeds import seed_of


class MGD(nn.Module):
    """Squared error between the teacher's FPN and features generated from the student's.

    The generators, one per level, learn from this loss and are dropped after training.

    Args:
        channels: Given by the trainer: width C of both feature pyramids.
        strides: Given by the trainer: those of their levels.
        weight: Weight alpha of the loss; the default suits one-stage detectors (two-stage: 5e-7).
        masked: Share lambda of hidden cells (two-stage detectors: 0.45).
        seed: Given by the trainer: seed of the masks.

    The defaults are for COCO. The loss is a sum over cells and channels, so smaller images and
    narrower pyramids need a larger weight.
    """

    learns = True  # has parameters of its own

    def __init__(
        self,
        channels: int = 256,
        strides: Sequence[int] = P3_P7,
        weight: Annotated[float, Ge(0)] = 2e-5,
        masked: Annotated[float, Ge(0), Le(1)] = 0.65,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.generators = nn.ModuleList(Generator(channels) for _ in strides)
        self.weight, self.masked, self.seed = weight, masked, seed

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
    ) -> dict[str, Tensor]:
        """The error of one batch; arguments as of :class:`icd.methods.icd.method.ICD`."""
        losses = []
        shown, valid_cells = self.draw(student, iteration), valid_levels(teacher, targets)
        for generate, target, level, kept, cells in zip(
            self.generators, teacher, student, shown, valid_cells, strict=True
        ):
            valid = cells.view_as(kept)
            error = full_precision(generate(level * kept, valid)) - full_precision(target.detach())
            losses.append((error.square() * valid).sum() / len(level))
        return {"loss_distillation": self.weight * torch.stack(losses).sum()}

    def draw(self, levels: Sequence[Tensor], iteration: int) -> list[Tensor]:
        """Draw the cells of each level [N, C, h, w] that are shown: [N, 1, h, w] bool.

        The result depends only on seed, share, iteration and the kind of device.
        """
        device = levels[0].device
        # Hundreds of thousands of numbers: on the CPU, drawing and copying them would take longer
        # than the loss. Devices of different kinds draw different numbers.
        generator = torch.Generator(device).manual_seed(
            seed_of(self.seed, share_index(), iteration)
        )
        return [
            torch.rand(len(level), 1, *level.shape[-2:], generator=generator, device=device)
            >= self.masked
            for level in levels
        ]


class Generator(nn.Module):
    """Generates the teacher's features of a level from the shown cells of the student's.

    Args:
        channels: width C of both.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, shown: Tensor, valid: Tensor) -> Tensor:
        """Map features [N, C, h, w] to features of this shape; treats invalid cells as zero.

        Args:
            shown: the student's features, zero in hidden cells.
            valid: [N, 1, h, w] bool, False in the padding.
        """
        return self.second(self.first(shown * valid).relu() * valid)
