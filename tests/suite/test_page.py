"""The page of a track's results: what is there, in order, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from track_files import track

from icd.pictures.kinds import CAPTIONS
from icd.suite.ablation import Ablation, ablation_names, load_ablation
from icd.suite.page import html, page, write_page

TABLE = "# {}\n\nWhy?\n\n| a | b |\n|:--|--:|\n| x | <1 |\n"


@pytest.fixture
def tables(tmp_path, monkeypatch) -> list[Ablation]:
    """All ablations, of which two have a table."""
    monkeypatch.chdir(tmp_path)
    found = [load_ablation(name, track()) for name in ablation_names(track())]
    for ablation in found:
        if ablation.name in ("main", "heads"):
            folder = track().results / ablation.name
            folder.mkdir(parents=True)
            (folder / "table.md").write_text(TABLE.format(ablation.title))
    return found


def test_the_main_table_comes_first_and_what_is_not_there_is_not_named(tables):
    text = page(track(), tables)
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    shown = {ablation.name: ablation.title for ablation in tables}
    assert titles == [shown["main"], shown["heads"]]
    assert f"- [{shown['heads']}](#attention-heads)" in text
    assert "](heads/figure.png)" in text
    assert "Pictures" not in text


def test_pictures_that_are_there_are_shown_with_a_caption(tables):
    folder = track().results / "pictures"
    folder.mkdir()
    (folder / "curves.png").touch()
    write_page(track(), tables)
    text = (track().results / "README.md").read_text()
    assert f"{CAPTIONS['curves']}\n\n![curves](pictures/curves.png)" in text
    assert "errors.png" not in text


def test_costs_that_were_measured_stand_at_the_end(tables):
    folder = track().results / "cost"
    folder.mkdir()
    (folder / "table.md").write_text(TABLE.format("What distillation costs"))
    text = page(track(), tables)
    assert "- [What distillation costs](#what-distillation-costs)" in text
    assert text.endswith(
        "## What distillation costs"
        + TABLE.format("").removeprefix("# ").rstrip()
        + "\n\n![What distillation costs](cost/figure.png)\n"
    )


def test_a_table_becomes_a_page_of_its_own():
    text = html(TABLE.format("Title & more"))
    assert "<h1>Title &amp; more</h1>" in text
    assert ">x</td>" in text
    assert "&lt;1</td>" in text
    assert "http" not in text, "self-contained"


def test_another_track_has_another_page(tables):
    other = track()
    other = replace(other, content=other.content | {"name": "other", "title": "Others"})
    assert page(other, tables).startswith("# Results on the track other: Others\n")
