"""The plan of runs, time and disk before anything is run."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from icd.__main__ import main as cli
from icd.errors import InputError
from icd.experiments.ablation import Ablation, load_ablation
from icd.experiments.kind import rehearsal_of
from icd.experiments.plan import measure, plan_text
from icd.experiments.rehearsals import file_of
from icd.experiments.run import Run, TrainedRun
from icd.process.partitions import Nodes
from tests.experiments.track_files import MINI, changed, track

ONE_SEED = changed(MINI, "seeds", [0])


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Ablation]:
    monkeypatch.chdir(tmp_path)
    return [load_ablation(name, track(ONE_SEED)) for name in ("main", "heads")]


def finish(run: Run, seconds: float, megabytes: int = 3) -> None:
    """Leave what a finished run leaves."""
    run.folder.mkdir(parents=True)
    (run.folder / "model.pth").write_bytes(bytes(megabytes * 1_000_000))
    (run.folder / "metrics.json").touch()
    manifests = track().results / "manifests"
    manifests.mkdir(exist_ok=True)
    content = {"description": run.description, "seconds": seconds}
    (manifests / f"{run.id}.json").write_text(json.dumps(content))


def lines(text: str) -> dict[str, list[str]]:
    """Cells of the plan's table by its first column."""
    rows = (line.strip("|").split("|") for line in text.splitlines() if line.startswith("| "))
    return {name.strip(): [cell.strip() for cell in rest] for name, *rest in rows}


def test_runs_are_counted_once_and_shared_ones_named(tables):
    found = lines(plan_text(track(ONE_SEED), tables))
    main, heads = ({run.id for run in table.runs} for table in tables)
    shared = str(len(main & heads))
    assert found["main"][:4] == ["6", "0", "6", shared]
    assert found["heads"][:4] == ["7", "0", "7", shared]
    assert found["all, each run once"][:4] == [str(len(main | heads)), "0", "9", shared]
    assert shared == "4"  # teacher, pre-training, student, ICD


def test_nothing_is_known_of_runs_that_were_never_measured(tables):
    text = plan_text(track(ONE_SEED), tables)
    assert "The training time is unknown" in text
    assert lines(text)["main"][4] == "?"
    assert "GB" not in text
    assert "The disk space is unknown until one of these runs is done here." in text


def test_a_track_may_state_what_was_not_measured(tables):
    stated = track(changed(ONE_SEED, "machine.seconds_per_iteration", 3.0))
    main, heads = tables
    iterations = sum(run.iterations for run in main.runs)
    text = plan_text(stated, [main])
    assert lines(text)["main"][4] == f"{iterations * 3 / 3600:.1f}"
    assert "hours, one run after another; this assumes 3 seconds per iteration, as stated" in text
    finish(main.row("icd").runs[0], seconds=360.0)  # 0.72 seconds an iteration
    text = plan_text(stated, [heads])
    rest = sum(run.iterations for run in heads.runs if not run.distils)
    assert lines(text)["heads"][4] == f"{(3 * 360 + rest * 3) / 3600:.1f}"
    assert "for 3 runs this assumes 3 seconds per iteration" in text


def rehearse(run: Run, **values: object) -> None:
    """Leave what a rehearsal of a run's kind leaves."""
    assert isinstance(run, TrainedRun)
    file = file_of(track(), rehearsal_of(run).id)
    file.parent.mkdir(parents=True, exist_ok=True)
    one = {"machine": "NVIDIA X", "gpus": 0, "data": "random", "log": "", "host_mib": 2000.0}
    file.write_text(json.dumps({"NVIDIA X": one | values}))


def test_a_rehearsal_replaces_what_a_track_states(tables):
    main, _ = tables
    stated = track(changed(ONE_SEED, "machine.seconds_per_iteration", 3.0))
    icd = main.row("icd").runs[0]
    rehearse(icd, seconds_per_iteration=0.5)
    text = plan_text(stated, [main])
    rest = sum(run.iterations for run in main.runs) - icd.iterations
    assert lines(text)["main"][4] == f"{(rest * 3 + icd.iterations * 0.5) / 3600:.1f}"
    assert "for 5 runs this assumes 3 seconds per iteration" in text
    assert "Measured by rehearsal on NVIDIA X: 1 of these runs." in text
    label = "retinanet, resnet18-w8, icd, teacher retinanet resnet18-w16, 8 images of 96 x 96"
    measured = ["1", "0:27", "2622", "0", "measured by rehearsal on NVIDIA X"]
    assert lines(text)[f"{label}, float32"] == measured
    # Pre-training and students of as many iterations request the same.
    assert lines(text)["3 kinds"] == ["3", "0:58", "4000", "0", "assumed, not measured"]


def test_a_finished_run_counts_more_than_a_rehearsal(tables):
    main, _ = tables
    icd = main.row("icd").runs[0]
    rehearse(icd, seconds_per_iteration=0.5)
    finish(main.row("icd_inherit").runs[0], seconds=6000.0)  # the same detector and method
    model = measure(track(ONE_SEED))
    assert model.per_iteration(icd) == 6000.0 / icd.iterations


def test_the_command_warns_of_what_the_cluster_does_not_allow(tables, monkeypatch, capsys):
    monkeypatch.setattr("icd.process.partitions.all_nodes", lambda: [Nodes("gpu", 30, 64000, 8)])
    assert cli(["plan", "main", "--track", "coco"]) == 0
    printed = capsys.readouterr().out
    assert "Warning: retinanet, resnet101, 16 images of 1333 x 800, " in printed
    assert ": needs 169:05, but gpu allows 0:30; the run is stopped at the limit" in printed
    assert cli(["plan", "main", "--track", "coco", "--partition", "cpu"]) == 0
    assert "Warning: sinfo knows no partition 'cpu'; it lists gpu." in capsys.readouterr().out


def test_a_manifest_that_is_cut_off_is_named(tables):
    main, _ = tables
    run = main.runs[0]
    finish(run, seconds=1.0)
    os.truncate(track().results / f"manifests/{run.id}.json", 40)
    with pytest.raises(
        InputError, match=rf"manifests/{re.escape(run.id)}\.json: is not valid JSON"
    ):
        plan_text(track(ONE_SEED), [main])


def test_a_table_alone_tells_which_others_share_its_runs(tables):
    main, heads = tables
    text = plan_text(track(ONE_SEED), [main], [heads])
    assert lines(text)["main"][3] == "4"
    assert "Other tables with some of these runs: heads (4)." in text
    assert "Other tables" not in plan_text(track(ONE_SEED), tables)


def test_finished_runs_tell_how_long_others_take(tables):
    main, _ = tables
    icd = next(row for row in main.rows if row.id == "icd").runs[0]
    finish(icd, seconds=360.0)
    text = plan_text(track(ONE_SEED), tables)
    found = lines(text)
    assert found["main"][1:3] == ["1", "5"]
    assert found["heads"][1:3] == ["1", "6"]
    # The other with inheriting in main, three with other heads: as many iterations each.
    assert (found["main"][4], found["heads"][4]) == ("0.1+", "0.3+")
    assert "about 0.4 hours" in text
    assert "plus the time of 4 runs of kinds that were not measured yet" in text
    assert "about 0.0 GB of disk, not counting 4 runs of other kinds" in text
    assert measure(track(ONE_SEED)).megabytes == {
        ("retinanet", "resnet18-w8", "icd"): pytest.approx(3.0)
    }


def test_nothing_left_needs_no_time(tables):
    for run in tables[0].runs:
        finish(run, seconds=1.0)
    text = plan_text(track(ONE_SEED), tables[:1])
    assert "0 runs to do, 6 done." in text
    assert "hours," not in text
    assert "all, each" not in text


def test_rows_that_the_track_cannot_have_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = plan_text(track(), [load_ablation("backbones", track())])
    assert "backbones: EfficientNet-B0, student: " in text
