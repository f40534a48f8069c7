"""The track of `make smoke` is valid. Only `make smoke` itself runs the pipeline on it."""

from __future__ import annotations

from icd.experiments.ablation import load_ablation
from icd.experiments.track import load_track
from icd.experiments.yaml_files import ROOT

FILE = "tests/workflow/smoke.yaml"


def test_the_smoke_track_has_every_row_of_the_main_table() -> None:
    track = load_track(str(ROOT / FILE))
    ablation = load_ablation("main", track)
    assert all(len(row.runs) == 1 for row in ablation.rows)
    assert {run.summary["method"] for run in ablation.runs} == {"none", "icd"}
    roles = {role for run in ablation.runs for role in run.sources_by_role}
    assert roles == {"pretrained", "teacher"}


def test_its_runs_are_short_but_leave_a_line_in_their_logs() -> None:
    """The curves are drawn from losses that are logged every 50 iterations."""
    iterations = [
        run.iterations for run in load_ablation("main", load_track(str(ROOT / FILE))).runs
    ]
    assert max(iterations) == 50


def test_make_smoke_uses_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert f"SMOKE := {FILE}\n" in makefile
    assert "/snakemake main figures page --config track=$(SMOKE)\n" in makefile
    assert "/results/smoke/\n" in (ROOT / ".gitignore").read_text()
