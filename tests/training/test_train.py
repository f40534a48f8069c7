"""Whole runs, from the description to the exported detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import IterBasedTrainLoop

from icd.data.contents import listing_sha256
from icd.errors import InputError
from icd.experiments.run import TrainedRun
from icd.files import sha256, write_json
from icd.methods.icd.method import ICD
from icd.methods.icd.sampling import QuerySamples
from icd.methods.tokens import Targets
from icd.training import train
from icd.training.hooks.progress import ProgressHook
from tests.lab import Lab, differing, teacher_of, weights

pytestmark = pytest.mark.slow

PLAIN: dict[str, Any] = {}
DISTILLED: dict[str, Any] = {"method": "icd"}
TWO_STAGE: dict[str, Any] = {"detector": "faster-rcnn"}


class CrashError(Exception):
    """Stands for whatever kills a process."""


def watch(monkeypatch: pytest.MonkeyPatch, crash_after: int | None = None) -> list[int]:
    """The iterations, from 1, of all trainings from now on.

    They die after ``crash_after``, before its checkpoint is written.
    """
    seen, follow = [], ProgressHook.after_train_iter

    def watched(hook: ProgressHook, runner: Any, *args: object, **kwargs: object) -> None:
        follow(hook, runner, *args, **kwargs)
        seen.append(runner.iter + 1)
        if seen[-1] == crash_after:
            raise CrashError

    monkeypatch.setattr(ProgressHook, "after_train_iter", watched)
    return seen


def skip_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs export the weights that they start with."""

    def idle(loop: IterBasedTrainLoop, batch: object) -> None:
        loop._iter += 1

    monkeypatch.setattr(IterBasedTrainLoop, "run_iter", idle)


@pytest.mark.parametrize("change", [PLAIN, DISTILLED])
def test_leaves_a_detector_and_its_provenance(
    lab: Lab, change: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A longer name takes more lines of the manifest.
    monkeypatch.setattr("icd.training.manifest.processor", lambda: "AMD EPYC")
    run = lab.run(**change)
    folder = lab.train(run)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["run"] == run.id
    assert manifest["description"] == run.description
    config = json.loads((folder / "config.json").read_text())
    assert config["train_cfg"]["max_iters"] == 6
    assert "config" not in manifest
    assert len((folder / "manifest.json").read_text().splitlines()) <= 65
    assert manifest["seconds"] > 0
    surveyed = lab.inputs.survey["splits"]["train"]
    images = sorted(lab.track.images("train").iterdir())
    names, sizes = [image.name for image in images], [image.stat().st_size for image in images]
    assert manifest["inputs"] == {
        "annotations": surveyed["sha256"],
        "images": listing_sha256(names, sizes),
        "contents": surveyed["contents_sha256"],
        "survey": sha256(lab.survey),
        **({"teacher": sha256(lab.folder(run.teacher) / "model.pth")} if run.teacher else {}),
    }
    names = ["model.pth", "method.pth"] if run.distils else ["model.pth"]
    assert manifest["outputs"] == {name: sha256(folder / name) for name in names}
    checkpoint = torch.load(folder / "model.pth", weights_only=True)
    assert checkpoint["meta"]["dataset_meta"]["classes"] == lab.inputs.survey["classes"]
    assert {name.split(".")[0] for name in weights(folder)} == {"backbone", "neck", "bbox_head"}
    assert "icd" not in (folder / "model.py").read_text().replace(str(lab.data), "")


@pytest.mark.parametrize(
    ("change", "precision"),
    [
        (PLAIN, "float32"),
        (DISTILLED, "float32"),
        (TWO_STAGE, "float32"),
        (DISTILLED, "bfloat16"),
        (TWO_STAGE, "bfloat16"),
    ],
)
def test_the_seed_decides_and_an_interruption_does_not(
    lab: Lab, tmp_path: Path, change: dict, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision != "float32":
        lab = lab.changed({"recipe": {"precision": precision}})
    run = lab.run(**change)
    if run.teacher and not lab.folder(run.teacher).exists():
        lab.place_untrained(teacher_of(run))
    whole = weights(lab.train(run, checkpoint_every=1000))
    other = lab.at(tmp_path / "interrupted")
    if run.teacher:
        other.place(run.teacher, lab)
    with monkeypatch.context() as patch:
        seen = watch(patch, crash_after=5)
        with pytest.raises(CrashError):
            other.train(run, checkpoint_every=2)
        assert seen == [1, 2, 3, 4, 5]
    assert not (other.folder(run) / "model.pth").exists()
    with monkeypatch.context() as patch:
        seen = watch(patch)
        resumed = weights(other.train(run, checkpoint_every=2))
        assert seen == [5, 6]
    assert not differing(resumed, whole)


def test_the_same_seed_gives_the_same_detector_and_metrics(lab: Lab, tmp_path: Path) -> None:
    run = lab.run()
    labs = [lab.at(tmp_path / place) for place in ("first", "again")]
    first, again = (weights(each.train(run)) for each in labs)
    assert not differing(first, again)
    first, again = (each.evaluate(run) for each in labs)
    assert first["metrics"] == again["metrics"]
    assert first["bootstrap"] == again["bootstrap"]


def test_another_seed_gives_another_detector(lab: Lab) -> None:
    first, second = (weights(lab.train(lab.run(seed))) for seed in (0, 1))
    assert "bbox_head.retina_cls.weight" in differing(first, second)


def test_the_method_does_not_change_how_the_student_starts(
    lab: Lab, teacher: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_training(monkeypatch)
    plain, distilled, inheriting = (
        weights(lab.train(lab.run(**change)))
        for change in (PLAIN, DISTILLED, DISTILLED | {"inherit": True})
    )
    assert not differing(plain, distilled)
    theirs = weights(lab.folder(teacher))
    for name in differing(plain, inheriting):
        assert not name.startswith("backbone.")
        assert torch.equal(inheriting[name], theirs[name])
    assert torch.equal(
        inheriting["bbox_head.retina_cls.weight"], theirs["bbox_head.retina_cls.weight"]
    )


def test_everything_trains_but_the_teacher(lab: Lab, teacher: TrainedRun) -> None:
    run, before = lab.run(**DISTILLED), weights(lab.folder(teacher))
    folder = lab.train(run, checkpoint_every=1)
    earlier, later = (
        torch.load(folder / "work" / f"iter_{i}.pth", weights_only=False)["state_dict"]
        for i in (5, 6)
    )
    assert {name.split(".")[0] for name in later} == {"student", "method"}
    still = later.keys() - set(differing(earlier, later))
    # They move all logits of a query alike, so their gradient is nothing but rounding.
    assert all(name.endswith(("key.bias", "position.bias")) for name in still)
    exported = {f"student.{name}": value for name, value in weights(folder).items()}
    assert not differing(exported, {n: v for n, v in later.items() if n.startswith("student.")})
    assert not differing(weights(lab.folder(teacher)), before)


def test_the_method_knows_the_iteration(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, draw = [], ICD.draw

    def watched(method: ICD, targets: Targets, iteration: int) -> list[QuerySamples]:
        seen.append(iteration)
        return draw(method, targets, iteration)

    monkeypatch.setattr(ICD, "draw", watched)
    lab.train(lab.run(**DISTILLED))
    assert seen == [0, 1, 2, 3, 4, 5, 5]  # the last one again, for the diagnosis


def test_numbers_that_underflow_cost_no_time_while_it_trains(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot count them as zero")
    draw, seen = ICD.draw, []

    def underflows() -> bool:
        return not (torch.full((8,), 1e-38) / 8).any()

    def watched(method: ICD, targets: Targets, iteration: int) -> list[QuerySamples]:
        seen.append(underflows())
        return draw(method, targets, iteration)

    monkeypatch.setattr(ICD, "draw", watched)
    lab.train(lab.run(**DISTILLED))
    assert seen == [True] * 7  # the last iteration is diagnosed, too
    assert not underflows()


@pytest.mark.parametrize("wanted", [True, False])
def test_trains_in_the_memory_format_of_the_recipe(lab: Lab, wanted: bool) -> None:
    lab = lab.changed({"recipe": {"channels_last": wanted}})
    kernel = weights(lab.train(lab.run()))["backbone.conv1.weight"]
    assert kernel.is_contiguous(memory_format=torch.channels_last) is wanted


def test_a_diverging_run_stops(lab: Lab) -> None:
    lab = lab.changed({"recipe": {"optimizer": {"type": "SGD", "lr": 1e30}}})
    optimizer = lab.track.content.recipe.optimizer.stated()
    del optimizer["clip"]
    run = lab.run()
    with pytest.raises(FloatingPointError, match="no finite loss in iteration"):
        lab.train(run)
    assert not (lab.folder(run) / "model.pth").exists()


def test_a_crash_after_a_loss_that_is_no_number_is_told_as_that(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is read later, but before then a detector may fail on what is no number."""
    train_step = BaseModel.train_step

    def broken(model: BaseModel, data: dict, optim_wrapper: Any) -> dict:
        if optim_wrapper._inner_count == 4:
            raise RuntimeError("an assertion on the device")
        log = train_step(model, data, optim_wrapper)
        return log | {"loss": log["loss"] * torch.nan} if optim_wrapper._inner_count == 3 else log

    monkeypatch.setattr(BaseModel, "train_step", broken)
    with pytest.raises(FloatingPointError, match="no finite loss in iteration 3") as raised:
        lab.train(lab.run())
    assert "an assertion on the device" in str(raised.value.__context__)


@pytest.mark.parametrize("when", ["loss", "weights after"])
def test_a_diverged_run_resumes_from_its_last_good_checkpoint(
    lab: Lab, tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In iteration 4 of 6 something breaks: the loss, or the weights after a finite one."""
    run = lab.run()
    whole = weights(lab.at(tmp_path / "whole").train(run))
    train_step = BaseModel.train_step

    def broken(model: BaseModel, data: dict, optim_wrapper: Any) -> dict:
        weight, now = model.backbone.conv1.weight.data, optim_wrapper._inner_count == 3
        if now and when == "loss":
            weight[0, 0, 0, 0] = torch.nan
        log = train_step(model, data, optim_wrapper)
        if now:
            weight[0, 0, 0, 0] = torch.nan
        return log

    with monkeypatch.context() as patch:
        patch.setattr(BaseModel, "train_step", broken)
        with pytest.raises(FloatingPointError, match=rf"no finite {when}.*iter_3\.pth"):
            lab.train(run, checkpoint_every=1)
    work = lab.folder(run) / "work"
    assert not (work / "iter_4.pth").exists()
    state = torch.load(work / "iter_3.pth", weights_only=False)["state_dict"]
    assert all(value.isfinite().all() for value in state.values())
    assert not differing(weights(lab.train(run)), whole)


def test_a_wrong_teacher_ends_the_run_before_training(lab: Lab, teacher: TrainedRun) -> None:
    (lab.folder(teacher) / "model.pth").write_text("<!DOCTYPE html>")
    with pytest.raises(InputError, match=r"model\.pth: is damaged or not a checkpoint"):
        lab.train(lab.run(**DISTILLED))


def test_shows_its_progress(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    run = lab.run()
    lab.train(run)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"{run.id}  6/6  loss ")
    assert last.endswith("  0:00 left")


@pytest.mark.parametrize("what", ["annotations", "teacher"])
def test_resumes_only_from_a_training_on_the_same_files(
    lab: Lab, tmp_path: Path, teacher: TrainedRun, what: str
) -> None:
    """A changed file lies under an old path, so the name of the run does not tell."""
    run, other = lab.run(method="icd"), lab.at(tmp_path / "other")
    other.place(teacher, lab)
    mark = other.train(run) / "work" / "mark"
    mark.touch()
    other.train(run)
    assert mark.exists()
    if what == "annotations":
        record = other.folder(run) / "work" / "inputs.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"annotations": "another"}))
    else:
        other.place_untrained(teacher)
    other.train(run)
    assert not mark.exists()


def test_refuses_weights_that_reused_runs_have_not_come_from(
    lab: Lab, tmp_path: Path, teacher: TrainedRun
) -> None:
    run, known = lab.run(method="icd"), lab.run(method="icd", inherit=True)
    lab.write_description(run)
    manifest = tmp_path / f"{run.id}.json"
    content = {"description": known.description, "inputs": {"teacher": "another processor's"}}
    write_json(tmp_path / f"{known.id}.json", content)
    arguments = (run.folder, lab.data, lab.survey, manifest)
    with lab.runner():
        with pytest.raises(InputError, match=f"inputs.teacher: is .*{teacher.id}"):
            train.train(*arguments, train.Options(reuse=True))
        assert not manifest.exists()
        train.train(*arguments, train.Options())
    assert manifest.exists()


def test_a_scaled_rate_stands_in_the_log_and_in_the_config(lab: Lab) -> None:
    lab = lab.changed({"recipe": {"unit": 1, "batch_size": 2, "reference_batch": 8}})
    run = lab.run()
    folder = lab.train(run)
    (log,) = folder.glob("work/*/*.log")
    assert "linear rule: learning rate multiplied by 0.25" in log.read_text()
    config = json.loads((folder / "config.json").read_text())
    stated = lab.track.content.recipe.optimizer.lr
    assert config["linear_rule"] == 0.25
    assert config["optim_wrapper"]["optimizer"]["lr"] == 0.25 * stated
