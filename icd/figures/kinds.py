"""The pictures by name, and the rows of an ablation that they show.

Nothing heavy is imported here, since the Snakefile and the command line do.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

# Ids of rows. Of a row's seeds, all pictures but that of the errors show the first.
ATTENTION = ("icd",)
CURVES = ("student", "icd")
COMPARED = ("student", "icd", "icd_inherit", "teacher")

# Rows of each drawing.
ROWS = {"attention": ATTENTION, "detections": COMPARED, "curves": CURVES, "errors": COMPARED}

NUMBERS = ("losses", "steps", "errors")
# What stands below each drawing.
CAPTIONS = {
    "attention": "Where the decoder looks for an annotated object, by attention head; the weights "
    "of all objects of the image together; beside them what they are compared with.",
    "detections": "Annotations, and detections of student, ICD, ICD + inheriting and teacher.",
    "curves": "Losses during training, and AP of the detector as it was then.",
    "errors": "What each kind of error costs (TIDE: the AP50 that mending it would bring).",
}
DRAWINGS = tuple(CAPTIONS)


def measuring(kind: str) -> Callable:
    """``write(ablation, track, output)`` of one of ``NUMBERS``: writes them as CSV."""
    return import_module(f"icd.figures.measure.{kind}").write


def drawing(kind: str) -> Callable:
    """``write(ablation, track, sources, outputs)`` of one of ``DRAWINGS``."""
    return import_module(f"icd.figures.draw.{kind}").write
