"""The page of a track's results shows exactly what exists, in order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icd.experiments.ablation import Ablation, ablation_names, load_ablation
from icd.report.existing import existing
from icd.report.page import page, write_page
from icd.report.results import write_results
from tests.experiments.track_files import laid_over, track
from tests.report.small_table import place

# AP of the rows of `heads` in the order of the paper but for one and four heads; on all seeds.
HEADS = {"student": 0.2, "h4": 0.3, "h1": 0.4, "h16": 0.5, "h8": 0.6}
TABLE = "# {}\n\nWhy?\n\n| a | b |\n|:--|--:|\n| x | <1 |\n"


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Ablation]:
    """All ablations, of which two have a table."""
    monkeypatch.chdir(tmp_path)
    found = [load_ablation(name, track()) for name in ablation_names(track())]
    for ablation in found:
        if ablation.name in ("main", "heads"):
            folder = track().results / ablation.name
            folder.mkdir(parents=True)
            (folder / "table.md").write_text(TABLE.format(ablation.title))
            place(ablation, {run.id: metrics(row.id) for row in ablation.rows for run in row.runs})
            write_results(ablation, folder)
    return found


def metrics(row: str) -> dict:
    """Of a run of a row; none in a table but that of the heads."""
    return {"metrics": {"bbox": {"AP": HEADS[row]}}} if row in HEADS else {"metrics": {}}


def test_the_main_table_comes_first_and_what_is_not_there_is_not_named(tables):
    text = page(track(), existing(track(), tables), {})
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    shown = {ablation.name: ablation.title for ablation in tables}
    assert titles == [shown["main"], shown["heads"]]
    assert f"| [{shown['heads']}](#attention-heads): How many" in text
    assert "](heads/figure.png)" in text
    assert "Figures" not in text


def test_the_page_opens_with_what_the_tables_answer(tables):
    text = page(track(), existing(track(), tables), {})
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    answered = [line for line in lines if line and "?](#" in line[0]]
    assert [line[:3] for line in answered] == [
        [
            "[Are eight heads better than one?](#attention-heads)",
            "yes, as in the paper",
            "+20.0 [+20.0, +20.0]",
        ],
        [
            "[Are eight heads better than sixteen?](#attention-heads)",
            "yes, as in the paper",
            "+10.0 [+10.0, +10.0]",
        ],
    ]
    assert text.index("Are eight heads") < text.index("Does our order")


def test_the_contents_say_how_far_each_order_is_the_published_one(tables):
    lines = [
        line
        for line in page(track(), existing(track(), tables), {}).splitlines()
        if line.startswith(("| [What a small", "| [Attention heads]"))
    ]
    main, heads = ([cell.strip() for cell in line.split("|")[2:-1]] for line in lines)
    # Of ten pairs one is the other way round in the paper, and one equal: (8 - 1) / sqrt(10 * 9).
    # Without the student, who is last in both: (4 - 1) / sqrt(6 * 5).
    assert heads == ["5", "+0.74", "8 of 10", "+0.55", "4 of 6"]
    assert main == ["-"] * 5, "fewer than three rows"


def test_a_table_without_its_raw_numbers_is_not_shown(tables):
    (track().results / "main/bootstrap.csv").unlink()
    assert "](main/figure.png)" not in page(track(), existing(track(), tables), {})


def test_figures_that_are_there_are_shown_with_a_caption(tables):
    folder = track().results / "figures"
    folder.mkdir()
    (folder / "curves.png").touch()
    captions = {"figures/curves": "Losses.", "figures/errors": "Errors."}
    write_page(track(), existing(track(), tables), captions)
    text = (track().results / "README.md").read_text()
    assert "Losses.\n\n![curves](figures/curves.png)" in text
    assert "errors.png" not in text
    assert "Errors." not in text
    assert "\n[Figures](#figures)\n" in text


def test_costs_that_were_measured_stand_at_the_end(tables):
    folder = track().results / "cost"
    folder.mkdir()
    (folder / "table.md").write_text(TABLE.format("What distillation costs"))
    text = page(track(), existing(track(), tables), {})
    assert "\n[What distillation costs](#what-distillation-costs)\n" in text
    assert text.endswith(
        "## What distillation costs"
        + TABLE.format("").removeprefix("# ").rstrip()
        + "\n\n![What distillation costs](cost/figure.png)\n"
    )


def test_another_track_has_another_page(tables):
    other = track()
    other = laid_over(other, {"name": "other", "title": "Others"})
    assert page(other, existing(other, tables), {}).startswith(
        "# Results on the track other: Others\n"
    )


def test_a_table_on_other_annotations_than_the_present_is_named_and_not_shown(tables):
    heads = next(table for table in tables if table.name == "heads")
    known = {run.id: metrics("h8") | {"annotations_sha256": "old"} for run in heads.measured}
    place(heads, known)
    write_results(heads, track().results / "heads")
    for digits, shown in (("old", True), ("new", False)):
        survey = {"splits": {"test": {"sha256": digits}}}
        (track().results / "data.json").write_text(json.dumps(survey))
        text = page(track(), existing(track(), tables), {})
        assert (f"## {heads.title}" in text) == shown
        assert ("that `data.json` describes: heads." in text) != shown
