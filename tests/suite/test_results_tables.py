"""From metrics to raw numbers, tables and figures."""

from __future__ import annotations

import csv
import json
import re
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from track_files import MINI, changed, track, write

from icd.suite.ablation import Ablation, Row, read_ablation
from icd.suite.figures import write_figures
from icd.suite.latex import compact, escape
from icd.suite.notes import sources
from icd.suite.results import Results, read_results, states, tabulated, write_results
from icd.suite.statistics import Estimate
from icd.suite.summary import METRICS, summarise
from icd.suite.tables import aligned, latex, markdown, numbers, signed, spread, write_tables

ROWS = {
    "teacher": ("Teacher", {"role": "teacher"}, 40.4),
    "student": ("Student", {}, 37.4),
    "inherit": ("Student + inheriting", {"inherit": True}, None),
    "icd": ("ICD", {"method": "icd"}, 39.9),
}
CONTENT = {
    "title": "A title",
    "question": "A question?",
    "notes": "Some notes.",
    "baseline": "student",
    "rows": [
        {"id": name, "label": label, "change": change}
        | ({"published": {"AP": value, "source": f"source of {name}"}} if value else {})
        for name, (label, change, value) in ROWS.items()
    ],
}
SEEDS = [0, 1, 2]
LEVELS = {"teacher": 0.5, "student": 0.1, "inherit": 0.15, "icd": 0.3}
GAIN = "gain over Student [95 %]"


@pytest.fixture
def ablation(tmp_path, monkeypatch) -> Ablation:
    monkeypatch.chdir(tmp_path)
    return read_ablation(
        write(tmp_path / "table.yaml", CONTENT), track(changed(MINI, "seeds", SEEDS))
    )


@pytest.fixture
def content(ablation) -> dict[str, dict]:
    """Metrics of every run, with all their digits; large objects are missing."""
    random, found = np.random.default_rng(0), {}
    images = random.normal(0, 0.02, 50)
    for row in ablation.rows:
        for run in row.runs:
            metrics = {name: float(random.random()) for name in (*METRICS, "AR1")}
            metrics |= {"APl": None, "AP": LEVELS[row.id] + float(random.normal(0, 0.01))}
            bootstrap = metrics["AP"] + images + random.normal(0, 0.005, 50)
            found[run.id] = {
                "metrics": {"bbox": metrics},
                "bootstrap": {"bbox": bootstrap.tolist()},
                "seconds": 1.0,
            }
    return found


def place(ablation: Ablation, content: dict[str, dict]) -> None:
    """Leave these metrics where the pipeline does."""
    for run in ablation.runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        if run.id in content:
            (run.folder / "metrics.json").write_text(json.dumps(content[run.id]))


def collected(ablation: Ablation, content: dict[str, dict]) -> Results:
    """What is read back from the CSV files."""
    place(ablation, content)
    write_results(ablation, Path("out"))
    return read_results(Path("out"))


@pytest.fixture
def results(ablation, content) -> Results:
    return collected(ablation, content)


def shown(ablation: Ablation, results: Results) -> dict[str, dict[str, str]]:
    """Cells of the Markdown table by label and column."""
    text = markdown(summarise(ablation, results))
    lines = [line for line in text.splitlines() if line.startswith("|") and "--" not in line]
    header, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0]: dict(zip(header, row, strict=True)) for row in body}


def row(ablation: Ablation, name: str) -> Row:
    return ablation.row(name)


def test_the_csv_holds_every_number_unrounded(ablation, content, results):
    with Path("out/results.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(ROWS) * len(SEEDS) * (len(METRICS) + 1)
    for line in lines:
        expected = content[line["run"]]["metrics"]["bbox"][line["metric"]]
        assert line["value"] == ("" if expected is None else repr(expected))
        assert line["status"] == "done"


def test_a_line_of_the_csv_describes_its_run(ablation, results):
    lines = results.lines
    assert list(lines.columns[:2]) == ["row", "run"]
    assert list(lines.columns[-5:]) == ["split", "status", "kind", "metric", "value"]
    icd = lines[lines.row == "icd"]
    assert icd.seed.unique().tolist() == SEEDS
    assert set(icd.method) == {"icd"}
    runs = {run.id: run for run in ablation.runs}
    for line in icd.itertuples():
        assert line.teacher == runs[line.run].teacher.id
    assert not lines.duplicated(["row", "seed", "kind", "metric"]).any()
    assert lines.row.unique().tolist() == list(ROWS)


def test_tables_give_back_the_metrics_of_their_runs(content, results):
    found = tabulated(Path())
    assert found.keys() == content.keys()
    for run, expected in content.items():
        assert found[run]["metrics"] == expected["metrics"]
        assert found[run]["bootstrap"]["bbox"] == pytest.approx(
            expected["bootstrap"]["bbox"], abs=1e-6
        )
    assert tabulated(Path(), "tune") == {}


def test_what_a_table_shows_need_not_be_trained_again(ablation, content, results):
    for run in ablation.runs:
        shutil.rmtree(run.folder)
    write_results(ablation, Path("again"), tabulated(Path()))
    for name in ("results.csv", "bootstrap.csv"):
        assert Path("again", name).read_bytes() == Path("out", name).read_bytes()
    write_results(ablation, Path("anew"))
    assert set(read_results(Path("anew")).lines.status) == {"not run"}


def test_a_run_that_was_trained_here_counts_more_than_its_line_in_a_table(
    ablation, content, results
):
    run = row(ablation, "icd").runs[0]
    run.metrics().write_text(json.dumps({"metrics": {"bbox": {"AP": 0.75}}}))
    write_results(ablation, Path("again"), tabulated(Path()))
    values = read_results(Path("again")).values(row(ablation, "icd"), "AP", "bbox")
    assert values[0] == 75


def test_a_table_of_another_split_reads_the_metrics_there(ablation, content):
    tuned = replace(ablation, split="tune")
    for run in tuned.measured:
        run.folder.mkdir(parents=True)
        run.metrics("tune").write_text(json.dumps(content[run.id]))
    write_results(tuned, Path("out"))
    results = read_results(Path("out"))
    assert set(results.lines.status) == {"done"}
    assert set(results.lines.split) == {"tune"}
    assert "on the tune split" in markdown(summarise(tuned, results))
    write_results(ablation, Path("out"))
    assert set(read_results(Path("out")).lines.status) == {"not run"}


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


def test_a_teacher_from_elsewhere_leaves_the_seeds_whole_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"config": "their.py", "checkpoint": "their.pth"}
    found = read_ablation(
        write(tmp_path / "table.yaml", CONTENT), track(changed(MINI, "roles.teacher", files))
    )
    results = collected(found, {run.id: {"metrics": {"bbox": {"AP": 1.0}}} for run in found.runs})
    seeds = pd.read_csv("out/results.csv", dtype=str, keep_default_na=False).seed
    assert sorted(set(seeds)) == ["", *map(str, MINI["seeds"])]
    cells = shown(found, results)
    assert [line["AP"] for line in cells.values()] == ["100.0"] + ["100.0 ± 0.0"] * 3
    assert cells["Teacher"][GAIN].startswith("+0.0 [+0.0, +0.0]"), "it stands beside every seed"
    assert "taken as it is" in markdown(summarise(found, results))


def test_values_are_percent_by_seed(ablation, content, results):
    for line in ablation.rows:
        expected = {
            run.description["seed"]: 100 * content[run.id]["metrics"]["bbox"]["AP50"]
            for run in line.runs
        }
        assert results.values(line, "AP50", "bbox") == pytest.approx(expected)
        assert results.values(line, "AP50", "segm") == {}
        assert results.values(line, "APl", "bbox") == {}


def test_a_table_of_masks_leaves_out_what_has_none(ablation, content):
    for line in ablation.rows[1:]:
        for run in line.runs:
            metrics = content[run.id]["metrics"]
            metrics["segm"] = {"AP": metrics["bbox"]["AP"] / 2}
    results = collected(ablation, content)
    table = replace(ablation, kind="segm")
    expected = statistics.mean(
        50 * content[run.id]["metrics"]["bbox"]["AP"] for run in row(ablation, "icd").runs
    )
    cells = shown(table, results)
    assert cells["ICD"]["AP"].startswith(f"{expected:.1f} ±")
    assert {cells["Teacher"][name] for name in (*METRICS, GAIN)} == {"-"}
    assert "Mask AP in percent" in markdown(summarise(table, results))
    assert "Mask" not in markdown(summarise(ablation, results))
    write_figures(table, results, [Path("figure.svg")])
    assert "Mask AP" in Path("figure.svg").read_text()


def test_the_kind_is_read_from_the_file(tmp_path):
    content = CONTENT | {"kind": "segm"}
    assert read_ablation(write(tmp_path / "table.yaml", content), track(MINI)).kind == "segm"


def test_the_table_shows_means_spreads_and_gains(ablation, results):
    frame = results.lines[results.lines.kind == "bbox"]
    table = frame.pivot_table(index=["row", "seed"], columns="metric", values="value")
    means, spreads = (100 * getattr(table.groupby("row"), name)() for name in ("mean", "std"))
    cells = shown(ablation, results)
    assert list(cells) == [label for label, _, _ in ROWS.values()]
    for name, (label, _, paper) in ROWS.items():
        line = cells[label]
        for metric in METRICS[:-1]:
            assert line[metric] == f"{means[metric][name]:.1f} ± {spreads[metric][name]:.1f}"
        assert line["APl"] == "-", "no large object, so no number"
        assert line["seeds"] == "3"
        assert line["published AP"] == (f"{paper}" if paper else "-")
    gains = [line["published gain"] for line in cells.values()]
    assert gains == ["+3.0", "", "-", "+2.5"]
    assert cells["Student"][GAIN] == ""


def test_a_gain_is_paired_and_has_both_errors(ablation, content, results):
    pairs = list(zip(row(ablation, "icd").runs, row(ablation, "student").runs, strict=True))
    values, images = [], []
    for run, other in pairs:
        a, b = content[run.id], content[other.id]
        values.append(100 * (a["metrics"]["bbox"]["AP"] - b["metrics"]["bbox"]["AP"]))
        images.append(100 * np.subtract(a["bootstrap"]["bbox"], b["bootstrap"]["bbox"]))
    parts = [np.var(values, ddof=1) / 3, np.mean(images, axis=0).var(ddof=1)]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 49)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(sum(parts))
    mean = np.mean(values)
    expected = f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"
    assert shown(ablation, results)["ICD"][GAIN] == expected
    line = numbers(summarise(ablation, results)).set_index("row").loc["icd"]
    found = [line.gain, line.gain_low, line.gain_high]
    assert found == pytest.approx([mean, mean - half, mean + half], abs=1e-3)


def test_a_reference_has_a_column_of_its_own(ablation, results):
    cells = shown(replace(ablation, reference="icd"), results)
    name = "difference to ICD [95 %]"
    assert cells["ICD"][name] == ""
    assert cells["Student"][name].startswith("-")
    there, back = (cells[label][column] for label, column in (("Student", name), ("ICD", GAIN)))
    assert there.split()[0].lstrip("-") == back.split()[0].lstrip("+")


def test_a_row_may_have_a_reference_of_its_own(ablation, results):
    def rows(**references):
        return tuple(replace(row, reference=references.get(row.id)) for row in ablation.rows)

    cells = shown(replace(ablation, rows=rows(inherit="icd")), results)
    name = "difference to ICD [95 %]"
    assert [cells[label][name] != "" for label in ("Teacher", "Student", "ICD")] == [False] * 3
    one = replace(ablation, reference="icd")
    assert cells["Student + inheriting"][name] == shown(one, results)["Student + inheriting"][name]
    two = replace(ablation, rows=rows(inherit="icd", teacher="inherit"))
    assert "difference to its reference [95 %]" in shown(two, results)["Teacher"]
    line = summarise(two, results).line("teacher")
    level = {name: np.mean(summarise(two, results).line(name).metrics["AP"]) for name in LEVELS}
    assert line.difference.mean == pytest.approx(level["teacher"] - level["inherit"])


def test_a_row_may_have_a_baseline_of_its_own(ablation, results):
    rows = tuple(replace(r, baseline="inherit") if r.id == "icd" else r for r in ablation.rows)
    summary = summarise(replace(ablation, rows=rows), results)
    line = summary.lines[-1]
    expected = np.mean(line.metrics["AP"]) - np.mean(summary.lines[2].metrics["AP"])
    assert line.gain.mean == pytest.approx(expected)
    assert line.published_gain is None, "the paper has no value of that baseline"
    text = markdown(summary)
    assert "gain over its baseline" in text
    notes = re.search(
        r"Baselines \(all: (.+?)\): Student: (.*?); Student \+ inheriting: (.*?)\.", text
    )
    assert notes[1].startswith("retinanet, resnet18-w8, pre-trained 2x")
    assert notes[1].endswith("seeds 0, 1, 2")
    assert (notes[2], notes[3]) == ("", "inheriting")


def test_what_is_not_decided_is_called_undecided():
    assert signed(Estimate((0.3, 0.3), (-0.21, 0.81), True)) == "+0.3 [-0.2, +0.8] undecided"
    assert signed(Estimate((0.3,), (0.01, 0.59), True)) == "+0.3 [+0.0, +0.6]"
    assert signed(Estimate((-2.0,), None, False)) == "-2.0"


@pytest.fixture
def broken(ablation, content) -> tuple[Ablation, Results]:
    """One seed of inheriting failed, ICD's teacher of seed 1 too; a row that cannot be."""
    first, *_ = row(ablation, "inherit").runs
    teacher = row(ablation, "teacher").runs[1]
    waiting = [run for r in ablation.rows for run in r.runs if run.teacher == teacher]
    for run in (teacher, *waiting, *row(ablation, "icd").runs):
        content.pop(run.id, None)
    first.folder.mkdir(parents=True)
    (first.folder / "failed.json").write_text('{"error": "RuntimeError: no\\nmemory"}')
    teacher.folder.mkdir(parents=True)
    (teacher.folder / "failed.json").write_text('{"error": "ValueError: x"}')
    absent = Row("zoo", "Zoo & 50 %", (), None, absent="needs COCO")
    ablation = replace(ablation, rows=(*ablation.rows, absent))
    return ablation, collected(ablation, content)


@pytest.fixture(autouse=True)
def _no_leftovers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_nothing_is_filled_in(broken):
    cells = shown(*broken)
    assert {cells["ICD"][name] for name in (*METRICS, GAIN)} == {"not run"}
    assert cells["ICD"]["seeds"] == "0 of 3"
    assert cells["ICD"]["published AP"] == "39.9"
    assert cells["Student + inheriting"]["seeds"] == "1 of 3"
    assert re.fullmatch(r"\d\d\.\d", cells["Student + inheriting"]["AP"]), "no spread of one"
    assert {cells["Zoo & 50 %"][name] for name in (*METRICS, GAIN)} == {"absent"}


def test_a_gain_without_its_baseline_says_so(ablation, content):
    for run in row(ablation, "student").runs[1:]:
        del content[run.id]
    first = collected(ablation, content)
    icd = shown(ablation, first)["ICD"]
    assert (icd["seeds"], icd[GAIN] != "-") == ("3", True)
    text = markdown(summarise(ablation, first))
    assert "All intervals: over the seeds in common alone." in text
    (row(ablation, "icd").runs[0].folder / "metrics.json").unlink()
    assert shown(ablation, collected(ablation, {}))["ICD"][GAIN] == "no common seed"
    (row(ablation, "student").runs[0].folder / "metrics.json").unlink()
    assert shown(ablation, collected(ablation, {}))["ICD"][GAIN] == "Student not run"


def test_what_is_missing_is_named_with_its_reason(broken):
    text = markdown(summarise(*broken))
    assert (
        "Failed: Teacher, seed 1 (ValueError: x); "
        "Student + inheriting, seed 0 (RuntimeError: no memory)." in text
    )
    assert (
        "Not run: Student + inheriting, seed 1 (its teacher failed); ICD, seed 0; "
        "ICD, seed 1 (its teacher failed); ICD, seed 2." in text
    )
    assert "Absent: Zoo & 50 % (needs COCO)." in text
    assert "Interval of Student + inheriting: over the images alone, from one seed." in text


def test_what_holds_of_all_intervals_is_said_once(ablation, content):
    rows = tuple(replace(row, runs=row.runs[:1]) for row in ablation.rows)
    one_seed = replace(ablation, rows=rows)
    text = markdown(summarise(one_seed, collected(one_seed, content)))
    assert "All intervals: over the images alone, from one seed." in text
    assert "Interval of" not in text


def test_missing_runs_have_a_line_without_a_value(broken):
    _, results = broken
    lines = results.lines[results.lines.status != "done"]
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
    run = row(ablation, "icd").runs[0]
    (run.folder / "failed.json").write_text('{"error": "OSError: disk"}')
    write_results(ablation, Path("out"))
    results = read_results(Path("out"))
    assert results.status(run) == "failed: OSError: disk"
    assert len(results.values(row(ablation, "icd"), "AP", "bbox")) == 2


def test_a_broken_table_is_rendered_in_all_forms(broken):
    write_tables(*broken, Path("out"))
    write_figures(*broken, [Path("out/figure.png"), Path("out/figure.svg")])
    frame = pd.read_csv("out/table.csv").set_index("row")
    assert frame.state.to_dict() == {
        "teacher": "done",
        "student": "done",
        "inherit": "done",
        "icd": "not run",
        "zoo": "absent",
    }
    assert frame.loc[["icd", "zoo"], ["AP", "AP_sd", "gain", "gain_low"]].isna().all(axis=None)
    assert frame.loc["icd", "published_gain"] == pytest.approx(2.5)
    assert ">not run</text>" in Path("out/figure.svg").read_text()


def test_without_a_bootstrap_the_seeds_stand_alone_and_the_table_says_so(ablation, content):
    for entry in content.values():
        del entry["bootstrap"]
    results = collected(ablation, content)
    assert len(results.bootstrap) == 0
    assert "over the seeds alone, for want of a bootstrap" in markdown(summarise(ablation, results))
    values, others = (
        list(results.values(row(ablation, name), "AP", "bbox").values())
        for name in ("icd", "student")
    )
    low, high = stats.ttest_rel(values, others).confidence_interval()
    assert f"[{low:+.1f}, {high:+.1f}]" in shown(ablation, results)["ICD"][GAIN]


def test_the_table_says_whether_the_order_is_the_papers(ablation, results):
    text = markdown(summarise(ablation, results))
    line = next(line for line in text.splitlines() if line.startswith("Does our order"))
    assert "Yes: Kendall's tau is +1.00 over the 3 rows" in line
    assert re.search(r"decide \d of the 3 pairs", line)
    rows = tuple(replace(r, published=None) if r.id == "icd" else r for r in ablation.rows)
    assert "Fewer than three rows" in markdown(summarise(replace(ablation, rows=rows), results))
    swapped = {"teacher": 1.0, "student": 3.0, "icd": 2.0}
    rows = tuple(
        replace(r, published=r.published and {"AP": swapped[r.id], "source": ""})
        for r in ablation.rows
    )
    assert "No: Kendall's tau is -1.00" in markdown(
        summarise(replace(ablation, rows=rows), results)
    )


def test_rows_of_one_source_are_named_together(ablation):
    rows = tuple(
        replace(line, published={"AP": 1.0, "source": "paper"} if i < 2 else None)
        for i, line in enumerate(ablation.rows)
    )
    labels = [line.label for line in rows]
    assert sources(replace(ablation, rows=rows)) == f"Published: {labels[0]} / {labels[1]} (paper)."
    assert sources(replace(ablation, rows=rows[2:])) == ""


def test_the_table_carries_question_findings_recipe_notes_and_sources(ablation, results):
    text = markdown(summarise(replace(ablation, findings="It does."), results))
    assert text.startswith("# A title\n\nA question?\n\n|")
    parts = text.split("\n\n")
    assert "It does." in parts
    assert "Some notes." in parts
    assert parts[-1].startswith("Published: Teacher (source of teacher); Student (source of")
    assert "each with its own teacher" in text
    recipe = MINI["recipe"]
    iterations, batch = recipe["unit"], recipe["batch_size"]
    assert (
        "Baseline Student: retinanet, resnet18-w8, pre-trained 2x on the split pretrain, "
        f"1x ({iterations:,} iterations of {batch} "
        f"images), AdamW at a learning rate of {recipe['optimizer']['lr']:g}, cosine decay, "
        "images within 128 x 128 pixels, seeds 0, 1, 2. Teacher: retinanet, resnet18-w32, "
        f"4x ({4 * iterations:,} iterations" in text
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([12.34], "12.3"),
        ([1.0, 2.0], f"1.5 ± {statistics.stdev([1, 2]):.1f}"),
        ([5.0, 5.0, 5.0], "5.0 ± 0.0"),
        ([], "-"),
    ],
)
def test_spread(values, text):
    assert spread(values) == text


def test_markdown_is_aligned_in_its_source():
    lines = aligned(["", "AP"], [["a long label", "1.0"], ["a|b", "10.0 ± 2.0"]]).splitlines()
    assert lines == [
        "|              |         AP |",
        "|:-------------|-----------:|",
        "| a long label |        1.0 |",
        r"| a\|b         | 10.0 ± 2.0 |",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R&D 50 % a_b #1 $2", r"R\&D 50 \% a\_b \#1 \$2"),
        ("{x}", r"\{x\}"),
        ("a\\b~c^d", r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d"),
        ("12.3 ± 0.4", r"12.3 $\pm$ 0.4"),
        ("-0.3 [-0.8, +0.2]", "$-$0.3 [$-$0.8, +0.2]"),
        ("resnet-50, 640-800, cut-off", "resnet-50, 640-800, cut-off"),
    ],
)
def test_latex_escapes(text, expected):
    assert escape(text) == expected


def test_latex_is_a_booktabs_table_of_the_same_cells(broken):
    ablation, results = broken
    text = latex(summarise(ablation, results))
    rules = ["toprule", "midrule", "bottomrule", "begin{tabular}", "end{tabular}", "end{table}"]
    assert [text.count(f"\\{rule}") for rule in rules] == [1] * 6
    columns = re.search(r"\\begin\{tabular\}\{(l+r+)\}", text)[1]
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")].splitlines()
    lines = [line for line in body if line.endswith(r"\\")]
    assert len(lines) == 1 + len(ablation.rows)
    for line in lines:
        assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
    cells = shown(ablation, results)
    assert compact(cells["Student"]["AP"]) in text
    assert r"\shortstack[r]{gain over \\ {}Student \\ {}[95~\%]}" in text
    assert not re.search(r"\\\\\s*\[", text), "which LaTeX takes for a length"
    assert text.isascii()
    assert not re.search(r"(?<!\\)[%#_](?!\n| needs)", text)
    assert text.replace(r"\{", "").count("{") == text.replace(r"\}", "").count("}")


def test_equal_numbers_give_equal_figures(ablation, content, results):
    first, again, other = ([Path(f"{name}{kind}") for kind in (".svg", ".png")] for name in "abc")
    write_figures(ablation, results, first)
    write_figures(ablation, read_results(Path("out")), again)
    lines = results.lines.assign(value=results.lines.value / 2)
    write_figures(ablation, replace(results, lines=lines), other)
    for one, two, three in zip(first, again, other, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.read_bytes() != three.read_bytes()


def test_the_figure_names_rows_and_values(ablation, results):
    write_figures(ablation, results, [Path("figure.svg")])
    svg = Path("figure.svg").read_text()
    means = [statistics.mean(line.metrics["AP"]) for line in summarise(ablation, results).lines]
    for text in ("A title", "AP (%)", "one seed", "paper, on COCO", "gain in AP", "over Student"):
        assert f">{text}</text>" in svg
    for text in (*(f"{mean:.1f}" for mean in means), *(label for label, _, _ in ROWS.values())):
        assert f">{text}</text>" in svg


def test_a_figure_may_be_drawn_against_an_option(ablation, results):
    rows = tuple(replace(r, x=x) for r, x in zip(ablation.rows, (3, None, 2, 1), strict=True))
    table = replace(ablation, rows=rows, figure={"x": "layers", "label": "Decoder layers"})
    write_figures(table, results, [Path("figure.svg")])
    svg = Path("figure.svg").read_text()
    for text in ("Decoder layers", "AP (%)", "published AP (%)", "Student", "paper, on COCO"):
        assert f">{text}</text>" in svg
    bare = tuple(replace(r, published=None) for r in rows)
    write_figures(replace(table, rows=bare), results, [Path("figure.svg")])
    assert "published AP" not in Path("figure.svg").read_text()
