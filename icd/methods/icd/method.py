"""Instance-Conditional Knowledge Distillation (Kang et al., NeurIPS 2021), assembled.

::

    query        q_i   = F_q(E(y_i))                              queries.py
    attention    m_ij  = softmax(K_j F_j^q(q_i) / sqrt(d))        decoder.py
    auxiliary    L_aux = BCE(F_obj(g_i), real_i) + L1(F_reg(g_i), box_i)     auxiliary.py
    distillation L_distill = <m_ij, MSE(V_j^S, V_j^T)>            plain.py, fast.py
    total        L = L_det + L_aux + weight * L_distill
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from icd.data.priors import Priors
from icd.methods import Distinct, Requires
from icd.methods.icd import fast
from icd.methods.icd.auxiliary import AUXILIARY_LOSSES, AuxiliaryLoss, AuxiliaryTask
from icd.methods.icd.decoder import Decoder, LayerOutput, ValueSpace, init_projection
from icd.methods.icd.level_scale import LevelScale
from icd.methods.icd.queries import Queries, QueryEncoder, make_queries
from icd.methods.icd.sampling import QuerySampler, QuerySamples, query_count
from icd.methods.shares import mean_count, share_index
from icd.methods.tokens import Targets, Tokens, flatten_levels, tokenize
from icd.methods.where import ALTERNATIVES, Where
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
        scale_levels: Whether to divide each level of the teacher by its RMS, which the paper does
            not do. Use it for a teacher whose levels differ in magnitude.
        strides: Given by the trainer: stride of each level that is distilled.
        seed: Given by the trainer: seed of the fake instances and the jitter.
        student_channels: Given by the trainer: width of the student's pyramid, if it differs.
    """

    learns = True  # has parameters of its own
    # Options that do not concern the decoder, which can be trained before any student.
    student_options = ("weight", "temperature", "warmup", "normalise", "where", "fakes")

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
        auxiliary: Annotated[Sequence[AuxiliaryLoss], Distinct()] = AUXILIARY_LOSSES,
        scale_hint: bool = True,
        scale_offset: float = 5.0,
        normalise: bool = True,
        value_space: ValueSpace = "trained",
        where: Where = "instance",
        fakes: Annotated[bool, Requires(where="instance")] = False,
        scale_levels: bool = False,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        seed: int = 0,
        student_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.sampler = QuerySampler(Priors(**priors))
        classes = len(self.sampler.frequency)
        self.encoder = QueryEncoder(classes, channels, scale_offset, scale_hint)
        self.decoder = Decoder(channels, heads, layers, value_space)
        self.auxiliary = AuxiliaryTask(channels, auxiliary)
        if not auxiliary:  # nothing would train them, and idle parameters stall data parallelism
            for untrained in (self.encoder, self.decoder, self.auxiliary):
                untrained.requires_grad_(False)
        self.student_values = nn.ModuleList(
            init_projection(nn.Linear(student_channels or channels, channels))
            for _ in self.decoder.layers
        )
        if where != "instance" and (where not in ALTERNATIVES or fakes):
            problem = "which uses no queries, but fakes is true" if fakes else "which is unknown"
            raise ValueError(f"where is {where!r}, {problem}")
        self.channels, self.normalise, self.seed = channels, normalise, seed
        self.weight, self.temperature, self.warmup = weight, temperature, warmup
        self.fake_ratio, self.query_cap, self.jitter = fake_ratio, query_cap, jitter
        self.where, self.fakes = where, fakes
        self.level_scale = LevelScale(len(strides)) if scale_levels else None

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor] | None,
        targets: Targets,
        iteration: int,
    ) -> dict[str, Tensor]:
        """Auxiliary and distillation losses of one batch.

        Teacher and student are FPN levels [N, C, h, w] of the same sizes; iterations count from 0.
        Without a student: the auxiliary losses alone.
        """
        queries = make_queries(targets, self.draw(targets, iteration), self.jitter)
        if student is None:
            tokens = self.tokens(teacher, targets, observe=self.training)
            outputs = self.decoder(self.encoder(queries), tokens, fast.look_up)
            return self.auxiliary_losses(outputs, queries)
        return self.losses(teacher, student, targets, queries, detach=iteration < self.warmup)

    def decoder_parts(self) -> nn.ModuleDict:
        """The modules that learn from the teacher alone, with or without a student."""
        names = ("encoder", "decoder", "auxiliary", "level_scale")
        parts = {name: getattr(self, name) for name in names}
        return nn.ModuleDict({name: part for name, part in parts.items() if part is not None})

    def draw(self, targets: Targets, iteration: int) -> list[QuerySamples]:
        """Fakes and jitter of each image: a function of seed, share and iteration alone.

        They are drawn on the CPU, so all devices draw the same. They are a few thousand numbers,
        ready before the device has computed the features, and their copy to it waits for nothing.
        """
        generator = torch.Generator().manual_seed(seed_of(self.seed, share_index(), iteration))
        return self.sampler(self.query_counts(targets), generator)

    def query_counts(self, targets: Targets) -> list[int]:
        """Number of queries of each image."""
        return [query_count(len(b), self.fake_ratio, self.query_cap) for b in targets.boxes]

    def count(self, targets: Targets) -> None:
        """Ask for the counts that the losses divide by, in their order (see
        :mod:`icd.methods.shares`)."""
        valid, real = sum(self.query_counts(targets)), sum(map(len, targets.boxes))
        for _ in self.decoder.layers:  # each has the auxiliary losses
            for number in (valid, real):
                mean_count(torch.tensor(number, device=targets.boxes[0].device))

    def losses(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        queries: Queries,
        detach: bool,
        formulation: ModuleType = fast,
    ) -> dict[str, Tensor]:
        """The losses for given queries, in the formulation of the module ``fast`` or ``plain``.

        With ``detach`` they do not train the student (warm-up). The auxiliary losses are summed
        over the decoder's layers, the distillation loss is averaged.
        """
        tokens = self.tokens(teacher, targets, observe=self.training)
        outputs = self.decoder(self.encoder(queries), tokens, formulation.look_up)
        if self.where == "instance":
            counted = self.counted(targets, queries)
            weights = [output.attention(counted, self.temperature) for output in outputs]
        else:
            weigh = ALTERNATIVES[self.where]
            weights = [weigh(teacher, student, targets, tokens.valid)] * len(outputs)
        features = flatten_levels([level.detach() for level in student] if detach else student)
        imitation = [
            formulation.imitation_loss(features, project, output.values, weight, self.normalise)
            for project, output, weight in zip(self.student_values, outputs, weights, strict=True)
        ]
        losses = self.auxiliary_losses(outputs, queries)
        return losses | {"loss_distillation": self.weight * torch.stack(imitation).mean()}

    def auxiliary_losses(
        self, outputs: Sequence[LayerOutput], queries: Queries
    ) -> dict[str, Tensor]:
        """The auxiliary losses by name, summed over the decoder's layers."""
        layers = [self.auxiliary(output.queries, queries) for output in outputs]
        return {
            f"loss_{name}": torch.stack([layer[name] for layer in layers]).sum()
            for name in layers[0]
        }

    def tokens(self, teacher: Sequence[Tensor], targets: Targets, observe: bool = False) -> Tokens:
        """The teacher's tokens; with ``observe``, their magnitude counts in that of its levels."""
        tokens = tokenize(teacher, targets.image_sizes, targets.padded_size)
        if self.level_scale is None:
            return tokens
        if observe:
            self.level_scale.observe(teacher, tokens.valid)
        return replace(tokens, levels=self.level_scale(teacher))

    def counted(self, targets: Targets, queries: Queries) -> Tensor:
        """Whose attention the distillation loss sums, [N, k]: annotated instances, or all."""
        if self.fakes:
            return queries.valid
        return queries.real[:, : max(len(boxes) for boxes in targets.boxes)]
