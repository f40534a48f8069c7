"""Instance-conditional knowledge distillation, one concept a file, in the order of the paper.

``tokens`` (the feature pyramid as a sequence), ``priors`` and ``queries`` (what is asked),
``decoder`` (the look-up in the teacher), ``auxiliary`` (the task that trains the look-up),
``where`` (what weighs the imitation: that look-up, or what it is compared with), ``distillation``
(the imitation) and ``icd``, which puts them together. ``plain`` is the specification of what
``packed``, ``attention`` and ``imitation`` compute at less cost: read it first. ``fitnet``,
``cwd``, ``pkd``, ``mgd`` and ``fgd`` are methods to compare it with, one file each; ``adapter`` is
for pyramids of another width.
"""

from __future__ import annotations


class Requires:
    """In the type of a method's option: a true value needs another option to have a value.

    ``fakes: Annotated[bool, Requires(where="instance")] = False``, for example.
    """

    def __init__(self, **conditions: object) -> None:
        self.conditions = conditions
