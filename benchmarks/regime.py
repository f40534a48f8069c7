"""How much a scale resembles COCO: ``python -m benchmarks.regime TRACK`` prints a table.

Run ``snakemake regime --config track=TRACK`` first. The criteria say what a scale can answer: where
a student is far from its plateau, any dense supervision helps, and where the decoder has not learnt
its task, its attention says nothing about instances.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd

from icd import markdown
from icd.experiments.ablation import load_ablation
from icd.experiments.track import Track, load_track
from icd.files import read_json
from icd.report.results import read_results
from icd.report.summary import Summary, summarise

COCO_SIZE, COCO_OBJECTS = 0.1, 7.3  # median relative size; objects per image (of train2017)


@dataclass(frozen=True)
class Criterion:
    """A measured value and the range that it should lie in, in the same unit."""

    name: str
    value: float
    low: float
    high: float

    @property
    def is_met(self) -> bool:
        return self.low <= self.value <= self.high

    @property
    def target(self) -> str:
        if self.high == inf:
            return f"at least {self.low:g}"
        if self.low == -inf:
            return f"at most {self.high:g}"
        return f"{self.low:g} to {self.high:g}"


def of_runs(summary: Summary) -> Iterator[Criterion]:
    """How well students, teacher and decoder are trained, from the table `regime`.

    The values of the decoder are means over the end of the students' training.
    """
    student, longer, teacher = (
        fmean(summary.entry(name).metrics["AP"]) for name in ("student", "student_2x", "teacher")
    )
    yield Criterion("AP that twice the schedule adds to the student", longer - student, -inf, 2)
    yield Criterion("AP of the teacher above the student at 2x", teacher - longer, 4, inf)
    decoder = summary.entry("icd").decoder
    assert decoder, "ICD has a decoder"
    yield Criterion("real queries recognised, %", 100 * decoder.recognised, 85, 100)
    yield Criterion("fake queries mistaken, %", 100 * decoder.mistaken, 0, 5)
    yield Criterion("effective tokens, %", 100 * decoder.effective, 5, 80)


def of_pyramids(diagnosis: pd.DataFrame) -> Iterator[Criterion]:
    """RMS of the levels, relative to the mean level, from ``diagnosis.csv`` of the table."""
    for role in ("teacher", "student"):
        levels = diagnosis.filter(regex=f"^rms/{role}/").dropna().astype(float).mean()
        for which, extreme in (("smallest", levels.min()), ("largest", levels.max())):
            relative = float(extreme / levels.mean())
            yield Criterion(
                f"RMS of the {role}'s {which} level, of its mean level", relative, 0.5, 2
            )


def of_objects(annotations: dict[str, Any]) -> Iterator[Criterion]:
    """Sizes and numbers of the objects in a COCO file: within 20 % of COCO's."""
    area = {image["id"]: image["width"] * image["height"] for image in annotations["images"]}
    sizes = [(one["area"] / area[one["image_id"]]) ** 0.5 for one in annotations["annotations"]]
    count = len(sizes) / len(area)
    yield Criterion("median relative size", median(sizes), 0.8 * COCO_SIZE, 1.2 * COCO_SIZE)
    yield Criterion("objects per image", count, 0.8 * COCO_OBJECTS, 1.2 * COCO_OBJECTS)
    covered = 100 * sum(size**2 for size in sizes) / len(area)
    yield Criterion("area of objects, % of the image", covered, 0, 50)


def criteria(track: Track) -> list[Criterion]:
    """All criteria of a track whose table `regime` is measured."""
    ablation = load_ablation("regime", track)
    results = read_results(Path(track.results, "regime"))
    objects = read_json(track.annotations("train"), "the annotations of the split train")
    return [
        *of_runs(summarise(ablation, results)),
        *of_pyramids(results.diagnosis),
        *of_objects(objects),
    ]


def table(found: list[Criterion]) -> str:
    """The criteria as Markdown."""
    rows = [(c.name, c.target, f"{c.value:.3g}", "yes" if c.is_met else "no") for c in found]
    return markdown.table(["criterion", "target", "measured", "met"], rows)


if __name__ == "__main__":
    (track_name,) = sys.argv[1:] or ["mini"]
    print(table(criteria(load_track(track_name))))
