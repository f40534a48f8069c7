"""Raw numbers: collected from the runs and read back."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icd.data.contents import CHANGED
from icd.errors import InputError
from icd.experiments.ablation import Ablation
from icd.experiments.data_versions import Version
from icd.files import write_json
from icd.report.results import read_results, states, tabulated, write_results
from icd.report.summary import METRICS, summarise
from icd.report.tables import markdown
from tests.experiments.track_files import track
from tests.report.small_table import ROWS, SEEDS, collected, place

TEST_FILE = track().annotations("test").name


def test_the_csv_holds_every_number_unrounded(ablation, content, results):
    with Path("out/results.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(ROWS) * len(SEEDS) * (len(METRICS) + 1)
    for line in lines:
        expected = content[line["run"]]["metrics"]["bbox"][line["metric"]]
        assert line["value"] == ("" if expected is None else repr(expected))
        assert line["status"] == "done"


def test_a_line_of_the_csv_describes_its_run(ablation, results):
    lines = results.records
    assert list(lines.columns[:2]) == ["row", "run"]
    assert list(lines.columns[-9:]) == [
        *("split", "annotations", "annotations_sha256", "contents_sha256", "trained_on_sha256"),
        *("status", "iou_type", "metric", "value"),
    ]
    icd = lines[lines.row == "icd"]
    assert icd.seed.unique().tolist() == SEEDS
    assert set(icd.method) == {"icd"}
    runs = {run.id: run for run in ablation.runs}
    for line in icd.itertuples():
        assert line.teacher == runs[line.run].teacher.id
    assert not lines.duplicated(["row", "seed", "iou_type", "metric"]).any()
    assert lines.row.unique().tolist() == list(ROWS)


def test_tables_give_back_the_metrics_of_their_runs(content, results):
    found = tabulated(Path(), "test", TEST_FILE)
    assert found.keys() == content.keys()
    for run, expected in content.items():
        assert found[run]["metrics"] == expected["metrics"]
        assert found[run]["bootstrap"]["bbox"] == pytest.approx(
            expected["bootstrap"]["bbox"], abs=1e-6
        )
    assert tabulated(Path(), "tune", TEST_FILE) == {}
    assert tabulated(Path(), "test", "another.json") == {}, "numbers of another test set"


def test_what_a_table_shows_need_not_be_trained_again(ablation, content, results):
    for run in ablation.runs:
        shutil.rmtree(run.folder)
    write_results(ablation, Path("again"), tabulated(Path(), "test", TEST_FILE))
    for name in ("results.csv", "bootstrap.csv"):
        assert Path("again", name).read_bytes() == Path("out", name).read_bytes()
    write_results(ablation, Path("anew"))
    assert set(read_results(Path("anew")).records.status) == {"not run"}


def test_a_run_that_was_trained_here_counts_more_than_its_line_in_a_table(
    ablation, content, results
):
    run = ablation.row("icd").runs[0]
    run.metrics().write_text(json.dumps({"metrics": {"bbox": {"AP": 0.75}}}))
    write_results(ablation, Path("again"), tabulated(Path(), "test", TEST_FILE))
    values = read_results(Path("again")).values(ablation.row("icd"), "AP", "bbox")
    assert values[0] == 75


def test_a_table_of_runs_from_other_weights_is_refused(ablation, content, results):
    before = Path("out/results.csv").read_bytes()
    icd, inherit = (ablation.row(name).runs[0] for name in ("icd", "inherit"))
    assert icd.teacher == inherit.teacher
    for run in (icd, inherit):
        manifest = {"description": run.description, "inputs": {"teacher": f"for {run.id}"}}
        write_json(Path(f"manifests/{run.id}.json"), manifest)
    with pytest.raises(InputError, match=rf"inputs\.teacher: is .*{icd.teacher.id}"):
        write_results(ablation, Path("out"))
    assert Path("out/results.csv").read_bytes() == before


def describe_inputs(ablation: Ablation, content: dict[str, Any], digits: str = "train") -> None:
    """Leave manifests of runs on the same annotations, and state those they were measured on."""
    for run in ablation.measured:
        inputs = dict.fromkeys(("annotations", "contents"), digits)
        manifest = {"description": run.description, "inputs": inputs}
        write_json(Path(f"manifests/{run.id}.json"), manifest)
        hashes = ("annotations_sha256", "images_sha256", "contents_sha256")
        content[run.id] |= dict.fromkeys(hashes, "test")


def test_the_csv_says_on_which_annotations_a_run_was_trained_and_measured(ablation, content):
    describe_inputs(ablation, content)
    lines = collected(ablation, content).records
    assert set(lines.trained_on_sha256) == {"train"}
    assert set(lines.annotations_sha256) == set(lines.contents_sha256) == {"test"}


@pytest.mark.parametrize(
    "of", ["annotations_sha256", "images_sha256", "contents_sha256", "annotations", "contents"]
)
def test_a_table_of_runs_on_different_data_is_refused(ablation, content, of):
    describe_inputs(ablation, content)
    *_, other = ablation.measured
    if of.endswith("sha256"):
        content[other.id][of] = "another"
    else:
        file = Path(f"manifests/{other.id}.json")
        known = json.loads(file.read_text())
        write_json(file, known | {"inputs": known["inputs"] | {of: "another"}})
    with pytest.raises(InputError, match=rf"{other.id}.* another\.\.\., but .*(test|train)\.\.\."):
        collected(ablation, content)
    assert not Path("out/results.csv").exists()


def test_reuse_takes_no_numbers_on_another_version_of_the_data(ablation, content):
    describe_inputs(ablation, content)
    collected(ablation, content)
    for contents in ("test", CHANGED, None):
        present = Version("test", contents)
        assert tabulated(Path(), "test", TEST_FILE, present).keys() == content.keys()
    for present in (Version("another"), Version("another", "test"), Version("test", "another")):
        assert tabulated(Path(), "test", TEST_FILE, present) == {}


def test_reuse_takes_numbers_of_tables_that_record_no_annotations(ablation, content, results):
    present = Version("test", "test")
    assert tabulated(Path(), "test", TEST_FILE, present).keys() == content.keys()
    older = results.records.drop(columns=["contents_sha256"])
    for columns in ([], ["annotations_sha256", "trained_on_sha256"]):
        older.drop(columns=columns).to_csv("out/results.csv", index=False)
        assert tabulated(Path(), "test", TEST_FILE, present).keys() == content.keys()


def test_a_table_of_another_split_reads_the_metrics_there(ablation, content):
    tuned = replace(ablation, split="tune")
    for run in tuned.measured:
        run.folder.mkdir(parents=True)
        run.metrics("tune").write_text(json.dumps(content[run.id]))
    write_results(tuned, Path("out"))
    results = read_results(Path("out"))
    assert set(results.records.status) == {"done"}
    assert set(results.records.split) == {"tune"}
    assert "on the tune split" in markdown(summarise(tuned, results))
    write_results(ablation, Path("out"))
    assert set(read_results(Path("out")).records.status) == {"not run"}


def test_replicates_are_a_line_per_run(ablation, content, results):
    with Path("out/bootstrap.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert [(line["row"], line["seed"]) for line in lines] == [
        (name, str(seed)) for name in ROWS for seed in SEEDS
    ]
    for line in lines:
        expected = content[line["run"]]["bootstrap"]["bbox"]
        found = [float(line[str(i)]) for i in range(len(expected))]
        assert found == pytest.approx(expected, abs=1e-6)


def test_values_are_percent_by_seed(ablation, content, results):
    for line in ablation.rows:
        expected = {run.seed: 100 * content[run.id]["metrics"]["bbox"]["AP50"] for run in line.runs}
        assert results.values(line, "AP50", "bbox") == pytest.approx(expected)
        assert results.values(line, "AP50", "segm") == {}
        assert results.values(line, "APl", "bbox") == {}


def test_missing_runs_have_a_line_without_a_value(broken):
    _, results = broken
    lines = results.records[results.records.status != "done"]
    assert lines.value.isna().all()
    assert set(lines.metric) == {"AP"}
    found = {(line.row, line.status): line.run for line in lines.itertuples() if line.row != "icd"}
    assert found.keys() == {
        ("teacher", "failed: ValueError: x"),
        ("inherit", "failed: RuntimeError: no memory"),
        ("inherit", "not run: its teacher failed"),
        ("zoo", "absent: needs COCO"),
    }
    assert (lines.row == "icd").sum() == 3


def test_states_are_counted(broken):
    ablation, _ = broken
    assert states(ablation) == {"done": 6, "failed": 2, "not run": 4}


def test_a_failure_outweighs_the_metrics_of_an_earlier_attempt(ablation, content):
    place(ablation, content)
    run = ablation.row("icd").runs[0]
    (run.folder / "failed.json").write_text('{"error": "OSError: disk"}')
    write_results(ablation, Path("out"))
    results = read_results(Path("out"))
    assert results.status(run) == "failed: OSError: disk"
    assert len(results.values(ablation.row("icd"), "AP", "bbox")) == 2
