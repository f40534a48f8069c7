"""The attention of a trained run, and the figure of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS

from icd.errors import InputError
from icd.experiments.ablation import Ablation, Row
from icd.experiments.run import TrainedRun
from icd.figures import draw_attention
from icd.figures.attention_maps import by_area, load_distiller, load_images, look
from icd.methods.icd.plain import look_up
from icd.methods.tokens import tokenize
from icd.training.distiller import Distiller, targets_of
from tests.lab import Lab, teacher_of

pytestmark = pytest.mark.slow

IMAGE = 2


@pytest.fixture
def run(lab: Lab) -> TrainedRun:
    run = lab.run(method="icd")
    lab.train(run)
    return run


@pytest.fixture
def trained(lab: Lab, run: TrainedRun) -> Distiller:
    return load_distiller(run, lab.inputs)


@pytest.fixture
def sample(lab: Lab, run: TrainedRun) -> dict:
    (sample,) = load_images(run, lab.inputs, [IMAGE])
    return sample


def attention_of(distiller: Distiller, sample: dict) -> torch.Tensor:
    """Softmax of the decoder's logits for the objects as they are: [M, n, L]."""
    data = {name: [value] for name, value in sample.items()}
    batch = distiller.student.data_preprocessor(data, False)
    targets = targets_of(batch["inputs"], batch["data_samples"], distiller.levels.strides)
    height, width = targets.image_sizes[0]
    boxes = targets.boxes[0] / torch.tensor([width, height, width, height])
    sizes = boxes[:, 2:] - boxes[:, :2]

    class Asked:
        labels = targets.labels[0][None]
        centres = ((boxes[:, :2] + boxes[:, 2:]) / 2)[None]
        pixel_sizes = (sizes * torch.tensor([width, height]))[None]

    features = distiller.teacher.features(
        distiller.renormalise(batch["inputs"], targets.image_sizes)
    )
    tokens = tokenize(features, targets.image_sizes, targets.padded_size)
    method: Any = distiller.method
    return method.decoder(method.encoder(Asked), tokens, look_up)[-1].logits[0].softmax(dim=-1)


@torch.no_grad()
def test_masks_are_what_the_method_computes(trained: Distiller, sample: dict) -> None:
    masks = look(trained, sample, rank=0)
    height, width = masks.image.shape[:2]
    assert masks.heads.shape == (4, height, width)
    for density in (*masks.heads, *masks.where.values()):
        assert density.sum() == pytest.approx(1)
    expected = attention_of(trained, sample)
    # Of each pixel's share, that of its cell on the finest level is known.
    fine, stride = expected[:, masks.chosen, :64].unflatten(1, (8, 8)), 8
    coarse = masks.heads - fine.numpy().repeat(stride, 1).repeat(stride, 2) / stride**2
    assert coarse.min() > -1e-6, "what is left is of the coarser levels"
    assert coarse.sum(axis=(1, 2)) == pytest.approx(
        expected[:, masks.chosen, 64:].sum(dim=1).numpy(), abs=1e-5
    )
    assert masks.where["instance"].max() > masks.where["instance"].min() > 0


def test_scaled_levels_are_looked_at_as_the_decoder_sees_them(
    lab: Lab, sample: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teacher ten times as large, whose RMS is known to be so, has the same attention."""
    distiller = MODELS.build(
        lab.config(lab.run(method="icd", options={"scale_levels": True})).model
    )
    before, features = look(distiller.eval(), sample, rank=0), distiller.teacher.features
    monkeypatch.setattr(
        distiller.teacher, "features", lambda images: [10 * x for x in features(images)]
    )
    distiller.method.level_scale.mean_square *= 100
    np.testing.assert_allclose(look(distiller, sample, rank=0).heads, before.heads, rtol=1e-3)


def test_foreground_lies_on_the_boxes(trained: Distiller, sample: dict) -> None:
    """Every pixel with a large share is in a cell that a box reaches, and no object is left out."""
    masks = look(trained, sample, rank=0)
    inside = np.zeros(masks.image.shape[:2], bool)
    for x1, y1, x2, y2 in masks.boxes.round().astype(int):
        inside[max(y1 - 8, 0) : y2 + 8, max(x1 - 8, 0) : x2 + 8] = True
    share = masks.where["foreground"]
    assert not (share > 0.9 * share.max())[~inside].any()
    for x1, y1, x2, y2 in masks.boxes.round().astype(int):
        assert share[y1:y2, x1:x2].max() > 0


def test_shows_the_image_and_its_annotations(lab: Lab, trained: Distiller, sample: dict) -> None:
    truth = json.loads((lab.track.annotations("test")).read_text())
    boxes = [a["bbox"] for a in truth["annotations"] if a["image_id"] == IMAGE]
    expected = [[x, y, x + width, y + height] for x, y, width, height in boxes]
    for rank in range(2 * len(boxes)):
        masks = look(trained, sample, rank)
        np.testing.assert_allclose(masks.boxes, expected, atol=1e-4)
        assert masks.chosen == by_area(torch.tensor(expected))[rank % len(boxes)]


def test_annotations_may_lack_their_area(lab: Lab, run: TrainedRun, sample: dict) -> None:
    file = lab.track.annotations("test")
    complete = file.read_text()
    content = json.loads(complete)
    for annotation in content["annotations"]:
        del annotation["area"]
    file.write_text(json.dumps(content))
    try:
        (bare,) = load_images(run, lab.inputs, [IMAGE])
    finally:
        file.write_text(complete)
    boxes, expected = (x["data_samples"].gt_instances.bboxes.tensor for x in (bare, sample))
    assert torch.equal(boxes, expected)


def test_a_teacher_with_other_levels_is_looked_at_where_both_have_them(lab: Lab) -> None:
    run = lab.run(method="icd", teacher={"detector": "faster-rcnn"})  # P2 to P6, not P3 to P7
    lab.place_untrained(teacher_of(run))
    distiller = MODELS.build(lab.config(run).model)
    (sample,) = load_images(run, lab.inputs, [IMAGE])
    masks = look(distiller.eval(), sample, rank=0)
    for density in (*masks.heads, *masks.where.values()):
        assert density.sum() == pytest.approx(1)


def test_is_deterministic(trained: Distiller, sample: dict) -> None:
    first, again = (look(trained, sample, 1) for _ in range(2))
    assert np.array_equal(first.heads, again.heads)


def test_boxes_are_resized_with_their_image(lab: Lab, run: TrainedRun) -> None:
    twice = lab.changed({"images": {"scale": [128, 128]}})
    larger = run.model_copy(update={"images": twice.track.content.images})
    (small,), (large,) = (load_images(one, lab.inputs, [IMAGE]) for one in (run, larger))
    boxes, doubled = (one["data_samples"].gt_instances.bboxes.tensor for one in (small, large))
    torch.testing.assert_close(doubled, 2 * boxes)
    assert large["inputs"].shape[-1] == 2 * small["inputs"].shape[-1]


def test_draws_the_attention(lab: Lab, run: TrainedRun, tmp_path: Path) -> None:
    ablation = Ablation(
        "main",
        "",
        "",
        "",
        "icd",
        (Row("icd", "ICD", (run,), None),),
        figures={"attention": ("icd",)},
    )
    outputs = [tmp_path / f"{name}{kind}" for name in "ab" for kind in (".svg", ".png")]
    for files in (outputs[:2], outputs[2:]):
        draw_attention.write(ablation, lab.track, [lab.survey], files)
    first, second = outputs[:2], outputs[2:]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert "heads 1 to 4" in outputs[0].read_text()


def test_says_how_to_get_the_weights_of_the_method(lab: Lab, run: TrainedRun) -> None:
    (lab.folder(run) / "method.pth").unlink()
    with pytest.raises(InputError, match=r"method\.pth: does not exist; .*train again"):
        load_distiller(run, lab.inputs)


def test_an_ablation_without_the_row_is_named(lab: Lab, tmp_path: Path) -> None:
    ablation = Ablation("main", "", "", "", "student", (), figures={"attention": ("icd",)})
    with pytest.raises(InputError, match=r"main\.yaml: rows: has no row 'icd'"):
        draw_attention.write(ablation, lab.track, [lab.survey], [tmp_path / "a.svg"])
