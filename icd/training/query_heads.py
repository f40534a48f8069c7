"""The decoders of Deformable DETR and DINO, for methods that ask for them.

The student's encoder has seen the batch when it computed its own loss. What it made of the batch is
kept, so that its decoder can be asked again. The teacher's encoder and decoder compute only what a
method uses. The interface is that of :class:`icd.training.heads.Heads`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from mmdet.models.detectors import DINO, DeformableDETR
from mmdet.structures import DetDataSample
from torch import Generator, Tensor, nn

from icd.errors import InputError
from icd.methods.query_predictions import Answers, Queries, QueryPredictions
from icd.training.pyramid import CommonLevels
from icd.training.teacher import Teacher

SUPPORTED = (DeformableDETR, DINO)


@dataclass
class Seen:
    """What the student did with a batch.

    given: all arguments of its decoder: encoded features and queries.
    outputs: logits and boxes of its head.
    """

    given: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[Tensor, Tensor] | None = None

    @property
    def predicted(self) -> list[Tensor]:
        """What the student has computed when a method begins."""
        return [self.given["memory"], *(self.outputs or ())]


class Decoder:
    """The decoder and head of a detector after its encoder has seen a batch.

    Args:
        detector: of one of the :data:`SUPPORTED` types.
        given: arguments of its decoder.
        outputs: of its head, if they are known.
    """

    def __init__(
        self, detector: Any, given: dict[str, Any], outputs: tuple[Tensor, Tensor] | None = None
    ) -> None:
        self.detector, self.given, self.outputs = detector, given, outputs

    @cached_property
    def queries(self) -> Queries:
        """The detector's own queries, without those that denoise."""
        own, position = self.detector.num_queries, self.given.get("query_pos")
        return Queries(
            content=self.given["query"][:, -own:],
            reference=self.given["reference_points"][:, -own:],
            position=None if position is None else position[:, -own:],
        )

    @cached_property
    def answers(self) -> Answers:
        """What it predicts for its own queries."""
        if self.outputs is None:
            return self.ask(self.queries)
        return Answers(*(output[:, :, -self.detector.num_queries :] for output in self.outputs))

    def ask(self, queries: Queries) -> Answers:
        """What it predicts for other queries, in float32 whatever the method's precision is."""
        given = {**self.given, "query": queries.content, "reference_points": queries.reference}
        if queries.position is not None:
            given["query_pos"] = queries.position
        if "dn_mask" in given:
            given["dn_mask"] = None
        with torch.autocast(queries.content.device.type, enabled=False):
            return Answers(*self.detector.bbox_head(**self.detector.forward_decoder(**given)))

    def random_queries(self, count: int, generator: Generator) -> Queries:
        """See :meth:`icd.methods.query_predictions.QueryDecoder.random_queries`."""
        with torch.autocast(self.given["memory"].device.type, enabled=False):
            return self.drawn(count, generator)

    def drawn(self, count: int, generator: Generator) -> Queries:
        """The random queries of :meth:`random_queries`."""
        detector, memory = self.detector, self.given["memory"]
        number, width = len(memory), memory.shape[-1]

        def draw(channels: int) -> Tensor:
            """Uniform numbers between 0 and 1, [count, channels]."""
            numbers = torch.rand(count, channels, generator=generator)
            return numbers.to(memory, non_blocking=True)

        def like(learned: Tensor) -> Tensor:
            """Vectors between the extremes of each channel of learned ones [Q, channels]."""
            low, high = learned.aminmax(dim=0)
            return low + draw(learned.shape[1]) * (high - low)

        def for_all(vectors: Tensor) -> Tensor:
            return vectors[None].expand(number, -1, -1)

        if not detector.as_two_stage:
            position, content = like(detector.query_embedding.weight).split(width, dim=1)
            reference = detector.reference_points_fc(position).sigmoid()
            return Queries(*map(for_all, (content, reference, position)))
        boxes = draw(4)
        if isinstance(detector, DINO):
            content = like(detector.query_embedding.weight)
            return Queries(for_all(content), for_all(boxes))
        embedded = detector.get_proposal_pos_embed(boxes[None].logit(eps=1e-6))
        vectors = detector.pos_trans_norm(detector.pos_trans_fc(embedded))[0]
        position, content = vectors.split(width, dim=1)
        return Queries(*map(for_all, (content, boxes, position)))


class FrozenDecoder(Decoder):
    """The same of a teacher: without gradients. Its encoder has yet to see the batch.

    Args:
        detector: of one of the :data:`SUPPORTED` types.
        pyramid: all levels of its features.
        data_samples: annotations of the batch.
    """

    def __init__(
        self, detector: Any, pyramid: Sequence[Tensor], data_samples: Sequence[DetDataSample]
    ) -> None:
        self.detector, self.outputs = detector, None
        self.batch = tuple(pyramid), list(data_samples)

    @cached_property
    def given(self) -> dict[str, Any]:  # type: ignore[override]
        """Arguments of the decoder: encoded features and the detector's own queries."""
        detector, (pyramid, _) = self.detector, self.batch
        with torch.no_grad(), torch.autocast(pyramid[0].device.type, enabled=False):
            features, given = detector.pre_transformer(*self.batch)
            own, _ = detector.pre_decoder(**detector.forward_encoder(**features))
        return {**given, **own}

    def ask(self, queries: Queries) -> Answers:
        """See :meth:`Decoder.ask`."""
        with torch.no_grad():
            return super().ask(queries)

    def random_queries(self, count: int, generator: Generator) -> Queries:
        """See :meth:`Decoder.random_queries`."""
        with torch.no_grad():
            return super().random_queries(count, generator)


class QueryHeads:
    """Student and teacher that are both a Deformable DETR, or both a DINO.

    Args:
        student: the detector.
        teacher: the frozen one.
        levels: those that the method distils; decoders see all levels.

    Raises:
        InputError: the detectors are others, or cannot take each other's queries.
    """

    def __init__(self, student: nn.Module, teacher: Teacher, levels: CommonLevels) -> None:
        require_same_queries(student, teacher.detector)
        self.student: Any = student
        self.teacher = teacher  # not its detector, so that deep copies share it

    @contextmanager
    def watch(self) -> Iterator[Seen]:
        """See :meth:`icd.training.heads.Heads.watch`."""
        seen, detector = Seen(), self.student
        before = vars(detector).get("forward_decoder")
        forward = detector.forward_decoder

        def watched(**given: Any) -> Any:
            seen.given = given
            return forward(**given)

        def keep(head: nn.Module, inputs: object, outputs: tuple[Tensor, Tensor]) -> None:
            seen.outputs = outputs

        handle = detector.bbox_head.register_forward_hook(keep)
        detector.forward_decoder = watched
        try:
            yield seen
        finally:
            handle.remove()
            del detector.forward_decoder
            if before is not None:
                detector.forward_decoder = before

    def read(
        self, seen: Seen, pyramid: Sequence[Tensor], data_samples: Sequence[DetDataSample]
    ) -> QueryPredictions:
        """See :meth:`icd.training.heads.Heads.read`."""
        return QueryPredictions(
            student=Decoder(self.student, seen.given, seen.outputs),
            teacher=FrozenDecoder(self.teacher.detector, pyramid, data_samples),
        )

    def assign(self, inputs: Tensor, data_samples: Sequence[DetDataSample]) -> None:
        """A DETR assigns objects to its predictions, so nothing is known before they are there."""


def require_same_queries(student: Any, teacher: Any) -> None:
    """Raise InputError unless two detectors can take each other's queries."""
    names = sorted(kind.__name__ for kind in SUPPORTED)
    for name, detector in (("student", student), ("teacher", teacher)):
        if type(detector) not in SUPPORTED:
            problem = f"of the {name} is {type(detector).__name__}, whose queries are unknown here"
            raise InputError("model", "type", problem, f"one of {names}, for both")
    for key, own, other in (
        ("type", type(student).__name__, type(teacher).__name__),
        ("as_two_stage", student.as_two_stage, teacher.as_two_stage),
        ("encoder embed_dims", student.embed_dims, teacher.embed_dims),
        ("bbox_head.num_classes", student.bbox_head.num_classes, teacher.bbox_head.num_classes),
    ):
        if own != other:
            problem = f"is {own} for the student, {other} for the teacher"
            raise InputError("model", key, problem, "the same, so that they share queries")
