"""What is in the repository: rendered from the raw numbers beside it and shown in the README."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from icd.suite.ablation import ablation_names, load_ablation
from icd.suite.page import page
from icd.suite.results import DONE, read_results
from icd.suite.schema import ROOT
from icd.suite.tables import write_tables
from icd.suite.track import load_track

README = (ROOT / "README.md").read_text()
MINI = ROOT / "results/mini"
COMMITTED = [name for name in ablation_names() if (MINI / name).exists()]


def table_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("name", COMMITTED)
def test_tables_are_rendered_from_the_raw_numbers(name: str, tmp_path: Path) -> None:
    ablation = load_ablation(name, load_track("mini"))
    write_tables(ablation, read_results(MINI / name), tmp_path)
    for kind in ("md", "html", "csv", "tex"):
        committed = MINI / name / f"table.{kind}"
        assert (tmp_path / committed.name).read_text() == committed.read_text()


@pytest.mark.parametrize("name", COMMITTED)
def test_every_number_has_its_provenance(name: str) -> None:
    lines = read_results(MINI / name).lines
    assert set(lines.run.dropna()) <= {
        run.id for run in load_ablation(name, load_track("mini")).runs
    }
    for run in set(lines.run[lines.status == DONE]):
        manifest = json.loads((MINI / "manifests" / f"{run}.json").read_text())
        assert manifest["run"] == run
        assert re.fullmatch("[0-9a-f]{40}", manifest["git"]["commit"])
        assert manifest["seconds"] > 0


def test_the_main_table_is_complete() -> None:
    rows = load_ablation("main", load_track("mini")).rows
    runs = {run.id for row in rows for run in row.runs}
    lines = read_results(MINI / "main").lines
    assert set(lines.run) == runs
    assert set(lines.status) == {DONE}


def test_no_provenance_is_left_of_runs_that_stand_in_no_table() -> None:
    known = {
        run.id for name in ablation_names() for run in load_ablation(name, load_track("mini")).runs
    }
    assert {path.stem for path in (MINI / "manifests").glob("*.json")} <= known


def test_the_page_shows_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    track = load_track("mini")
    expected = page(track, [load_ablation(name, track) for name in ablation_names()])
    assert (MINI / "README.md").read_text() == expected


def test_the_readme_shows_the_main_table() -> None:
    lines = table_lines((MINI / "main/table.md").read_text())
    assert "\n".join(lines) in README


def test_what_the_readme_points_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
    for path in re.findall(
        r"`((?:icd|workflow|ablations|tests|results|profiles)/[\w./-]*)`", README
    ):
        assert Path(ROOT, path).exists(), path
