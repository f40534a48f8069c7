"""Exports of the common annotation tools are trained on and evaluated as they come."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from icd.data import SplitFiles
from icd.data.survey import write_survey
from icd.errors import InputError
from icd.evaluation.coco import coco_metrics
from icd.experiments.machine import EVALUATORS
from icd.training.dataset import CompletedCocoDataset
from tests.data.exports import BOXES, CLASSES, EXPORTS, NAMES, Export, cvat, run_lengths, write


def check(export: Export, root: Path) -> dict:
    files = SplitFiles(*write(export, root))
    return write_survey({"train": files, "test": files}, root / "data.json")


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_an_export_is_read_as_it_comes(tmp_path: Path, export: Callable[[], Export]) -> None:
    exported = export()
    survey = check(exported, tmp_path)
    assert survey["classes"] == exported.classes
    counts = survey["splits"]["train"]
    assert (counts["images"], counts["objects"]) == (len(NAMES), len(BOXES))
    first = min(annotation["id"] for annotation in exported.content["annotations"])
    assert counts["filled"] == {"area": 0, "iscrowd": 0, "id": 0 if first else len(BOXES)}


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_mmdet_learns_what_an_export_shows(tmp_path: Path, export: Callable[[], Export]) -> None:
    exported = export()
    annotations, images = write(exported, tmp_path)
    read = CompletedCocoDataset(
        ann_file=str(annotations),
        data_prefix={"img": str(images)},
        metainfo={"classes": exported.classes},
        pipeline=[],
    )
    assert [Path(info["img_path"]).is_file() for info in read] == [True] * len(NAMES)
    found = [
        (image, exported.classes[instance["bbox_label"]], instance["bbox"][:2])
        for image, info in enumerate(read)
        for instance in info["instances"]
    ]
    assert found == [(image, CLASSES[label], box[:2]) for image, label, box in BOXES]


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_a_perfect_detector_scores_one(
    tmp_path: Path, export: Callable[[], Export], evaluator: str
) -> None:
    exported = export()
    annotations, _ = write(exported, tmp_path)
    keys = ("image_id", "category_id", "bbox")
    found = [{k: a[k] for k in keys} | {"score": 0.9} for a in exported.content["annotations"]]
    (tmp_path / "found.json").write_text(json.dumps(found))
    metrics = coco_metrics(annotations, tmp_path / "found.json", "bbox", evaluator)
    assert metrics["AP"] == metrics["AR100"] == 1.0


def test_masks_of_cvat_are_crowds_until_the_key_is_changed(tmp_path: Path) -> None:
    exported = cvat(masks_drawn=True)
    with pytest.raises(InputError, match=r"among 3 annotations: 3 of crowds \(iscrowd: 1\)"):
        check(exported, tmp_path)
    for annotation in exported.content["annotations"]:  # as docs/data.md says
        annotation["iscrowd"] = 0
    counts = check(exported, tmp_path)["splits"]["train"]
    assert (counts["objects"], counts["run_lengths"], counts["crowd"]) == (3, 3, 0)


def test_the_run_lengths_here_are_the_boxes() -> None:
    from pycocotools import mask as masks

    for *_, box in BOXES[:2]:
        code = run_lengths(box)
        assert masks.toBbox(masks.frPyObjects(code, *code["size"])).tolist() == box
