"""Answers of tables: their verdicts, and which questions have one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from icd.experiments.ablation import Ablation
from icd.experiments.ablation_content import Comparison
from icd.report.answers import HEADER, Answer, answers
from icd.report.intervals import Estimate, estimate
from icd.report.results import Results
from icd.report.summary import summarise

IMAGES = np.random.default_rng(0).normal(0, 0.1, (3, 50))


def measured(mean: float, scatter: float = 0.1) -> Estimate:
    """An estimate of three seeds that differ so much."""
    return estimate([mean - scatter, mean, mean + scatter], mean + IMAGES)


@pytest.mark.parametrize(
    ("mean", "published", "verdict"),
    [
        (2.0, 0.5, "yes, as in the paper"),
        (2.0, -0.5, "yes, unlike the paper"),
        (2.0, 0.0, "yes, unlike the paper"),
        (2.0, None, "yes"),
        (-2.0, -0.1, "no, as in the paper"),
        (-2.0, 0.5, "no, unlike the paper"),
        (-2.0, None, "no"),
        (0.1, 0.5, "cannot tell"),
        (0.1, None, "cannot tell"),
    ],
)
def test_a_verdict_is_about_the_sign(mean: float, published: float | None, verdict: str) -> None:
    assert Answer("Why?", measured(mean), published).verdict == verdict


def test_one_seed_cannot_tell() -> None:
    alone = estimate([2.0], 2.0 + IMAGES[:1])
    assert alone.sign, "by its interval over images"
    assert Answer("Why?", alone, 0.5).verdict == "cannot tell from one seed"


def test_cells_show_the_evidence() -> None:
    found = measured(2.0)
    low, high = found.interval or (0, 0)
    cells = Answer("Why?", found, 0.5).cells
    assert len(cells) == len(HEADER)
    assert cells[2] == f"+2.0 [+{low:.1f}, +{high:.1f}]"
    assert cells[3:] == [f"{found.detectable:.1f}", "+0.5"]


def test_rows_answer_questions_in_their_order(ablation: Ablation, results: Results) -> None:
    table = replace(
        ablation,
        answers=(
            Comparison(question="Does it help?", row="icd", over="student"),
            Comparison(question="Is inheriting better?", row="inherit", over="icd"),
        ),
    )
    summary = summarise(table, results)
    helps, better = answers(summary, table.answers)
    assert helps.estimate == summary.entry("icd").gain
    assert helps.verdict == "yes, as in the paper"
    assert helps.published == pytest.approx(39.9 - 37.4)
    assert (better.verdict, better.published) == ("no", None)


def test_a_question_without_both_rows_has_no_answer(
    broken: tuple[Ablation, Results],
) -> None:
    table, results = broken
    asked = [Comparison(question="Does it help?", row="icd", over="student")]
    assert [*answers(summarise(table, results), asked)] == []
