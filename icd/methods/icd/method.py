"""Instance-Conditional Knowledge Distillation (Kang et al., NeurIPS 2021), assembled.

::

    query        q_i   = F_q(E(y_i))                              queries.py
    attention    m_ij  = softmax(K_j F_j^q(q_i) / sqrt(d))        decoder.py
    auxiliary    L_aux = BCE(F_obj(g_i), real_i) + L1(F_reg(g_i), box_i)     auxiliary.py
    distillation L_distill = <m_ij, MSE(V_j^S, V_j^T)>            where.py, distillation.py
    total        L = L_det + L_aux + weight * L_distill
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from mmengine.dist import get_rank
from torch import Tensor, nn

from icd.data.priors import Priors
from icd.methods import Requires
from icd.methods.icd.attention import Found
from icd.methods.icd.auxiliary import AuxiliaryTask
from icd.methods.icd.decoder import Decoder, set_value_space, value_projection
from icd.methods.icd.imitation import Comparison, imitation_loss
from icd.methods.icd.packed import pack
from icd.methods.icd.queries import Draw, FakeSampler, Queries, QueryEncoder, pose, query_count
from icd.methods.icd.ragged import pad, unpad
from icd.methods.icd.where import Clues, weighing
from icd.methods.targets import Targets
from icd.methods.tokens import valid_tokens
from icd.seeds import seed_of


class ICD(nn.Module):
    """Losses that teach a student what a teacher knows about each annotated instance.

    Args:
        priors: Given by the trainer: fields of Priors, from the training annotations.
        channels: Given by the trainer: width C of the teacher's feature pyramid.
        heads: Number M of attention heads.
        layers: Depth of the decoder; 0 is an attention without residual, norm and FFN.
        weight: Weight lambda of the distillation loss.
        fake_ratio: Fake instances per annotated one.
        query_cap: Most queries per image, unless more instances are annotated.
        jitter: Largest shift of a query's centre, in units of its box.
        temperature: Divides the attention logits of the distillation loss; above 1 it is flatter.
        warmup: Iterations during which the distillation loss does not train the student.
        auxiliary: Losses that train the decoder; without any it stays as initialised.
        scale_hint: Whether a query encodes the coarse size of its box.
        scale_offset: Log2 of half the width in pixels where the second scale bin begins.
        normalise: Whether to layer-normalise the values of each head before comparing them.
        value_space: Where values are compared: a trained or fixed projection, or the features.
        where: Which tokens the distillation loss weighs, and how much.
        fakes: Whether fake instances count in the attention of the distillation loss.
        seed: Given by the trainer: seed of the fake instances and the jitter.
        student_channels: Given by the trainer: width of the student's pyramid, if it differs.
    """

    learns = True  # has parameters of its own

    def __init__(
        self,
        priors: dict,
        channels: int = 256,
        heads: Annotated[int, Ge(1)] = 8,
        layers: Annotated[int, Ge(0)] = 1,
        weight: Annotated[float, Ge(0)] = 8.0,
        fake_ratio: Annotated[float, Ge(0)] = 5.0,
        query_cap: Annotated[int, Ge(1)] = 300,
        jitter: Annotated[float, Ge(0)] = 0.3,
        temperature: Annotated[float, Gt(0)] = 1.0,
        warmup: Annotated[int, Ge(0)] = 1000,
        auxiliary: Sequence[Literal["identification", "localisation"]] = (
            "identification",
            "localisation",
        ),
        scale_hint: bool = True,
        scale_offset: float = 5.0,
        normalise: bool = True,
        value_space: Literal["trained", "fixed", "identity"] = "trained",
        where: Literal[
            "instance", "everywhere", "foreground", "fine_grained", "activation"
        ] = "instance",
        fakes: Annotated[bool, Requires(where="instance")] = False,
        seed: int = 0,
        student_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.sampler = FakeSampler(Priors(**priors))
        classes = len(self.sampler.frequency)
        self.encoder = QueryEncoder(classes, channels, scale_offset, scale_hint)
        self.decoder = Decoder(channels, heads, layers)
        set_value_space(self.decoder, value_space)
        self.auxiliary = AuxiliaryTask(channels, auxiliary)
        if not auxiliary:  # nothing would train them, and idle parameters stall data parallelism
            for untrained in (self.encoder, self.decoder, self.auxiliary):
                untrained.requires_grad_(False)
        self.student_values = nn.ModuleList(
            value_projection(channels, student_channels) for _ in self.decoder.layers
        )
        self.channels, self.heads = channels, heads
        self.weight, self.temperature, self.warmup = weight, temperature, warmup
        self.fake_ratio, self.query_cap, self.jitter = fake_ratio, query_cap, jitter
        self.normalise = normalise
        self.weigh, self.fakes = weighing(where, fakes), fakes
        self.seed = seed

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
    ) -> dict[str, Tensor]:
        """Auxiliary and distillation losses of one batch.

        Args:
            teacher, student: FPN levels, each [N, C, h, w], of the same sizes.
            targets: ground truth of the N images.
            iteration: training iteration, from 0.
        """
        queries = pose(targets, self.draw(targets, iteration), self.jitter)
        return self.losses(teacher, student, targets, queries, detach=iteration < self.warmup)

    def draw(self, targets: Targets, iteration: int) -> list[Draw]:
        """Fakes and jitter of each image: a function of seed, process and iteration alone."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, get_rank(), iteration))
        counts = [query_count(len(b), self.fake_ratio, self.query_cap) for b in targets.boxes]
        return self.sampler(counts, generator)

    def losses(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        queries: Queries,
        detach: bool,
    ) -> dict[str, Tensor]:
        """The losses for given queries; ``detach`` spares the student (warm-up).

        The same as :func:`icd.methods.icd.plain.losses`, where the equations stand.
        """
        sizes = targets.image_sizes, targets.padded_size
        tokens, counts = pack(teacher, *sizes, queries.counts), queries.counts
        found = self.decoder(unpad(self.encoder(queries), counts), tokens)
        clues = Clues(
            targets,
            teacher,
            student,
            valid_tokens(teacher, *sizes),
            self.asked(targets, queries),
            self.temperature,
        )
        student = [level.detach() for level in student] if detach else student
        per_layer = [self.auxiliary(pad(layer.queries, counts), queries) for layer in found]
        return self.total(per_layer, self.imitation(found, student, clues))

    def asked(self, targets: Targets, queries: Queries) -> list[range]:
        """Whose attention counts: the annotated instances, which come first, or all."""
        if self.fakes:
            return [range(count) for count in queries.counts]
        return [range(len(boxes)) for boxes in targets.boxes]

    def imitation(
        self, found: Sequence[Found], student: Sequence[Tensor], clues: Clues
    ) -> list[Tensor]:
        """L_distill of each of the decoder's layers for student levels [N, C, h, w]."""
        comparison = Comparison(found[0].layout, self.heads, self.normalise)
        return [
            imitation_loss(student, projection, layer.values, self.weigh(clues, layer), comparison)
            for layer, projection in zip(found, self.student_values, strict=True)
        ]

    def total(
        self, per_layer: Sequence[dict[str, Tensor]], imitation: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Losses from those of each layer: the auxiliary task's are summed, L_distill averaged."""
        return {
            **{f"loss_{name}": sum(losses[name] for losses in per_layer) for name in per_layer[0]},
            "loss_distillation": self.weight * torch.stack(list(imitation)).mean(),
        }
