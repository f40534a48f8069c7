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

import torch
from mmdet.registry import MODELS
from mmengine.dist import get_rank
from torch import Tensor, nn

from icd.data.priors import Priors
from icd.methods.icd.attention import Found
from icd.methods.icd.auxiliary import AUXILIARY_LOSSES, AuxiliaryTask
from icd.methods.icd.decoder import Decoder, set_value_space, value_projection
from icd.methods.icd.imitation import Comparison, imitation_loss
from icd.methods.icd.packed import pack
from icd.methods.icd.queries import Draw, FakeSampler, Queries, QueryEncoder, pose, query_count
from icd.methods.icd.ragged import pad, unpad
from icd.methods.icd.where import Clues, weighing
from icd.methods.targets import Targets
from icd.methods.tokens import valid_tokens
from icd.seeds import seed_of


@MODELS.register_module()
class ICD(nn.Module):
    """Losses that teach a student what a teacher knows about each annotated instance.

    Args:
        priors: fields of :class:`Priors`, computed from the training annotations.
        channels: width C of the teacher's feature pyramid.
        student_channels: width of the student's, if another: its projection maps it.
        heads: number M of attention heads.
        layers: decoder depth; 0 is a bare attention.
        weight: lambda, the weight of the distillation loss.
        fake_ratio: fake instances per real one.
        query_cap: largest number of queries of an image, unless it has more real instances.
        jitter: largest move of a query's centre, in units of its box.
        temperature: flattens the attention of the distillation loss.
        warmup: iterations in which the student's features are detached, so that only its value
            projection learns from the distillation loss.
        auxiliary: which of ``identification`` and ``localisation`` train the decoder; with none
            it stays as it was initialised.
        scale_hint, scale_offset: see :class:`QueryEncoder`.
        normalise: layer-normalise the values of each head before comparing them.
        value_space: of the teacher's values, see :func:`icd.methods.icd.decoder.set_value_space`;
            the student's projection into it is trained in any case.
        where: what weighs the tokens in the distillation loss, a name in
            :data:`icd.methods.icd.where.WHERE`. All else stays the same.
        fakes: sum the attention of all queries, not of the annotated instances alone.
        seed: of the fake instances and the jitter.
    """

    def __init__(
        self,
        priors: dict,
        channels: int = 256,
        heads: int = 8,
        layers: int = 1,
        weight: float = 8.0,
        fake_ratio: float = 5.0,
        query_cap: int = 300,
        jitter: float = 0.3,
        temperature: float = 1.0,
        warmup: int = 1000,
        auxiliary: Sequence[str] = AUXILIARY_LOSSES,
        scale_hint: bool = True,
        scale_offset: float = 5.0,
        normalise: bool = True,
        value_space: str = "trained",
        where: str = "instance",
        fakes: bool = False,
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
