"""Kullback-Leibler divergences of predictions that are distributions: over bins, over classes."""

from __future__ import annotations

from torch import Tensor

from icd.methods.tokens import full_precision


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) [...] of the softmax of logits [..., n], at temperature T."""
    ours, theirs = (
        (full_precision(logits) / temperature).log_softmax(dim=-1) for logits in (student, teacher)
    )
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(dim=-1)


def side_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The mean divergence [N, P] of a box's four sides, whose logits [N, P, 4 n] are over n bins.

    GFL predicts boxes so.
    """
    ours, theirs = (sides.unflatten(-1, (4, -1)) for sides in (student, teacher))
    return divergence(ours, theirs, temperature).mean(dim=-1)
