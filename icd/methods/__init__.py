"""Distillation methods: ICD and the methods it is compared with, one file each.

``tokens`` holds what all methods share: the targets, and the valid cells of feature pyramids.
``icd`` is Instance-Conditional Knowledge Distillation, one concept per file. ``where`` holds the
alternatives to its attention (table 6). ``fitnet``, ``cwd``, ``pkd``, ``mgd`` and ``fgd`` are
other methods of imitating features; ``crosskd``, ``bckd`` and ``ld`` imitate ``predictions``, and
``kddetr`` those of decoders with queries. ``combination`` adds the losses of several methods.
``adapter`` adapts a student's pyramid to the teacher's width.
"""

from __future__ import annotations


class Requires:
    """In the type of a method's option: a true value needs another option to have a value.

    ``fakes: Annotated[bool, Requires(where="instance")] = False``, for example.
    """

    def __init__(self, **conditions: object) -> None:
        self.conditions = conditions


class Distinct:
    """In the type of a method's option: the items of the list must differ."""
