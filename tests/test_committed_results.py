"""Committed tables and figures match their raw numbers, and the README matches the tables."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from snakemake.cli import get_argument_parser, parse_config

from icd.cost.cases import method_costs
from icd.experiments.ablation import ablation_names, load_ablation
from icd.experiments.run import VERSION
from icd.experiments.sources import known_inputs, require_same_weights, sharing
from icd.experiments.track import load_track
from icd.experiments.yaml_files import ROOT
from icd.figures.catalogue import captions
from icd.files import sha256
from icd.report.earlier import as_planned
from icd.report.existing import existing
from icd.report.notes import EARLIER
from icd.report.page import heading_anchor, page
from icd.report.results import DONE, read_results
from icd.report.tables import write_tables

README = (ROOT / "README.md").read_text()
GUIDES = sorted((ROOT / "docs").glob("*.md"))
REFERENCE = sorted((ROOT / "docs/reference").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES, *REFERENCE]
RESULTS = ROOT / "results"
MINI = RESULTS / "mini"
TRACKS = ("mini", "desk")  # of which results are committed
TABLES = {
    track: [name for name in ablation_names() if (RESULTS / track / name).exists()]
    for track in TRACKS
}
COMMITTED = [(track, name) for track, names in TABLES.items() for name in names]


def table_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize(("track_name", "name"), COMMITTED)
def test_tables_are_rendered_from_the_raw_numbers(
    track_name: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    track = load_track(track_name)
    ablation = load_ablation(name, track)
    costs = method_costs(track) if ablation.costs else {}
    folder = RESULTS / track_name / name
    write_tables(ablation, read_results(folder), tmp_path, costs)
    for kind in ("md", "html", "csv", "tex"):
        committed = folder / f"table.{kind}"
        assert rounded((tmp_path / committed.name).read_text()) == rounded(committed.read_text())


def rounded(text: str) -> str:
    """A text whose numbers have ten digits: the last ones depend on the processor."""
    return re.sub(r"\d+\.\d{8,}(?:e-?\d+)?", lambda match: f"{float(match[0]):.10g}", text)


@pytest.mark.parametrize(("track", "name"), COMMITTED)
def test_every_number_has_its_provenance(track: str, name: str) -> None:
    """The runs of today, or those of an earlier version, which the table then says."""
    folder = RESULTS / track / name
    results, ablation = read_results(folder), load_ablation(name, load_track(track))
    lines = results.records
    found = as_planned(ablation, results)
    assert set(found.records.run.dropna()) <= {run.id for run in ablation.runs}
    assert found.earlier == (EARLIER in (folder / "table.md").read_text())
    for run in set(lines.run[lines.status == DONE]):
        manifest = json.loads((RESULTS / track / "manifests" / f"{run}.json").read_text())
        assert manifest["run"] == run
        assert re.fullmatch("[0-9a-f]{40}", manifest["git"]["commit"])
        assert manifest["seconds"] > 0


def test_manifests_are_short_enough_to_read() -> None:
    for file in RESULTS.glob("*/manifests/*.json"):
        text = file.read_text()
        assert len(text.splitlines()) <= 70, file
        assert "config" not in json.loads(text), "the resolved config stays beside the run"


@pytest.mark.parametrize(("track", "name"), COMMITTED)
def test_runs_of_a_table_have_come_from_the_same_weights(track: str, name: str) -> None:
    lines = read_results(RESULTS / track / name).records
    known = known_inputs(RESULTS / track / "manifests", lines.run[lines.status == DONE])
    assert known
    require_same_weights(known)


@pytest.mark.parametrize("track", TRACKS)
def test_a_new_run_can_be_trained_beside_the_committed_ones(track: str) -> None:
    known = known_inputs(RESULTS / track / "manifests")
    for run, _ in known.values():
        require_same_weights(sharing(run, known))


@pytest.mark.parametrize("track", TRACKS)
def test_kept_weights_are_those_of_the_committed_runs(track: str) -> None:
    for folder in (RESULTS / track / "weights").glob("*"):
        manifest = json.loads((folder / "manifest.json").read_text())
        committed = RESULTS / track / "manifests" / f"{folder.name}.json"
        assert manifest == json.loads(committed.read_text())
        for name, digits in manifest["outputs"].items():
            assert sha256(folder / name) == digits, f"{folder.name}/{name}"


@pytest.mark.parametrize("track", TRACKS)
def test_all_results_come_from_one_version_and_one_kind_of_processor(track: str) -> None:
    files = (RESULTS / track / "manifests").glob("*.json")
    manifests = [json.loads(file.read_text()) for file in files]
    assert {one["description"]["version"] for one in manifests} == {VERSION}
    hardware = [one["hardware"] for one in manifests]
    assert len({one["processor"] for one in hardware}) == 1
    assert len({one["simd"] for one in hardware if "simd" in one}) <= 1  # older ones do not say
    assert len({json.dumps(one["versions"]) for one in manifests}) == 1
    assert not any(session["git"]["modified"] for one in manifests for session in one["sessions"])


def test_the_main_table_is_complete() -> None:
    ablation = load_ablation("main", load_track("mini"))
    runs = {run.id for row in ablation.rows for run in row.runs}
    lines = as_planned(ablation, read_results(MINI / "main")).records
    assert set(lines.run) == runs
    assert set(lines.status) == {DONE}


@pytest.mark.parametrize("track", TRACKS)
def test_no_provenance_is_left_of_runs_that_stand_in_no_table(track: str) -> None:
    lines = pd.concat(read_results(RESULTS / track / name).records for name in TABLES[track])
    found = {run.id: run for run, _ in known_inputs(RESULTS / track / "manifests").values()}
    sources = {
        source.id for name, run in found.items() if name in set(lines.run) for source in run.sources
    }
    assert found.keys() <= {*lines.run} | sources


def test_the_track_has_the_weights_that_tuning_found_best() -> None:
    lines = read_results(MINI / "tuning").records
    best = lines[lines.metric == "AP"].set_index("run").groupby("method").value.idxmax()
    rivals = {"fitnet", "cwd", "pkd", "mgd", "fgd", "crosskd", "bckd", "ld"}
    assert {"icd"} | rivals <= set(best.index)
    track, known = load_track("mini"), known_inputs(MINI / "manifests")
    for method, name in best.items():
        run, _ = known[name]
        detector = run.description["detector"]["name"]
        today = track.describe({"detector": detector, "method": method}, 0)
        found, chosen = (one.description.get("method", {}) for one in (run, today))
        assert found.get("options") == chosen.get("options"), method


@pytest.mark.parametrize("track_name", TRACKS)
def test_the_page_shows_what_is_there(track_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    track = load_track(track_name)
    ablations = [load_ablation(name, track) for name in ablation_names(track)]
    expected = page(track, existing(track, ablations), captions(track, ablations))
    assert (RESULTS / track_name / "README.md").read_text() == expected


def test_the_readme_shows_the_main_table() -> None:
    lines = table_lines((MINI / "main/table.md").read_text())
    assert "\n".join(lines) in README


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_what_a_page_points_to_is_there(file: Path) -> None:
    text = file.read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = file.parent / path if path else file
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
            assert anchor in [heading_anchor(heading) for heading in headings], link
    paths = re.findall(r"`((?:icd|workflow|ablations|tests|results|profiles)/[\w./-]*)`", text)
    for path in paths:
        assert Path(ROOT, path).exists(), path
    assert links or paths


def snakemake_commands() -> list[str]:
    blocks = [
        block for file in PAGES for block in re.findall(r"```sh\n(.*?)```", file.read_text(), re.S)
    ]
    lines = [line for block in blocks for line in block.splitlines()]
    return sorted({line for line in lines if line.startswith("snakemake")})


@pytest.mark.parametrize("command", snakemake_commands())
def test_the_commands_of_pages_are_ones_that_snakemake_understands(command: str) -> None:
    arguments = shlex.split(command, comments=True)[1:]
    parse_config(get_argument_parser().parse_args(arguments).config)


def test_every_guide_is_linked_from_the_readme() -> None:
    for file in GUIDES:
        assert f"(docs/{file.name})" in README
    assert "(CONTRIBUTING.md)" in README


def test_every_page_of_the_reference_is_linked_from_a_guide() -> None:
    guides = "".join(file.read_text() for file in GUIDES)
    for file in REFERENCE:
        assert f"(reference/{file.name})" in guides


def test_the_readme_can_be_read_in_one_go() -> None:
    assert len(README.splitlines()) <= 150
