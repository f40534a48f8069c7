"""What a method can ask for where decoders answer queries, as those of Deformable DETR and DINO.

A method whose class states ``heads = "queries"`` receives :class:`QueryPredictions` as the fifth
argument of its ``forward`` (see :mod:`icd.methods.predictions`). :mod:`icd.training.query_heads`
computes them from mmdet's detectors, when they are first used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor


@dataclass(frozen=True)
class Queries:
    """What a decoder starts from: Q queries for each of N images.

    content: [N, Q, D].
    reference: [N, Q, 2] points x, y or [N, Q, 4] boxes x, y (of the centre), width, height, in
        units of the image.
    position: [N, Q, D]; None where the decoder derives it from the reference.
    """

    content: Tensor
    reference: Tensor
    position: Tensor | None = None


@dataclass(frozen=True)
class Answers:
    """What the L layers of a decoder predict for the queries.

    logits: [L, N, Q, C], of which the sigmoid is the score of each class.
    boxes: [L, N, Q, 4], x, y (of the centre), width, height, in units of the image.
    """

    logits: Tensor
    boxes: Tensor


class QueryDecoder(Protocol):
    """The decoder of a detector, over what its encoder made of a batch.

    The answers of a student have gradients, those of a teacher have none.
    """

    @property
    def queries(self) -> Queries:
        """The detector's own queries, without those that denoise."""

    @property
    def answers(self) -> Answers:
        """What it predicts for its own queries."""

    def ask(self, queries: Queries) -> Answers:
        """What it predicts for others, which see each other and no further ones."""

    def random_queries(self, count: int, generator: Generator) -> Queries:
        """Queries at random, the same for all images of the batch.

        References that are boxes, and the vectors that are learned, are uniform: boxes in the
        image, vectors between the extremes of each channel of the learned ones. The detector
        derives all else from them as it does for its own.

        Args:
            count: how many.
            generator: of random numbers, on the CPU.
        """


@dataclass(frozen=True)
class QueryPredictions:
    """Two decoders of the same kind, which take each other's queries."""

    student: QueryDecoder
    teacher: QueryDecoder
