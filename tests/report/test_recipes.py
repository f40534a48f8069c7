"""Descriptions of how baselines and teachers were trained."""

from __future__ import annotations

import pytest

from icd.experiments.ablation import load_ablation
from icd.experiments.track import load_track
from icd.report.recipes import recipes


def test_baselines_that_differ_in_their_pre_training_say_so():
    text = recipes(load_ablation("pretraining", load_track("mini")))
    one, own = text.split("): ", 1)[1].split(". Teacher")[0].split("; ")
    assert one.endswith(": nothing else")
    assert own.endswith(": each seed with its own pre-training")


@pytest.mark.parametrize(("track", "expected"), [("mini", False), ("desk", True)])
def test_a_teacher_for_each_seed_is_mentioned(track, expected):
    text = recipes(load_ablation("main", load_track(track)))
    assert ("each seed of the student with its own teacher" in text) == expected


def test_what_baselines_share_stands_once():
    text = recipes(load_ablation("detectors", load_track("mini")))
    assert text.count("pre-trained 2x on the split pretrain") == 1
    assert "Faster R-CNN, student: faster-rcnn" in text
