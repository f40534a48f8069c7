"""Runs that train a decoder alone: who shares them, and what names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from icd.experiments.ablation import with_sources
from icd.experiments.kind import kinds, rehearsal_of
from icd.experiments.options import shipped_methods
from icd.experiments.plan import plan_text
from icd.experiments.run import DecoderRun, TrainedRun, read_run
from tests.experiments.test_plan import lines
from tests.experiments.test_run import STUDENT
from tests.experiments.track_files import MINI, changed, described, track

WARM: dict[str, Any] = {"method": "icd", "decoder": {"warm": 4000}}
ONE_TEACHER = changed(MINI, "roles.teacher.seed", 0)


def student(change: dict[str, Any], content: dict[str, Any] = ONE_TEACHER, seed: int = 0) -> Any:
    return described(track(content), WARM | change, seed)


DECODER = student({}).decoder


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"weight": 2.0, "temperature": 2.0, "warmup": 7, "normalise": False}},
        {"options": {"where": "foreground"}},
        {"options": {"fakes": True}},
        {"options": {"heads": 8}},  # the default
        {"backbone": "resnet18-w16", "schedule": "3x", "inherit": True, "pretrained": "own"},
        {"adapter": True},
    ],
    ids=str,
)
def test_students_of_any_kind_and_seed_share_a_decoder(change: dict[str, Any]) -> None:
    other = student(change, seed=2)
    assert other.id != student({}).id
    assert other.decoder.id == DECODER.id


@pytest.mark.parametrize(
    "change",
    [
        {"teacher": {"schedule": "2x"}},
        {"options": {"layers": 2}},
        {"options": {"fake_ratio": 2.0}},
        {"options": {"value_space": "fixed"}},
        {"decoder": {"warm": 4001}},
        {"decoder": {"warm": 4000, "optimizer": {"lr": 2.0e-3}}},
    ],
    ids=str,
)
def test_another_teacher_or_decoder_is_another_run(change: dict[str, Any]) -> None:
    assert student(change).decoder.id != DECODER.id


def test_seeds_with_teachers_of_their_own_have_decoders_of_their_own() -> None:
    ours = [student({}, MINI, seed) for seed in (0, 1)]
    assert len({run.decoder.id for run in ours}) == 2
    assert [run.decoder.teacher.id for run in ours] == [run.teacher.id for run in ours]


def test_the_recipe_of_students_does_not_matter_but_for_their_batches() -> None:
    other = changed(ONE_TEACHER, "roles.student.recipe", {"optimizer": {"lr": 9.0}, "ramp": 9})
    assert student({}, other).decoder.id == DECODER.id
    other = changed(ONE_TEACHER, "roles.student.recipe", {"batch_size": 16})
    assert student({}, other).decoder.id != DECODER.id


def test_every_option_is_either_of_the_decoder_or_of_the_student() -> None:
    method = shipped_methods()["icd"]
    assert method.student_options
    assert {*method.student_options} < {*method.options.model_fields}
    assert {name for name, one in shipped_methods().items() if one.student_options} == {"icd"}


def test_without_it_no_run_is_renamed() -> None:
    for change in ({}, {"decoder": {"warm": 0}}):
        run = described(track(), {"method": "icd", "inherit": True} | change, 0)
        assert run.decoder is None
        assert run.id == STUDENT.id


def test_a_track_states_it_for_all_rows_and_a_row_departs_from_it() -> None:
    optimizer = {"lr": 3.0e-3}
    stated = changed(
        ONE_TEACHER, "methods.icd.decoder", {"warm": 4000, "optimizer": {"lr": 3.0e-3}}
    )
    run = described(track(stated), {"method": "icd"}, 0)
    assert run.decoder.id == student({"decoder": {"warm": 4000, "optimizer": optimizer}}).decoder.id
    assert run.decoder.recipe.optimizer.lr == 3.0e-3
    assert run.decoder.recipe.optimizer.clip == run.method.optimizer.clip
    assert run.method.optimizer.lr != 3.0e-3, "students learn on with the method's own"
    shorter = described(track(stated), {"method": "icd", "decoder": {"warm": 10}}, 0).decoder
    assert (shorter.iterations, shorter.recipe.optimizer.lr) == (10, 3.0e-3)
    off = described(track(stated), {"method": "icd", "decoder": {"warm": 0}}, 0)
    assert off.decoder is None
    assert off.id == described(track(ONE_TEACHER), {"method": "icd"}, 0).id
    nothing = {"method": "icd", "options": {"auxiliary": []}}
    assert described(track(stated), nothing, 0).decoder is None, "it learns from nothing"


def test_a_description_is_read_back() -> None:
    run = student({})
    for one in (run, run.decoder):
        assert read_run(one.description, Path("run.json")).id == one.id
    assert isinstance(read_run(run.decoder.description, Path("run.json")), DecoderRun)
    assert run.sources_by_role.keys() == {"pretrained", "teacher", "decoder"}


def test_a_kind_is_rehearsed_with_or_without_it() -> None:
    run, plain = student({}), described(track(ONE_TEACHER), {"method": "icd"}, 0)
    assert rehearsal_of(run).id == rehearsal_of(plain).id
    assert len(kinds(with_sources([run]))) == 3  # teacher, pre-training, student


def test_the_plan_lists_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from icd.experiments.ablation import load_ablation

    monkeypatch.chdir(tmp_path)
    warm = track(changed(ONE_TEACHER, "methods.icd.decoder", {"warm": 4000}))
    plain = track(ONE_TEACHER)
    counts = []
    for one in (plain, warm):
        tables = [load_ablation(name, one) for name in ("main", "weight")]
        text = plan_text(one, tables)
        counts.append(int(lines(text)["all, each run once"][0]))
    assert counts[1] == counts[0] + 1
    (decoder,) = {run.id: run for run in tables[1].runs if isinstance(run, DecoderRun)}.values()
    assert decoder.slug in decoder.id
    assert "kinds" in text
    decoder.folder.mkdir(parents=True)
    decoder.weights.touch()
    assert lines(plan_text(warm, tables))["all, each run once"][1] == "1"
    assert all(
        run.decoder == decoder
        for run in tables[1].measured
        if isinstance(run, TrainedRun) and run.method
    )
