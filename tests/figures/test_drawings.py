"""The figures that are drawn from files only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import ExifTags, Image

from icd.experiments.ablation import load_ablation
from icd.figures import draw_curves, draw_detections, draw_errors
from icd.figures.draw_detections import draw_line, right
from icd.figures.examples import examples, read_truth
from tests.figures.tracks import track

MAIN = load_ablation("main", track())
ROWS = ("student", "icd", "icd_inherit", "teacher")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def losses(scale: float = 1.0) -> pd.DataFrame:
    """Two rows; the method's losses are there for the second alone."""
    lines = []
    for iteration in (50, 100):
        lines += [("student", iteration, "loss", 3.0), ("student", iteration, "loss_cls", 1.0)]
        lines += [("icd", iteration, "loss", scale * 9.0), ("icd", iteration, "loss_cls", 1.5)]
        lines += [
            ("icd", iteration, f"loss_{name}", scale * value)
            for name, value in (("identification", 1.0), ("localisation", 2.0))
        ]
        lines.append(("icd", iteration, "loss_distillation", scale * 4.0))
    return pd.DataFrame(lines, columns=["row", "iteration", "loss", "value"])


def steps() -> pd.DataFrame:
    lines = [(row, i, i / 1000) for row in ("student", "icd") for i in (50, 100)]
    return pd.DataFrame(lines, columns=["row", "iteration", "AP"]).assign(split="tune")


def diagnosis() -> pd.DataFrame:
    """Only the second row has a decoder, of two layers."""
    lines: list[dict[str, Any]] = [{"row": "student", "iteration": i} for i in (50, 100)]
    for i in (50, 100):
        decoder = {"layer1/effective": 0.2, "layer2/effective": 0.4, "boxes": 0.5}
        decoder |= {"layer1/recognised": i / 200, "layer2/recognised": i / 100}
        lines.append({"row": "icd", "iteration": i, **decoder})
    return pd.DataFrame(lines)


def error_table(scale: float = 1.0) -> pd.DataFrame:
    names = [*draw_errors.TYPES, *draw_errors.SUMS]
    lines = [(row, name, scale * 0.1) for row in ROWS for name in names for _ in range(2)]
    return pd.DataFrame(lines, columns=["row", "error", "dAP"])


def place_detections(score: float = 0.8) -> None:
    """Two images of one disk and one ring, of which each row finds the disk."""
    Path("data/test-1000").mkdir(parents=True, exist_ok=True)
    images = [{"id": i, "file_name": f"{i}.png", "width": 48, "height": 32} for i in (1, 2)]
    annotations = [
        {"id": 2 * i + j, "image_id": i, "category_id": 1 + j, "iscrowd": 0}
        | {"bbox": [4, 4, 10 + 10 * j, 10 + 10 * j], "area": 100 + 300 * j}
        for i in (1, 2)
        for j in (0, 1)
    ]
    categories = [{"id": 1, "name": "disk"}, {"id": 2, "name": "ring"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    Path("data/test-1000.json").write_text(json.dumps(content))
    for image in images:
        file = Path("data/test-1000", str(image["file_name"]))
        Image.fromarray(np.full((32, 48, 3), 90, np.uint8)).save(file)
    for row in MAIN.choose(ROWS):
        folder = row.runs[0].folder / "test"
        folder.mkdir(parents=True, exist_ok=True)
        box = {"image_id": 1, "category_id": 1, "bbox": [4, 4, 10, 10]}
        found = [{**box, "score": score}, {**box, "score": 0.2}]
        (folder / "bbox.json").write_text(json.dumps(found))


def draw(figure: str, name: str, changed: bool = False) -> list[bytes]:
    """The files of a figure, as SVG and PNG."""
    outputs = [Path(f"{name}.svg"), Path(f"{name}.png")]
    if figure == "curves":
        losses(2.0 if changed else 1.0).to_csv("losses.csv")
        diagnosis().to_csv("diagnosis.csv")
        steps().to_csv("steps.csv")
        sources = [Path(f"{name}.csv") for name in ("losses", "diagnosis", "steps")]
        draw_curves.write(MAIN, track(), sources, outputs)
    elif figure == "errors":
        error_table(2.0 if changed else 1.0).to_csv("errors.csv")
        draw_errors.write(MAIN, track(), [Path("errors.csv")], outputs)
    else:
        place_detections(0.6 if changed else 0.8)
        draw_detections.write(MAIN, track(), [], outputs)
    return [output.read_bytes() for output in outputs]


@pytest.mark.parametrize("figure", ["curves", "errors", "detections"])
def test_equal_numbers_give_equal_bytes(figure):
    first, again, other = draw(figure, "first"), draw(figure, "again"), draw(figure, "other", True)
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_curves_name_their_panels():
    svg = draw("curves", "curves")[0].decode()
    for text in (
        "Detection loss",
        *draw_curves.METHOD.values(),
        "Effective tokens (%)",
        "AP (%), tune split",
        "ICD",
        "Student",
    ):
        assert f">{text}</text>" in svg


def test_the_detection_loss_is_what_the_method_does_not_add():
    panels = draw_curves.loss_panels(losses())
    detection = panels["Detection loss"]
    assert detection[detection.row == "student"].value.tolist() == [3.0, 3.0]
    assert detection[detection.row == "icd"].value.tolist() == [2.0, 2.0]
    assert set(panels["Distillation loss"].row) == {"icd"}
    assert panels["Distillation loss"].value.tolist() == [4.0, 4.0]


def test_losses_of_several_methods_are_summed_by_name():
    """Those of a detector's own stages have dots as well, but are not in the table."""
    parts = {"icd.loss_distillation": 2.0, "fitnet.loss_distillation": 3.0, "fgd.loss_global": 1.0}
    entries = {"loss": 10.0, "loss_cls": 1.0, **parts}
    lines = [("both", 50, name, value) for name, value in entries.items()]
    both = pd.DataFrame(lines, columns=["row", "iteration", "loss", "value"])
    panels = draw_curves.loss_panels(pd.concat([losses(), both]))
    detection, imitation = panels["Detection loss"], panels["Distillation loss"]
    assert detection[detection.row == "both"].value.tolist() == [4.0]
    assert imitation[imitation.row == "both"].value.tolist() == [5.0]
    assert imitation[imitation.row == "icd"].value.tolist() == [4.0, 4.0]
    assert set(panels["Identification loss"].row) == {"icd"}


def test_the_decoder_is_shown_in_percent_and_averaged_over_layers():
    panels = draw_curves.decoder_panels(diagnosis())
    assert list(panels) == ["Effective tokens (%)", "Recognised; thin: mistaken (%)"]
    (effective,), (recognised, mistaken) = panels.values()
    assert effective.row.tolist() == ["icd", "icd"]
    assert effective.value.tolist() == pytest.approx([30, 30])
    assert recognised.value.tolist() == pytest.approx([37.5, 75])
    assert mistaken.empty


def test_curves_do_without_snapshots_and_without_a_diagnosis():
    losses().to_csv("losses.csv")
    pd.DataFrame(columns=["row", "run", "iteration"]).to_csv("diagnosis.csv")
    sources = [Path("losses.csv"), Path("diagnosis.csv")]
    draw_curves.write(MAIN, track(), sources, [Path("bare.svg")])
    svg = Path("bare.svg").read_text()
    assert "Distillation loss" in svg
    assert "AP (%)" not in svg
    assert "Effective" not in svg


def test_a_training_of_one_logged_point_shows_it():
    axes = Figure().subplots()
    table = pd.DataFrame({"row": "icd", "iteration": [20, 40], "value": 1.0})
    for number, marker in ((1, "o"), (2, "o"), (draw_curves.FEW + 1, "None")):
        many = pd.concat([table] * number).head(number)
        draw_curves.draw_lines(axes, "Detection loss", many, {"icd": "ICD"})
        assert axes.lines[-1].get_marker() == marker


def test_detections_show_classes_and_scores_from_the_threshold_on():
    svg = draw("detections", "detections")[0].decode()
    assert svg.count(">disk 80</text>") == len(ROWS)
    assert ">disk 20</text>" not in svg
    assert svg.count(">ring</text>") == 2  # the truth of both images
    for row in MAIN.choose(ROWS):
        assert f">{row.label}</text>" in svg


def test_detections_lie_on_images_as_training_reads_them():
    """Turned as their EXIF orientation says."""
    place_detections()
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    pixels = np.zeros((48, 32, 3), np.uint8)
    pixels[:, :16] = (250, 0, 0)
    for name in ("1.png", "2.png"):
        Image.fromarray(pixels).save(f"data/test-1000/{name}", exif=tags)
    figure = Figure()
    line = figure.subplots(1, 2)
    (example, *_) = examples(track(), read_truth(track()))
    draw_line(line, example, {"Student": []}, {1: "disk", 2: "ring"})
    shown = line[0].get_images()[0].get_array()
    assert shown.shape == (32, 48, 3)
    assert shown[0, 0].tolist() == [250, 0, 0]
    assert shown[-1, 0].tolist() == [0, 0, 0]


def test_curves_and_errors_show_the_rows_that_the_ablation_names():
    table = replace(MAIN, figures={"curves": ("icd",), "errors": ("icd", "teacher")})
    losses().to_csv("losses.csv")
    error_table().to_csv("errors.csv")
    diagnosis().to_csv("diagnosis.csv")
    sources = [Path("losses.csv"), Path("diagnosis.csv")]
    draw_curves.write(table, track(), sources, [Path("curves.svg")])
    draw_errors.write(table, track(), [Path("errors.csv")], [Path("errors.svg")])
    for name, labels in (("curves", ["ICD"]), ("errors", ["ICD", "Teacher"])):
        svg = Path(f"{name}.svg").read_text()
        shown = [row.label for row in MAIN.rows if f">{row.label}</text>" in svg]
        assert sorted(shown) == labels


def test_more_rows_than_styles_start_again_with_the_first():
    axes, labels = Figure().subplots(), {f"r{i}": f"Row {i}" for i in range(5)}
    table = pd.DataFrame([(row, "Cls", 0.1) for row in labels], columns=["row", "error", "dAP"])
    draw_errors.draw_bars(axes, table, {"Cls": "class"}, labels)
    assert len(axes.patches) == 5


def test_a_detection_is_right_once_and_with_its_class():
    objects = [
        {"category_id": 1, "bbox": [0, 0, 10, 10]},
        {"category_id": 2, "bbox": [20, 0, 10, 10]},
    ]

    def guess(category: int, x: float, score: float) -> dict:
        return {"category_id": category, "bbox": [x, 0, 10, 10], "score": score}

    found = [guess(1, 1, 0.5), guess(1, 0, 0.4), guess(1, 20, 0.9), guess(2, 16, 0.9)]
    assert right(found, objects) == [True, False, False, False]
    found = [guess(1, 1, 0.3), guess(1, 2, 0.4), guess(2, 21, 0.1)]
    assert right(found, objects) == [False, True, True]
    assert right([], objects) == []
