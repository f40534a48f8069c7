"""KD-DETR (Wang et al., CVPR 2024): teacher and student answer the same queries.

::

    points    q_s   the teacher's own queries;  q_g   queries at random, anew in each iteration
    answers   c_i, b_i   scores and box that a decoder predicts for point i; T the teacher's
    weight    w_i = max over classes of c_i^T
    loss      L = sum_i w_i [lambda_cls KL(c_i^T || c_i) + lambda_L1 |b_i - b_i^T|
                             + lambda_GIoU (1 - GIoU(b_i, b_i^T))] / sum_i w_i

The student's own queries and its own loss stay as they are: the points go through its decoder
besides. Because both decoders start from the same queries, no matching is needed.

The paper sums over points. Here the sum is divided by that of the weights, image by image, and
averaged over images, so that it does not depend on the number of points. Further choices, where the
equations do not decide:

- Scores are sigmoids in Deformable DETR and DINO, so KL is that of Bernoulli distributions, summed
  over classes.
- The lambdas are the weights that Deformable DETR's own loss gives to classes, L1 and GIoU.
- As in DETR's own loss, all layers of the decoder have the loss, and their losses are added. If the
  teacher has more layers, those of the student imitate evenly spread ones, the last the last.
- Both sets of points see themselves alone, so that the teacher answers its own queries as it does
  as a detector.
- All images of a batch have the same random points. How they are drawn depends on the detector
  (:meth:`icd.methods.query_predictions.QueryDecoder.random_queries`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from icd.errors import InputError
from icd.methods.boxes import overlap_error
from icd.methods.query_predictions import Answers, QueryPredictions
from icd.methods.tokens import Targets, full_precision
from icd.seeds import seed_of


class KDDETR(nn.Module):
    """The teacher's answers to shared queries, imitated by the student.

    The method has no parameters of its own. It needs a Deformable DETR or a DINO as student, and
    one of the same kind and width as teacher.

    Args:
        weight: Weight of all losses together.
        classification: Weight lambda_cls of the scores.
        distance: Weight lambda_L1 of the boxes' coordinates, in units of the image.
        overlap: Weight lambda_GIoU of the boxes' overlap.
        general: Number of random queries; the authors found 300 to be the best.
        specific: Whether the teacher's own queries are points, too.
        seed: Given by the trainer: seed of the random queries.
    """

    heads = "queries"  # asks for decoders

    def __init__(
        self,
        weight: Annotated[float, Ge(0)] = 1.0,
        classification: Annotated[float, Ge(0)] = 2.0,
        distance: Annotated[float, Ge(0)] = 5.0,
        overlap: Annotated[float, Ge(0)] = 2.0,
        general: Annotated[int, Ge(0)] = 300,
        specific: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not general and not specific:
            problem = "is 0, but specific is false, so there are no queries to share"
            raise InputError("methods", "kddetr.options.general", problem, "a positive number")
        self.weights = {
            "loss_classes": weight * classification,
            "loss_boxes": weight * distance,
            "loss_overlap": weight * overlap,
        }
        self.general, self.specific, self.seed = general, specific, seed

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
        predictions: QueryPredictions,
    ) -> dict[str, Tensor]:
        """The three losses of one batch; arguments as of :class:`icd.methods.icd.method.ICD`.

        ``predictions``: both decoders.
        """
        ours, theirs = zip(*self.answers(predictions, iteration), strict=True)
        losses = point_losses(joined(ours), joined(theirs))
        return {name: factor * losses[name] for name, factor in self.weights.items()}

    def answers(
        self, predictions: QueryPredictions, iteration: int
    ) -> Iterator[tuple[Answers, Answers]]:
        """Answers of student and teacher to each set of points."""
        student, teacher = predictions.student, predictions.teacher
        if self.specific:
            yield student.ask(teacher.queries), teacher.answers
        if self.general:
            # The same for all shares of a batch, as for all images.
            generator = torch.Generator().manual_seed(seed_of(self.seed, iteration))
            points = teacher.random_queries(self.general, generator)
            yield student.ask(points), teacher.ask(points)


def joined(sets: Sequence[Answers]) -> Answers:
    """The answers to several sets of queries as those to one."""
    logits, boxes = ([getattr(one, part) for one in sets] for part in ("logits", "boxes"))
    return Answers(torch.cat(logits, dim=2), torch.cat(boxes, dim=2))


def point_losses(student: Answers, teacher: Answers) -> dict[str, Tensor]:
    """The three losses of a batch, not yet weighed; [L, N, Q] points each, the same in both.

    A teacher may have more or fewer layers than the student.
    """
    layers = layers_to_imitate(len(student.logits), len(teacher.logits))
    logits, boxes = full_precision(student.logits), full_precision(student.boxes)
    targets = full_precision(teacher.logits[layers].detach())
    places = full_precision(teacher.boxes[layers].detach())
    weight = targets.sigmoid().amax(dim=-1)
    weight = weight / weight.sum(dim=-1, keepdim=True)
    errors = {
        "loss_classes": divergence(logits, targets).sum(dim=-1),
        "loss_boxes": (boxes - places).abs().sum(dim=-1),
        "loss_overlap": overlap_error(corners(boxes), corners(places), "giou"),
    }
    return {name: (weight * error).sum(dim=-1).mean(dim=1).sum() for name, error in errors.items()}


def layers_to_imitate(student: int, teacher: int) -> list[int]:
    """For each layer of the student, that of the teacher: evenly spread, the last for the last."""
    return [-(-(layer + 1) * teacher // student) - 1 for layer in range(student)]


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of Bernoulli distributions with these logits: KL(teacher || student)."""
    score = teacher.sigmoid()
    agree = score * (F.logsigmoid(teacher) - F.logsigmoid(student))
    return agree + (1 - score) * (F.logsigmoid(-teacher) - F.logsigmoid(-student))


def corners(boxes: Tensor) -> Tensor:
    """Corners, in thousandths of the image, of boxes [..., 4]: x, y of the centre, width, height.

    In this unit, the number that keeps the overlap of empty boxes finite is negligible.
    """
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return 1000 * torch.cat([centre - half, centre + half], dim=-1)
