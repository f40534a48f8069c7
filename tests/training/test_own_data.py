"""Training, distilling and evaluating on data sets with missing or unusual content."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.dataset import pseudo_collate
from PIL import Image
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from icd.__main__ import main
from icd.data.contents import load_memory
from icd.data.survey import memory_of, write_survey
from icd.errors import InputError
from icd.evaluation.coco import NAMES, coco_metrics
from icd.experiments.annotation_files import make
from icd.experiments.run import TrainedRun
from icd.experiments.track import load_track
from icd.training.dataset import CompletedCocoDataset
from icd.training.distiller import targets_of
from icd.training.masks import require_masks
from tests.experiments.track_files import laid_over
from tests.lab import SMALL, Lab

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 64, 48
CATEGORIES = [{"id": 70, "name": "kite"}, {"id": 3, "name": "ant"}, {"id": 12, "name": "bee"}]
MODES = ("RGB", "L", "I;16", "CMYK", "RGBA", "P", "RGB", "L")  # one image each
EMPTY, CROWD = 6, 1  # places of an image without annotations and of one with a crowd


def picture(mode: str, seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    if mode == "I;16":
        return Image.fromarray(values[:, :, 0].astype(np.uint16) * 256)
    return Image.fromarray(values).convert(mode)


def objects() -> list[dict[str, Any]]:
    """Boxes alone, but for a crowd with its mask as run lengths; ids in no order."""
    found = []
    for i in range(len(MODES)):
        for k in range(0 if i == EMPTY else 1 + i % 3):
            box = [3 + 5 * k + i, 4 + 6 * k, 18 + 2 * i, 14 + 3 * k]
            category = CATEGORIES[(i + k) % 2]["id"]  # of the third, there is none
            found.append({"image_id": 900 - 7 * i, "category_id": category, "bbox": box})
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH // 2, HEIGHT * WIDTH // 2]}
    found.append({"image_id": 900 - 7 * CROWD, "category_id": 70, "segmentation": crowd})
    found[-1] |= {"bbox": [0, 0, WIDTH // 2, HEIGHT], "iscrowd": 1}
    return [{"id": 5000 - i, **annotation} for i, annotation in enumerate(found)]


def completed(content: dict[str, Any]) -> dict[str, Any]:
    """The same with all that mmdet and pycocotools ask for, filled in by hand."""
    content = copy.deepcopy(content)
    for annotation in content["annotations"]:
        _, _, width, height = annotation["bbox"]
        annotation |= {"area": width * height, "iscrowd": annotation.get("iscrowd", 0)}
    return content


@dataclass(frozen=True)
class OwnData:
    """A lab on such a data set; ``content`` is that of the annotation files of both splits."""

    lab: Lab
    content: dict[str, Any]


def write_images(folder: Path) -> list[dict[str, Any]]:
    """Images of all modes, half of them in a sub-folder; their entries."""
    (folder / "more").mkdir(parents=True)
    images = []
    for i, mode in enumerate(MODES):
        name = f"{'more/' * (i % 2)}{i}.{'jpg' if mode == 'CMYK' else 'png'}"
        picture(mode, i).save(folder / name)
        size = {"width": WIDTH, "height": HEIGHT}
        images.append({"id": 900 - 7 * i, "file_name": name, **size})
    return images


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> OwnData:
    root = tmp_path_factory.mktemp("own")
    content = {
        "images": write_images(root / "images"),
        "annotations": objects(),
        "categories": CATEGORIES,
    }
    (root / "all.json").write_text(json.dumps(content))
    split = {"annotations": "all.json", "images": "images"}
    track = {
        "extends": "mini",
        "name": "own",
        "title": "A data set of one's own",
        "data": {"root": str(root), "splits": {"train": split, "test": split}},
    }
    (root / "own.yaml").write_text(yaml.safe_dump(track))
    loaded = load_track(str(root / "own.yaml"))
    small = {key: value for key, value in SMALL.items() if key != "data"}
    small["recipe"] = {"unit": 3, "batch_size": 4, "ramp": 0}
    loaded = laid_over(loaded, small)
    write_survey(loaded.split_files, root / "data.json")
    return OwnData(Lab(loaded, root / "data.json", root), content)


@pytest.fixture
def own(made: OwnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnData:
    """In a fresh folder, the current one, with a teacher of random weights."""
    lab = made.lab.at(tmp_path)
    monkeypatch.chdir(tmp_path)
    lab.place_untrained(lab.run(role="teacher"))
    return replace(made, lab=lab)


@pytest.mark.parametrize("change", [{}, {"method": "icd", "inherit": True}], ids=["plain", "icd"])
def test_it_is_trained_on_and_evaluated(own: OwnData, change: dict[str, Any]) -> None:
    run = own.lab.run(**change)
    folder = own.lab.train(run)
    metrics = own.lab.evaluate(run)["metrics"]
    (folder / "completed.json").write_text(json.dumps(completed(own.content)))
    found = json.loads((folder / "test/bbox.json").read_text())
    assert {guess["category_id"] for guess in found} <= {c["id"] for c in CATEGORIES}
    assert {guess["image_id"] for guess in found} == {
        image["id"] for image in own.content["images"]
    }
    assert metrics == {"bbox": reference(folder / "completed.json", found)}


def reference(annotations: Path, found: list[dict[str, Any]]) -> dict[str, float | None]:
    """pycocotools' own metrics on a complete file."""
    truth = COCO(annotations)
    evaluator = COCOeval(truth, truth.loadRes(copy.deepcopy(found)), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    values = zip(NAMES, evaluator.stats.tolist(), strict=True)
    return {name: None if value == -1 else value for name, value in values}


def test_crowds_are_neither_missed_nor_mistakes(own: OwnData) -> None:
    objects = [a for a in own.content["annotations"] if not a.get("iscrowd")]
    found = [{**a, "score": 0.9} for a in objects]
    inside = {**found[0], "bbox": [1, 20, 12, 12], "image_id": 900 - 7 * CROWD, "score": 0.95}
    inside["category_id"] = 70
    Path("found.json").write_text(json.dumps([*found, inside]))
    metrics = coco_metrics(own.lab.data / "all.json", Path("found.json"), "bbox")
    assert metrics["AP"] == metrics["AR100"] == 1.0
    moved = {**inside, "bbox": [45, 20, 12, 12]}  # outside of the crowd, it is a mistake
    Path("found.json").write_text(json.dumps([*found, moved]))
    precision = coco_metrics(own.lab.data / "all.json", Path("found.json"), "bbox")["AP"]
    assert precision is not None
    assert precision < 1.0


def test_no_crowd_is_shown_to_a_method(own: OwnData) -> None:
    config = own.lab.config(own.lab.run(method="icd"))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert len(dataset) == len(MODES) - 1  # none of them is the image without objects
    expected = [1 + i % 3 for i in range(len(MODES)) if i != EMPTY]
    batch = pseudo_collate([dataset[i] for i in range(len(dataset))])
    found = targets_of(torch.zeros(1, 3, 64, 64), batch["data_samples"], [])
    assert [len(boxes) for boxes in found.boxes] == expected
    crowds = [len(sample.ignored_instances) for sample in batch["data_samples"]]
    assert crowds == [int(i == CROWD) for i in range(len(MODES)) if i != EMPTY]
    assert {int(label) for labels in found.labels for label in labels} == {0, 1}


@pytest.fixture
def copied(own: OwnData) -> OwnData:
    """The same with images of its own, which a test may change."""
    data = Path("copied").absolute()
    shutil.copytree(own.lab.data, data)
    return replace(own, lab=replace(own.lab, track=replace(own.lab.track, data_root=data)))


def test_a_broken_image_ends_a_training_before_its_first_iteration(copied: OwnData) -> None:
    """Also if it broke after the check; what a training has read, the next does not read again."""
    lab, name = copied.lab, copied.content["images"][4]["file_name"]
    image = lab.data / "images" / name
    whole = image.read_bytes()
    image.write_bytes(whole[:-30])
    run = lab.run()
    problem = rf"all\.json: images\[4\]\.file_name: {name} cannot be decoded \(.*; expected a compl"
    with pytest.raises(InputError, match=problem):
        lab.train(run)
    assert not (lab.folder(run) / "model.pth").exists()
    known = load_memory(memory_of(lab.survey, "train", lab.data / "images"))
    assert known.images.keys() == {i["file_name"] for i in copied.content["images"]} - {name}
    image.write_bytes(whole)
    lab.train(run)


def test_a_training_and_an_evaluation_record_the_images_that_they_read(copied: OwnData) -> None:
    """Images that were replaced after the check are not those of which the priors are."""
    lab, run = copied.lab, copied.lab.run()
    surveyed = lab.inputs.survey["splits"]["train"]["contents_sha256"]
    folder = lab.train(run)
    assert json.loads((folder / "manifest.json").read_text())["inputs"]["contents"] == surveyed
    assert lab.evaluate(run)["contents_sha256"] == surveyed
    image = lab.data / "images" / copied.content["images"][2]["file_name"]
    content = bytearray(image.read_bytes())
    content[-1] ^= 1
    image.write_bytes(content)
    with pytest.raises(InputError, match="images: has changed since the data were checked; exp"):
        lab.train(lab.run(seed=1))
    assert lab.evaluate(run)["contents_sha256"] not in (surveyed, None)


def test_a_training_and_an_evaluation_name_the_images_that_they_leave_out(copied: OwnData) -> None:
    name = copied.content["images"][4]["file_name"]
    image = copied.lab.data / "images" / name
    image.write_bytes(image.read_bytes()[:-30])
    splits = {key: {"skip_broken": True} for key in ("train", "test")}
    lab = copied.lab.changed({"data": {"splits": splits}})
    make(lab.track, "train")
    lab = replace(lab, survey=Path("data.json").absolute())
    write_survey(lab.track.split_files, lab.survey, decode_all=True)
    folder = lab.train(lab.run())
    assert json.loads((folder / "manifest.json").read_text())["left_out"] == [name]
    assert lab.evaluate(lab.run())["left_out"] == [name]
    detections = json.loads((folder / "test/bbox.json").read_text())
    seen = {image["id"] for image in copied.content["images"] if image["file_name"] != name}
    assert {guess["image_id"] for guess in detections} == seen


def test_a_broken_image_ends_an_evaluation_in_one_line(copied: OwnData) -> None:
    lab, name = copied.lab, copied.content["images"][1]["file_name"]
    image = lab.data / "images" / name
    image.write_bytes(image.read_bytes()[:-30])
    run = lab.run(role="teacher")
    lab.place_untrained(run)
    with pytest.raises(InputError, match=rf"images\[1\]\.file_name: {name} cannot be decoded"):
        lab.evaluate(run)


def read(kind: type[CocoDataset], file: Path, **options: Any) -> CocoDataset:
    classes = {"classes": [category["name"] for category in CATEGORIES]}
    prefix = {"img": "images"}
    return kind(ann_file=str(file), data_prefix=prefix, metainfo=classes, pipeline=[], **options)


@pytest.mark.parametrize("name", ["as it came", "completed"])
def test_what_is_read_is_what_mmdet_reads_of_a_complete_file(own: OwnData, name: str) -> None:
    Path("completed.json").write_text(json.dumps(completed(own.content)))
    came = own.lab.data / "all.json"
    ours = read(CompletedCocoDataset, came if name == "as it came" else Path("completed.json"))
    theirs = read(CocoDataset, Path("completed.json"))
    assert list(ours) == list(theirs)
    assert len(ours) == len(MODES)


def test_a_data_set_of_which_nothing_can_be_learned_is_named(own: OwnData) -> None:
    limits = {"filter_empty_gt": True, "min_size": 999}
    with pytest.raises(InputError, match=r"all\.json: images: none is left.* 999 pixels"):
        read(CompletedCocoDataset, own.lab.data / "all.json", filter_cfg=limits)


def survey_of(lab: Lab, split: str, **counts: int) -> Lab:
    """A survey that found something else in a split."""
    inputs = json.loads(lab.survey.read_text())
    for name in ("train", "test"):
        inputs["splits"][name] |= {"without_mask": 0, "run_lengths": 0}
    inputs["splits"][split] |= counts
    Path("survey.json").write_text(json.dumps(inputs))
    return replace(lab, survey=Path("survey.json").absolute())


@pytest.mark.parametrize(
    ("detector", "without_mask", "run_lengths"),
    [
        ("retinanet", True, True),
        ("faster-rcnn", True, True),
        ("mask-rcnn", False, True),
        ("solov2", False, True),
        ("condinst", False, False),
    ],
)
def test_a_detector_of_masks_asks_for_masks(
    own: OwnData, detector: str, without_mask: bool, run_lengths: bool
) -> None:
    run = own.lab.run(detector=detector)
    expected = rf"all\.json: annotations: 4 have .* the detector {detector} learns masks; "
    for split, key, learns in (
        ("train", "without_mask", without_mask),
        ("test", "without_mask", without_mask),
        ("train", "run_lengths", run_lengths),
        ("test", "run_lengths", True),  # pycocotools reads them
    ):
        inputs = survey_of(own.lab, split, **{key: 4}).inputs
        if learns:
            require_masks(run, inputs)
        else:
            with pytest.raises(InputError, match=expected + "expected polygons"):
                require_masks(run, inputs)


def test_a_pre_training_asks_for_the_masks_of_its_own_split(own: OwnData) -> None:
    run = own.lab.run(detector="mask-rcnn")
    files = run.files | {"extra": run.files["train"]}
    other = run.model_copy(update={"trained_on": "extra", "files": files})
    inputs = survey_of(own.lab, "train", without_mask=4).inputs
    splits = inputs.survey["splits"]
    splits["extra"] = {"without_mask": 0, "run_lengths": 0}
    require_masks(other, inputs)
    splits["extra"] = {"without_mask": 4}
    with pytest.raises(InputError, match="annotations: 4 have no mask"):
        require_masks(other, inputs)


def test_training_asks_for_masks(own: OwnData) -> None:
    run: TrainedRun = own.lab.run(detector="mask-rcnn")
    with pytest.raises(InputError, match=r"all\.json: annotations: 14 have no mask"):
        own.lab.train(run)


def test_check_names_the_detectors_that_the_data_suits(
    own: OwnData, capsys: pytest.CaptureFixture
) -> None:
    track = str(own.lab.data / "own.yaml")
    assert main(["check", track]) == 0
    printed = capsys.readouterr().out
    suited = "retinanet, retinanet-plain-fpn, fcos, atss, gfl, faster-rcnn"
    assert f"detectors for this data: {suited} (not, because they learn masks: " in printed
    assert "masks: condinst, mask-rcnn, solov2)" in printed
    assert "annotations without area (that of the mask or box is used): 15" in printed
    assert "written: results/own/data.json, results/own/samples.png" in printed

    content = yaml.safe_load(Path(track).read_text())
    content["detectors"] = {"retinanet": {"config": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"}}
    Path("masks.yaml").write_text(yaml.safe_dump(content))
    assert main(["check", "masks.yaml"]) == 2
    error = capsys.readouterr().err
    assert "all.json: annotations: 14 have no mask, but the detector retinanet learns" in error


def test_masks_of_any_form_are_learned(own: OwnData) -> None:
    """Polygons, run lengths and packed ones are the same to a detector of bitmaps."""
    content = completed(own.content)
    for i, annotation in enumerate(content["annotations"]):
        x, y, width, height = annotation["bbox"]
        mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
        mask[y : y + height, x : x + width] = 1
        code = masks.encode(mask)
        forms = [
            {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode()},
            [[x, y, x + width, y, x + width, y + height, x, y + height]],
        ]
        annotation["segmentation"] = forms[i % 2]
    Path("masks.json").write_text(json.dumps(content))
    split = {"annotations": str(Path("masks.json").absolute()), "images": "images"}
    lab = own.lab.changed({"data": {"splits": {"train": split, "test": split}}})
    write_survey(lab.track.split_files, Path("data.json").absolute())
    lab = replace(lab, survey=Path("data.json").absolute())
    run = lab.run(detector="mask-rcnn")
    require_masks(run, lab.inputs)
    dataset = DATASETS.build(lab.config(run).train_dataloader.dataset)
    for i in range(len(dataset)):
        instances = dataset[i]["data_samples"].gt_instances
        areas = (instances.bboxes.tensor[:, 2:] - instances.bboxes.tensor[:, :2]).prod(1)
        assert instances.masks.areas == pytest.approx(areas.numpy(), rel=0.05)


def test_a_part_of_the_images_is_trained_on(own: OwnData) -> None:
    """By all that read the training images; the whole of the others is evaluated."""
    part = {"fraction": 0.5, "seed": 1}
    lab = own.lab.changed({"data": {"splits": {"train": {"subset": part}}}})
    file = make(lab.track, "train")
    ids = {image["id"] for image in json.loads(file.read_text())["images"]}
    assert len(ids) == len(MODES) // 2
    survey = write_survey(lab.track.split_files, Path("data.json").absolute())
    assert [survey["splits"][name]["images"] for name in ("train", "test")] == [len(ids), 8]
    lab = replace(lab, survey=Path("data.json").absolute())
    run = lab.run()
    dataset = DATASETS.build(lab.config(run).train_dataloader.dataset)
    assert {dataset.get_data_info(i)["img_id"] for i in range(len(dataset))} <= ids
    lab.place_untrained(lab.run(role="teacher"))
    lab.train(run)
    assert lab.evaluate(run)["metrics"]["bbox"].keys() == {*NAMES}
    assert lab.evaluate(run, "train")["metrics"]["bbox"].keys() == {*NAMES}
    found = json.loads((lab.folder(run) / "train/bbox.json").read_text())
    assert {guess["image_id"] for guess in found} <= ids
    file.write_text(file.read_text().replace('"bbox":[3', '"bbox":[4'))
    for use in (lambda: lab.train(lab.run(seed=1)), lambda: lab.evaluate(run, "train")):
        with pytest.raises(InputError, match=r"all-\w+\.json: info\.made\.sha256: is"):
            use()
