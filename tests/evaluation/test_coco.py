"""The fast evaluator equals pycocotools to the last digit; detection files equal mmdet's."""

from __future__ import annotations

import contextlib
import gc
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.evaluation import CocoMetric
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from icd.evaluation.breakdown import SIZES, resampled
from icd.evaluation.coco import LIBRARIES, NAMES, Evaluator, coco_metrics, match, summary
from icd.evaluation.detection_files import DetectionFiles

SIDE, IMAGES, CLASSES = 320, 24, [1, 3, 7, 90]  # of the last class there are no objects


def outline(box: np.ndarray) -> list[list[float]]:
    """A polygon in a box and, as some objects have, a second part."""
    x, y, width, height = box
    corners = [x, y, x + width, y + height / 3, x + width / 2, y + height, x, y + height / 2]
    return [corners, [x + width - 3, y, x + width, y, x + width, y + 3, x + width - 3, y + 3]]


def truth_and_guesses(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects of all sizes, one in six a crowd, and guesses; images without one or the other."""
    rng = np.random.default_rng(seed)
    images = [{"id": 5 * i + 2, "width": SIDE, "height": SIDE} for i in range(IMAGES)]
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for i, image in enumerate(images):
        for _ in range(0 if i % 5 == 0 else rng.integers(1, 7)):
            size = np.exp(rng.uniform(np.log(8), np.log(200), 2))
            box = np.concatenate([rng.uniform(0, SIDE - size), size])
            label, crowd = int(rng.choice(CLASSES[:3])), bool(rng.random() < 1 / 6)
            code = masks.merge(masks.frPyObjects(outline(box), SIDE, SIDE))
            entry: dict[str, Any] = {
                "id": len(truth) + 1,
                "image_id": image["id"],
                "category_id": label,
            }
            entry |= {"bbox": box.tolist(), "area": float(masks.area(code)), "iscrowd": int(crowd)}
            entry["segmentation"] = outline(box)
            if crowd:
                entry["segmentation"] = code | {"counts": code["counts"].decode()}
            truth.append(entry)
            for _ in range(0 if i % 5 == 1 else rng.integers(0, 5)):
                found.append(guess(rng, image["id"], label, box * rng.normal(1, 0.05, 4)))
        for _ in range(0 if i % 5 == 1 else rng.integers(0, 120)):  # more than count
            box = np.concatenate([rng.uniform(0, SIDE / 2, 2), rng.uniform(4, SIDE / 2, 2)])
            found.append(guess(rng, image["id"], int(rng.choice(CLASSES)), box))
    categories = [{"id": label, "name": str(label)} for label in CLASSES]
    return {"images": images, "annotations": truth, "categories": categories}, found


def guess(rng: np.random.Generator, image: int, label: int, box: np.ndarray) -> dict[str, Any]:
    label = label if rng.random() < 0.8 else int(rng.choice(CLASSES))
    code = masks.merge(masks.frPyObjects(outline(box), SIDE, SIDE))
    return {
        "image_id": image,
        "category_id": label,
        "bbox": box.tolist(),
        "score": round(float(rng.random()), 2),  # many are equal
        "segmentation": code | {"counts": code["counts"].decode()},
    }


def write(folder: Path, truth: dict, found: list) -> tuple[Path, Path]:
    files = folder / "truth.json", folder / "found.json"
    for file, content in zip(files, (truth, found), strict=True):
        file.write_text(json.dumps(content))
    return files


def reference(files: tuple[Path, Path], kind: str) -> dict[str, float | None]:
    """What pycocotools computes, as its documentation says how."""
    found = json.loads(files[1].read_text())
    if kind == "segm":
        found = [{k: v for k, v in entry.items() if k != "bbox"} for entry in found]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(files[0]))
        evaluator = COCOeval(coco, coco.loadRes(found) if found else COCO(), kind)
        evaluator.params.imgIds = sorted(coco.getImgIds())
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    values = dict(zip(NAMES, evaluator.stats.tolist(), strict=True))
    return {name: None if value == -1 else value for name, value in values.items()}


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(4))
def test_all_twelve_metrics_are_those_of_pycocotools(tmp_path: Path, kind: str, seed: int) -> None:
    files = write(tmp_path, *truth_and_guesses(seed))
    expected = reference(files, kind)
    assert coco_metrics(*files, kind) == expected
    assert coco_metrics(*files, kind, "pycocotools") == expected
    assert all(value is not None for value in expected.values())
    assert len(set(expected.values())) > 8


def of_parts(matched: Evaluator) -> tuple[list[float | None], dict[str, dict[str, Any]]]:
    """What ``resampled`` makes of matches."""
    summary(matched)
    return resampled(matched)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_resampled_ap_is_that_of_pycocotools(tmp_path: Path, kind: str) -> None:
    files = write(tmp_path, *truth_and_guesses(9))
    values, parts = of_parts(match(*files, kind))
    assert (values, parts) == of_parts(match(*files, kind, "pycocotools"))
    assert np.ptp([value for value in values if value is not None]) > 0.01


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_ap_of_classes_and_sizes_is_that_of_pycocotools(tmp_path: Path, kind: str) -> None:
    """A class alone is pycocotools' AP of the data set with this class only."""
    files = write(tmp_path, *truth_and_guesses(2))
    _, parts = of_parts(match(*files, kind))
    whole = reference(files, kind)
    assert {name: parts["size"][name]["AP"] for name in SIZES} == {
        name: whole[f"AP{name[0]}"] for name in SIZES
    }
    alone = match(*files, kind, "pycocotools")
    for label in CLASSES:
        alone.params.catIds = [label]
        alone.evaluate()
        assert parts["class"][str(label)]["AP"] == summary(alone)["AP"]
    assert parts["class"]["90"]["AP"] is None
    assert set(parts["class"]["90"]["bootstrap"]) == {None}


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("case", ["no guesses", "no objects", "only crowds", "only large"])
def test_what_is_not_there_has_pycocotools_value(tmp_path: Path, kind: str, case: str) -> None:
    truth, found = truth_and_guesses(1)
    keep = {
        "no guesses": lambda entry: True,
        "no objects": lambda entry: False,
        "only crowds": lambda entry: entry["iscrowd"],
        "only large": lambda entry: entry["area"] > 96**2,
    }[case]
    truth["annotations"] = [entry for entry in truth["annotations"] if keep(entry)]
    files = write(tmp_path, truth, [] if case == "no guesses" else found)
    metrics, (values, parts) = coco_metrics(*files, kind), of_parts(match(*files, kind))
    assert metrics == reference(files, kind)
    assert (values, parts) == of_parts(match(*files, kind, "pycocotools"))
    missing = [name for name in NAMES if metrics[name] is None]
    if case == "only large":
        assert missing == ["APs", "APm", "ARs", "ARm"]
    else:
        assert missing == ([] if case == "no guesses" else list(NAMES))
        assert set(values) == ({0.0} if case == "no guesses" else {None})


HALF = 51 / 101  # of one of two objects: recall 0.5 of the points from 0 to 1 in hundredths
NOT_LEARNED = {  # by COCO's protocol, only what is ignored does not count
    "no area": ({"area": 0}, HALF),
    "outside of its image": ({"bbox": [SIDE, 0, 10, 10]}, HALF),
    "ignored": ({"ignore": 1}, 1),
    "ignored, without a mask": ({"ignore": 1, "segmentation": [[]]}, 1),
}


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("change", "expected"), NOT_LEARNED.values(), ids=NOT_LEARNED)
def test_of_what_is_not_learned_the_ignored_is_not_missed(
    tmp_path: Path, kind: str, library: str, change: Any, expected: Any
) -> None:
    boxes = [np.array([10.0, 10, 40, 40]), np.array([100.0, 100, 40, 40])]
    image = {"id": 1, "width": SIDE, "height": SIDE}
    common = {"image_id": 1, "category_id": 1, "area": 900, "iscrowd": 0}
    shapes = [{"bbox": box.tolist(), "segmentation": outline(box)} for box in boxes]
    objects = [{"id": i, **common, **shape} for i, shape in enumerate(shapes, 1)]
    truth = {"images": [image], "categories": [{"id": 1, "name": "cat"}]}
    truth["annotations"] = [objects[0], objects[1] | change]
    found = [guess(np.random.default_rng(0), 1, 1, box) | {"category_id": 1} for box in boxes[:1]]
    files = write(tmp_path, truth, found)
    assert coco_metrics(*files, kind, library)["AP"] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_detection_of_what_is_ignored_is_no_mistake(
    tmp_path: Path, kind: str, library: str
) -> None:
    truth, found = truth_and_guesses(2)
    crowd = next(entry for entry in truth["annotations"] if entry["iscrowd"])
    expected = coco_metrics(*write(tmp_path, truth, found), kind, library)
    crowd |= {"iscrowd": 0, "ignore": 1}
    assert coco_metrics(*write(tmp_path, truth, found), kind, library) == expected


@pytest.mark.parametrize("library", LIBRARIES)
def test_fields_that_no_metric_needs_may_be_anything(tmp_path: Path, library: str) -> None:
    truth, found = truth_and_guesses(0)
    expected = coco_metrics(*write(tmp_path, truth, found), "bbox", library)
    truth["images"][0] |= {"date_captured": 0, "license": ""}
    truth["annotations"][0] |= {"score": "x"}
    truth["categories"][0] |= {"supercategory": 0, "keypoints": ""}
    assert coco_metrics(*write(tmp_path, truth, found), "bbox", library) == expected


def test_garbage_is_collected_again_afterwards(tmp_path: Path) -> None:
    coco_metrics(*write(tmp_path, *truth_and_guesses(0)), "bbox")
    assert gc.isenabled()


@pytest.mark.parametrize("kinds", [["bbox"], ["segm"], ["bbox", "segm"]])
def test_files_of_detections_are_mmdets(tmp_path: Path, kinds: list[str]) -> None:
    truth, found = truth_and_guesses(3)
    file, _ = write(tmp_path, truth, found)
    results = []
    for image in truth["images"]:
        mine = [entry for entry in found if entry["image_id"] == image["id"]]
        boxes = np.array([entry["bbox"] for entry in mine], np.float32).reshape(-1, 4)
        scores = np.array([entry["score"] for entry in mine], np.float32)
        codes = [entry["segmentation"] for entry in mine]
        result = {
            "img_id": image["id"],
            "bboxes": boxes,
            "scores": scores,
            "mask_scores": scores / 3,
        }
        result["labels"] = np.array([CLASSES.index(entry["category_id"]) for entry in mine], int)
        result["masks"] = [code | {"counts": code["counts"].encode()} for code in codes]
        results.append((None, result))
    classes = [category["name"] for category in truth["categories"]]
    written = {}
    for make in (CocoMetric, DetectionFiles):
        prefix = tmp_path / make.__name__
        options = {"format_only": True} if make is CocoMetric else {}
        metric = make(ann_file=str(file), metric=kinds, outfile_prefix=str(prefix), **options)
        metric.dataset_meta = {"classes": classes}
        metric.compute_metrics(results)
        written[make] = [Path(f"{prefix}.{kind}.json").read_text() for kind in kinds]
    assert written[CocoMetric] == written[DetectionFiles]
    assert json.loads(written[DetectionFiles][0])
    names = {file.name for file in tmp_path.glob("DetectionFiles*")}
    assert names == {f"DetectionFiles.{kind}.json" for kind in kinds}
