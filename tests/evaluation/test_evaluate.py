"""COCO metrics of known detections, against pycocotools and mmdet's own metric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from icd.data.synthetic import SyntheticSpec, write_split
from icd.errors import InputError
from icd.evaluation import evaluate
from icd.evaluation.breakdown import resampled
from icd.evaluation.coco import NAMES, coco_metrics, match, summary
from icd.experiments.machine import EVALUATORS
from icd.experiments.run import Run, TrainedRun
from icd.experiments.splits import Split
from tests.lab import Lab

SIZES = {"s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, np.inf)}


def write(file: Path, content: Any) -> Path:
    file.write_text(json.dumps(content))
    return file


@pytest.fixture
def truth(lab: Lab) -> dict[str, Any]:
    """The annotations of the test split."""
    return json.loads((lab.track.annotations("test")).read_text())


def guesses(truth: dict[str, Any], seed: int = 0) -> list[dict[str, Any]]:
    """Moved boxes, some of a wrong class and some twice, and boxes of nothing."""
    rng = np.random.default_rng(seed)
    categories = [category["id"] for category in truth["categories"]]
    found = []
    for annotation in truth["annotations"] * 2:
        box = np.array(annotation["bbox"]) * rng.normal(1, 0.08, 4)
        category = annotation["category_id"] if rng.random() < 0.8 else rng.choice(categories)
        found.append((annotation["image_id"], category, box))
    for image in truth["images"]:
        found.append((image["id"], rng.choice(categories), rng.uniform(5, 40, 4)))
    return [
        {
            "image_id": image,
            "category_id": int(category),
            "bbox": box.tolist(),
            "score": float(rng.random()),
        }
        for image, category, box in found
    ]


def test_metrics_are_pycocotools(lab: Lab, truth: dict, tmp_path: Path) -> None:
    found = guesses(truth)
    coco = COCO(lab.track.annotations("test"))
    evaluator = COCOeval(coco, coco.loadRes(found), iouType="bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    expected = dict(zip(NAMES, evaluator.stats, strict=True))
    metrics = coco_metrics(
        lab.track.annotations("test"), write(tmp_path / "found.json", found), "bbox"
    )
    assert {name: -1 if value is None else value for name, value in metrics.items()} == expected
    assert 0.1 < number(metrics["AP"]) < number(metrics["AP50"]) < 0.9


def renumbered(truth: dict[str, Any], ids: str) -> dict[str, Any]:
    """The same annotations and images with other ids, as exports have them."""
    images = {image["id"]: i for i, image in enumerate(truth["images"])}
    if ids == "of 14 digits":
        images = {old: 20240101123457 + new for old, new in images.items()}
    annotations = [a | {"image_id": images[a["image_id"]]} for a in truth["annotations"]]
    for i, annotation in enumerate(annotations):
        annotation["id"] = {"from 0": i, "repeated": i // 2, "of 14 digits": 10**13 + i}.get(ids)
        if ids == "missing":
            del annotation["id"]
    entries = [image | {"id": images[image["id"]]} for image in truth["images"]]
    return truth | {"images": entries, "annotations": annotations}


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("ids", ["from 0", "repeated", "of 14 digits", "missing"])
def test_ids_change_no_metric(truth: dict, tmp_path: Path, ids: str, evaluator: str) -> None:
    """pycocotools alone would count an object with id 0 as missed."""
    exported = renumbered(truth, ids)
    pairs = zip(truth["images"], exported["images"], strict=True)
    places = {old["id"]: new["id"] for old, new in pairs}
    found = guesses(truth)
    moved = [guess | {"image_id": places[guess["image_id"]]} for guess in found]
    values = [
        coco_metrics(
            write(tmp_path / "truth.json", a), write(tmp_path / "found.json", f), "bbox", e
        )
        for a, f, e in ((truth, found, EVALUATORS[0]), (exported, moved, evaluator))
    ]
    assert values[0] == values[1]


def test_detections_on_a_file_without_ids_are_the_same(lab: Lab, teacher: TrainedRun) -> None:
    truth = json.loads(lab.track.annotations("test").read_text())
    plain = Split(
        annotations=str(lab.track.annotations("test")), images=str(lab.track.images("test"))
    )
    exported = write(lab.project / "exported.json", renumbered(truth, "missing"))
    metrics = []
    lab.write_description(teacher)
    for file in (plain.annotations, str(exported)):
        files = plain.model_copy(update={"annotations": file})
        with lab.runner():
            evaluate.evaluate(teacher.folder, "test", Path("metrics.json"), files=files)
        metrics.append(json.loads(Path("metrics.json").read_text())["metrics"])
    assert metrics[0] == metrics[1]


def test_a_split_whose_classes_have_another_order_is_named(lab: Lab, teacher: TrainedRun) -> None:
    truth = json.loads(lab.track.annotations("test").read_text())
    other = write(lab.project / "other.json", truth | {"categories": truth["categories"][::-1]})
    files = Split(annotations=str(other), images=str(lab.track.images("test")))
    lab.write_description(teacher)
    with lab.runner(), pytest.raises(InputError, match=r"other\.json: categories: are \["):
        evaluate.evaluate(teacher.folder, "test", Path("metrics.json"), files=files)
    assert not Path("metrics.json").exists()


def test_a_file_that_was_never_checked_is_checked(lab: Lab, teacher: TrainedRun) -> None:
    truth = json.loads(lab.track.annotations("test").read_text())
    truth["annotations"][3] |= {"segmentation": [[2, 3, 3e8, 3, 12, 9]]}
    del truth["annotations"][3]["area"]
    other = write(lab.project / "other.json", truth)
    files = Split(annotations=str(other), images=str(lab.track.images("test")))
    lab.write_description(teacher)
    with lab.runner(), pytest.raises(InputError, match=r"annotations\[3\]\.segmentation: has the"):
        evaluate.evaluate(teacher.folder, "test", Path("metrics.json"), files=files)


def test_metrics_are_mmdets(lab: Lab, truth: dict, tmp_path: Path) -> None:
    """To the three decimals that it keeps."""
    found = guesses(truth)
    labels = {category["id"]: i for i, category in enumerate(truth["categories"])}
    metric = CocoMetric(ann_file=str(lab.track.annotations("test")), metric="bbox")
    metric.dataset_meta = {"classes": lab.inputs.survey["classes"]}
    samples = []
    for image in truth["images"]:
        mine = [guess for guess in found if guess["image_id"] == image["id"]]
        boxes = np.array([guess["bbox"] for guess in mine])
        boxes[:, 2:] += boxes[:, :2]
        instances = {
            "bboxes": torch.from_numpy(boxes),
            "scores": torch.tensor([guess["score"] for guess in mine], dtype=torch.float64),
            "labels": torch.tensor([labels[guess["category_id"]] for guess in mine]),
        }
        shape = (image["height"], image["width"])
        samples.append({"pred_instances": instances, "img_id": image["id"], "ori_shape": shape})
    metric.process({}, samples)
    theirs = metric.evaluate(len(samples))
    ours = coco_metrics(
        lab.track.annotations("test"), write(tmp_path / "found.json", found), "bbox"
    )
    names = {"AP": "mAP", "AP50": "mAP_50", "AP75": "mAP_75", "APs": "mAP_s", "APm": "mAP_m"}
    for name, their_name in names.items():
        assert theirs[f"coco/bbox_{their_name}"] == pytest.approx(ours[name], abs=0.0005 + 1e-9)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_a_perfect_detector_scores_one(lab: Lab, truth: dict, tmp_path: Path, kind: str) -> None:
    coco = COCO(lab.track.annotations("test"))
    found = []
    for annotation in truth["annotations"]:
        guess = {key: annotation[key] for key in ("image_id", "category_id", "bbox")}
        rle = coco.annToRLE(annotation)
        guess["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
        found.append(guess | {"score": 0.9})
    metrics = coco_metrics(
        lab.track.annotations("test"), write(tmp_path / "found.json", found), kind
    )
    areas = [annotation["area"] for annotation in truth["annotations"]]
    for size, (least, most) in SIZES.items():
        there = any(least <= area < most for area in areas)
        assert metrics[f"AP{size}"] == metrics[f"AR{size}"] == (1.0 if there else None)
    assert metrics["AP"] == metrics["AP50"] == metrics["AP75"] == metrics["AR100"] == 1.0


def test_the_size_of_a_mask_is_not_that_of_its_box(lab: Lab, truth: dict, tmp_path: Path) -> None:
    """SOLOv2 gives no boxes but zeros: with these, wrong masks of any size would count as small."""
    coco = COCO(lab.track.annotations("test"))
    found = []
    for i, annotation in enumerate(truth["annotations"]):
        image = truth["images"][i % len(truth["images"])]["id"]  # many at the wrong image
        rle = coco.annToRLE(annotation)
        guess = {"image_id": image, "category_id": annotation["category_id"], "score": 1 / (i + 2)}
        guess["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
        found.append(guess)
    annotations = lab.track.annotations("test")
    bare = coco_metrics(annotations, write(tmp_path / "bare.json", found), "segm")
    zeros = [{**guess, "bbox": [0, 0, 0, 0]} for guess in found]
    assert coco_metrics(annotations, write(tmp_path / "zeros.json", zeros), "segm") == bare
    assert 0 < number(bare["AP"]) < 1
    boxes = [{**guess, "bbox": [0, 0, 64, 64]} for guess in found]
    assert coco_metrics(annotations, write(tmp_path / "boxes.json", boxes), "segm") == bare


def test_sizes_without_objects_have_no_value(lab: Lab, truth: dict, tmp_path: Path) -> None:
    small = [a for a in truth["annotations"] if a["area"] < 32**2]
    assert small
    file = write(tmp_path / "small.json", truth | {"annotations": small})
    metrics = coco_metrics(file, write(tmp_path / "found.json", guesses(truth)), "bbox")
    assert [name for name in NAMES if metrics[name] is None] == ["APm", "APl", "ARm", "ARl"]
    assert number(metrics["APs"]) > 0


def test_no_detections_score_zero(lab: Lab, truth: dict, tmp_path: Path) -> None:
    metrics = coco_metrics(
        lab.track.annotations("test"), write(tmp_path / "found.json", []), "bbox"
    )
    areas = [annotation["area"] for annotation in truth["annotations"]]
    for name, value in metrics.items():
        least, most = SIZES.get(name[2:], (0, np.inf))
        there = any(least <= area < most for area in areas)
        assert value == (0.0 if there else None)


def test_a_detector_that_finds_nothing_is_evaluated(lab: Lab) -> None:
    lab = lab.changed({"detectors": {"retinanet": {"model": {"test_cfg": {"score_thr": 1.0}}}}})
    run = lab.run()
    lab.place_untrained(run)
    (lab.folder(run) / "run.json").write_text(json.dumps(run.description))
    result = lab.evaluate(run)
    assert result["metrics"]["bbox"]["AP"] == 0.0
    assert json.loads((lab.folder(run) / "test" / "bbox.json").read_text()) == []


def test_the_log_of_an_evaluation_is_whole_lines(
    lab: Lab, teacher: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    """Log files show progress bars as one line of thousands of characters."""
    lab.write_description(teacher)
    lab.evaluate(teacher)
    written = "".join(capfd.readouterr())
    assert "Epoch(test)" in written
    assert not {"\r", "\b", "\x1b"} & {*written}


def test_writes_the_metrics_of_the_split_that_was_asked_for(shared_lab: Lab, teacher: Run) -> None:
    folder = shared_lab.folder(teacher)
    for split in ("train", "test"):
        result = shared_lab.evaluate(teacher, split)
        annotations = shared_lab.track.annotations(split)
        images = {image["id"] for image in json.loads(annotations.read_text())["images"]}
        found = json.loads((folder / split / "bbox.json").read_text())
        assert {guess["image_id"] for guess in found} == images
        assert result["split"] == split
        assert result["metrics"] == {
            "bbox": coco_metrics(annotations, folder / split / "bbox.json", "bbox")
        }
        assert result["seconds"] > 0
        reference = match(annotations, folder / split / "bbox.json", "bbox", "pycocotools")
        summary(reference)
        values, parts = resampled(reference)
        assert result["bootstrap"] == {"bbox": values}
        assert result["parts"] == {"bbox": parts}


def test_weights_that_do_not_fit_are_refused(lab: Lab, teacher: Run) -> None:
    """mmengine would load what it can and leave the rest to chance."""
    student = lab.run()
    lab.place_untrained(student)
    (lab.folder(student) / "run.json").write_text(json.dumps(student.description))
    (lab.folder(teacher) / "model.pth").rename(lab.folder(student) / "model.pth")
    with pytest.raises(InputError, match=r"model\.pth: backbone\."):
        lab.evaluate(student)


def number(value: float | None) -> float:
    """A metric that exists."""
    assert value is not None
    return value


def test_a_split_that_came_after_the_run_is_evaluated_on_its_own_files(
    lab: Lab, teacher: TrainedRun
) -> None:
    """The description of a run knows the splits of its day alone."""
    content = lab.track.content.stated()
    more = lab.changed({"data": {"splits": {"extra": 4}}})
    write_split(lab.data, "extra", 4, SyntheticSpec.of(content["data"]["synthetic"]))
    output = lab.folder(teacher) / "metrics-extra.json"
    lab.write_description(teacher)
    files = Split(
        annotations=str(more.track.annotations("extra")), images=str(more.track.images("extra"))
    )
    with lab.runner():
        with pytest.raises(InputError, match="split: is 'extra'"):
            evaluate.evaluate(teacher.folder, "extra", output)
        evaluate.evaluate(teacher.folder, "extra", output, files=files)
    found = json.loads((lab.folder(teacher) / "extra/bbox.json").read_text())
    assert {detection["image_id"] for detection in found} <= set(range(4))
    assert json.loads(output.read_text())["split"] == "extra"
