"""Natural scenes hold what their specification states."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from icd.data import natural
from icd.data.more_shapes import ALL_OUTLINES
from icd.data.natural import SIZES, NaturalScenes
from icd.data.natural_spec import NaturalSpec
from icd.data.synthetic import SyntheticSpec
from icd.experiments import splits

SIZE = 160


def scenes(spec, count=120, size=SIZE):
    made = NaturalScenes(spec)
    return [made.compose(np.random.default_rng(seed), size) for seed in range(count)]


@pytest.fixture(scope="module")
def drawn():
    return scenes(NaturalSpec())


def relative_sizes(drawn):
    return np.sqrt(np.concatenate([scene.masks.mean(axis=(1, 2)) for scene in drawn]))


def test_numbers_and_sizes_of_objects(drawn):
    counts = np.array([len(scene.labels) for scene in drawn])
    assert counts.mean() == pytest.approx(7, abs=1.5)
    assert counts.max() > 15
    sizes = np.log(relative_sizes(drawn))
    assert np.exp(np.median(sizes)) == pytest.approx(0.1, abs=0.015)
    assert np.exp(np.quantile(sizes, 0.9)) > 0.2  # a long tail


def test_sizes_are_log_normal_within_bounds():
    spec = NaturalSpec(median_size=0.2, size_spread=0.5)
    rng = np.random.default_rng(0)
    sizes = np.log([NaturalScenes(spec).draw_size(rng) for _ in range(4000)])
    assert np.exp(np.median(sizes)) == pytest.approx(0.2, rel=0.05)
    assert np.diff(np.quantile(sizes, [0.1587, 0.8413])) == pytest.approx(1.0, rel=0.07)
    assert np.log(SIZES[0]) <= sizes.min()
    assert sizes.max() <= np.log(SIZES[1])


def test_all_classes_are_drawn_alike(drawn):
    labels = np.concatenate([scene.labels for scene in drawn])
    counts = np.bincount(labels, minlength=16)
    assert len(counts) == 16
    expected = len(labels) / 16
    assert ((counts - expected) ** 2 / expected).sum() < 37.7  # chi-squared, 15 degrees, p = 0.001


def test_the_number_of_classes_is_that_of_the_specification():
    spec = NaturalSpec(classes=9)
    labels = np.concatenate([scene.labels for scene in scenes(spec, 40)])
    assert labels.max() == 8
    names = SyntheticSpec(seed=0, natural=spec).class_names
    assert names == tuple(ALL_OUTLINES)[:9]


def test_masks_show_disjoint_objects_of_the_image(drawn):
    for scene in drawn:
        assert scene.image.shape == (SIZE, SIZE, 3)
        assert scene.masks.sum(axis=0).max() <= 1
        assert scene.masks.any(axis=(1, 2)).all()


@pytest.mark.parametrize("key", ["patches", "distractors", "scribbles", "look_alikes"])
def test_every_kind_of_clutter_is_painted_as_often_as_stated(key, monkeypatch):
    nothing: dict[str, Any] = dict.fromkeys(
        ("patches", "distractors", "scribbles", "look_alikes"), (0, 0)
    )
    painted = []
    monkeypatch.setattr(natural, "paint", lambda canvas, cover, *_: painted.append(cover.any()))
    monkeypatch.setattr(natural, "scribble", lambda canvas, rng: painted.append(True))
    spec = replace(NaturalSpec(), **{**nothing, key: (3, 3)})
    NaturalScenes(spec).background(np.random.default_rng(0), SIZE)
    assert len(painted) == 3


def test_objects_differ_from_their_background_as_stated(monkeypatch):
    looks = []
    monkeypatch.setattr(natural, "paint", lambda *arguments: looks.append(arguments[3]))
    scenes(NaturalSpec(contrast=110, tone=25), 3)
    assert {(look.contrast, look.tone) for look in looks} == {(110, 25)}


def test_look_alikes_are_stretched_as_no_object_is(monkeypatch):
    covers = []
    monkeypatch.setattr(natural, "paint", lambda canvas, cover, *_: covers.append(cover >= 128))
    spec = NaturalSpec(classes=2, median_size=0.2, size_spread=0.0)  # disks and squares
    canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
    for seed in range(30):
        NaturalScenes(spec).paint_look_alike(canvas, np.random.default_rng(seed))
    for cover in covers:
        spreads = np.linalg.eigvalsh(np.cov(np.argwhere(cover).T))
        assert spreads[1] / spreads[0] > 1.7**2 / 1.3  # some are cut by the border


def test_the_track_states_the_same_keys_and_defaults():
    fields_of_track = splits.NaturalScenes.model_fields
    assert [*fields_of_track] == [field.name for field in fields(NaturalSpec)]
    stated = splits.NaturalScenes().model_dump()
    assert NaturalSpec.of(stated) == NaturalSpec()


def test_the_file_states_what_the_track_states():
    parameters = {"seed": 1, "image_size": 96, "natural": {"objects": 3.0, "scribbles": [0, 2]}}
    spec = SyntheticSpec.of(parameters)
    assert spec.natural == NaturalSpec(objects=3.0, scribbles=(0, 2))
    assert SyntheticSpec.of({"seed": 1}) == SyntheticSpec(1)
