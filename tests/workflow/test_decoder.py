"""The pipeline with a decoder that is trained before its students, at toy scale."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from icd.experiments.ablation import load_ablation
from icd.experiments.run import DecoderRun, TrainedRun
from icd.experiments.track import load_track
from icd.files import sha256
from tests.workflow.toy import jobs, snakemake, toy_track

pytestmark = pytest.mark.slow


def test_students_wait_for_the_decoder_that_they_share(tmp_path: Path) -> None:
    content = toy_track()
    del content["roles"]["student"]["pretrained"]  # it takes time, and decides nothing here
    content["methods"]["icd"]["decoder"] = {"warm": 2, "optimizer": {"lr": 1.0e-3}}
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    main = load_ablation("main", load_track(str(file)))
    students = [row.runs[0] for row in main.rows if row.id in ("icd", "icd_inherit")]
    assert all(isinstance(run, TrainedRun) for run in students)
    (decoder,) = {run.decoder.id: run.decoder for run in students}.values()  # type: ignore[union-attr]
    assert isinstance(decoder, DecoderRun)
    options = ("--cores", "2", "--config", f"track={file}")
    targets = [f"{run.folder}/method.pth" for run in students]

    order = re.findall(r"^Job \d+: (.+)$", snakemake(tmp_path, *targets, *options), re.M)
    assert order.count(f"Train {decoder.id}") == 1
    first = order.index(f"Train {decoder.id}")
    assert order.index(f"Evaluate {decoder.teacher.id}") < first
    for run in students:
        assert first < order.index(f"Train {run.id}")
        manifest = json.loads((tmp_path / run.manifest).read_text())
        assert manifest["inputs"]["decoder"] == sha256(tmp_path / decoder.weights)
    assert not any("Evaluate" in job and decoder.id in job for job in order)
    record = json.loads((tmp_path / decoder.manifest).read_text())
    assert record["diagnosis"] == json.loads(
        (tmp_path / decoder.folder / "decoder.json").read_text()
    )
    assert "Nothing to be done" in snakemake(tmp_path, *targets, *options)

    force = ("--dry-run", "--forcerun", "train_decoder")
    refused = snakemake(tmp_path, *targets, *force, *options, fails=True)
    assert re.search(f"error: {decoder.folder}: is finished", refused)
    (tmp_path / decoder.weights).unlink()
    restored = snakemake(tmp_path, str(decoder.weights), *options)
    assert jobs(restored) == {f"Train {decoder.id}"}
    assert sha256(tmp_path / decoder.weights) == record["outputs"]["decoder.pth"]
