"""Rehearsals as jobs of the pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from icd.experiments.ablation import Ablation, load_ablation
from icd.experiments.kind import kinds
from icd.experiments.rehearsals import file_of, read_rehearsed
from icd.experiments.track import Track, load_track
from tests.workflow.toy import jobs, snakemake, toy_track

pytestmark = pytest.mark.slow


def project(folder: Path, **changes: object) -> tuple[str, Track, Ablation]:
    """The toy track in a folder: its file, and its main table."""
    file = folder / "toy.yaml"
    file.write_text(yaml.safe_dump(toy_track() | changes, sort_keys=False))
    track = load_track(str(file), data_root=folder)
    return str(file), track, load_ablation("main", track)


def test_a_table_has_one_job_for_each_kind_of_run(tmp_path: Path) -> None:
    file, _, main = project(tmp_path)
    printed = snakemake(tmp_path, "-n", "rehearse_main", "--config", f"track={file}")
    expected = {f"Rehearse {kind.id}" for kind in kinds(main.runs)}
    assert len(expected) < len(main.runs)
    assert jobs(printed) == expected | {
        "Generate the split train of toy",
        "Generate the split test of toy",
        "Write the table of the rehearsals of main",
    }


def test_random_images_need_no_data(tmp_path: Path) -> None:
    config = ("--config", "track=coco", f"coco={tmp_path}/nowhere")
    snakemake(tmp_path, "-n", "rehearse_main", *config, fails=True)
    printed = snakemake(tmp_path, "-n", "rehearse_main", *config, "random=true")
    assert "Write the table of the rehearsals of main" in jobs(printed)


def test_a_kind_that_fails_is_a_result(tmp_path: Path) -> None:
    teacher = {"config": "nowhere.py", "checkpoint": "nowhere.pth"}
    roles = toy_track()["roles"] | {"teacher": teacher}
    file, track, main = project(tmp_path, roles=roles)
    kind = kinds([main.row("icd").runs[0]])[0]
    result = file_of(track, kind.id)
    snakemake(tmp_path, str(result), "--cores", "1", "--config", f"track={file}", "random=true")
    (outcome,) = read_rehearsed(tmp_path / result).values()
    assert "nowhere.py: does not exist" in str(outcome.failure)
