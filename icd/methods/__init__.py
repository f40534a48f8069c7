"""Distillation methods: ICD and those it is compared with, one file each.

``tokens`` is what all share: the targets, and which cells of a feature pyramid see an image.
``icd`` is Instance-Conditional Knowledge Distillation, one concept a file. ``where`` holds the
alternatives to its attention (table 6). ``fitnet``, ``cwd``, ``pkd``, ``mgd`` and ``fgd`` are
other methods. ``adapter`` lets a method see a student whose pyramid has another width.
"""

from __future__ import annotations


class Requires:
    """In the type of a method's option: a true value needs another option to have a value.

    ``fakes: Annotated[bool, Requires(where="instance")] = False``, for example.
    """

    def __init__(self, **conditions: object) -> None:
        self.conditions = conditions


class Distinct:
    """In the type of a method's option: no item of the list stands in it twice."""
