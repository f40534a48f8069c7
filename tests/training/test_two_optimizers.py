"""Two optimisers after one backward pass, against the same steps in plain PyTorch."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from icd.errors import InputError
from icd.training.hooks.losses import gradient_norms
from icd.training.hooks.progress import IterationHook
from icd.training.optimisation import optimisation
from icd.training.two_optimizers import JointOptimWrapper
from tests.lab import Lab, differing, snapshot, teacher_of

SGD = {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}
ADAMW = {"type": "AdamW", "lr": 1e-2, "weight_decay": 0.1}
STUDENT_CLIP, METHOD_CLIP = 0.5, 0.01
CONFIG = {
    "constructor": "DistillerOptimConstructor",
    "student": {"type": "OptimWrapper", "optimizer": SGD, "clip_grad": {"max_norm": STUDENT_CLIP}},
    "method": {"type": "OptimWrapper", "optimizer": ADAMW, "clip_grad": {"max_norm": METHOD_CLIP}},
}


class Pair(BaseModel):
    """A student and a method, one linear layer each, that share one loss."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Linear(6, 4)
        self.method = nn.Linear(4, 3)

    def forward(self, inputs: Tensor, data_samples: None = None, mode: str = "loss") -> dict:
        return {"loss": 50 * self.method(self.student(inputs)).square().mean()}


@pytest.fixture
def pair() -> Pair:
    torch.manual_seed(0)
    return Pair()


def data(step: int) -> dict[str, Tensor]:
    return {"inputs": torch.randn(8, 6, generator=torch.Generator().manual_seed(step))}


def train(model: Pair, wrapper: JointOptimWrapper, steps: range) -> Pair:
    for step in steps:
        model.train_step(data(step), wrapper)
    return model


def test_steps_are_those_of_two_optimisers(pair: Pair) -> None:
    twin = copy.deepcopy(pair)
    student = torch.optim.SGD(twin.student.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    method = torch.optim.AdamW(twin.method.parameters(), lr=1e-2, weight_decay=0.1)
    for step in range(4):
        twin.zero_grad()
        twin(**data(step))["loss"].backward()
        # Both clips are at work, on norms that are not those of the whole.
        assert clip_grad_norm_(twin.student.parameters(), STUDENT_CLIP) > STUDENT_CLIP
        assert clip_grad_norm_(twin.method.parameters(), METHOD_CLIP) > METHOD_CLIP
        student.step()
        method.step()
    wrapper = build_optim_wrapper(pair, CONFIG)
    assert not differing(snapshot(train(pair, wrapper, range(4))), snapshot(twin))


def test_gradients_are_cleared(pair: Pair) -> None:
    train(pair, build_optim_wrapper(pair, CONFIG), range(1))
    assert all(p.grad is None or p.grad.count_nonzero() == 0 for p in pair.parameters())


def test_state_survives_saving(pair: Pair) -> None:
    twin = copy.deepcopy(pair)
    train(twin, build_optim_wrapper(twin, CONFIG), range(5))
    first = build_optim_wrapper(pair, CONFIG)
    train(pair, first, range(3))
    second = build_optim_wrapper(pair, CONFIG)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert not differing(snapshot(train(pair, second, range(3, 5))), snapshot(twin))


def test_a_method_without_parameters_leaves_the_student_its_optimiser(pair: Pair) -> None:
    twin = copy.deepcopy(pair)
    for model in (pair, twin):
        model.method.requires_grad_(False)
    student = torch.optim.SGD(twin.student.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    for step in range(3):
        twin.zero_grad()
        twin(**data(step))["loss"].backward()
        clip_grad_norm_(twin.student.parameters(), STUDENT_CLIP)
        student.step()
    alone = {key: value for key, value in CONFIG.items() if key != "method"}
    for config in (CONFIG, alone):  # stated for nothing, an optimiser does nothing
        model = copy.deepcopy(pair)
        wrapper = build_optim_wrapper(model, config)
        assert list(wrapper.keys()) == ["student"]
        assert not differing(snapshot(train(model, wrapper, range(3))), snapshot(twin))


def test_parameters_of_a_method_need_an_optimiser(pair: Pair) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "method"}
    with pytest.raises(InputError, match=r"methods: optimizer: is missing, but Linear has param"):
        build_optim_wrapper(pair, config)


def test_a_run_of_a_method_without_parameters_ends_and_resumes(lab: Lab) -> None:
    run = lab.run(method="pkd")
    lab.place_untrained(teacher_of(run))
    folder = lab.train(run, checkpoint_every=3)
    assert not torch.load(folder / "method.pth", weights_only=True)["state_dict"]
    once = torch.load(folder / "model.pth", weights_only=True)["state_dict"]
    (folder / "work/iter_6.pth").unlink()
    (folder / "work/last_checkpoint").write_text(str(folder / "work/iter_3.pth"))
    again = torch.load(lab.train(run) / "model.pth", weights_only=True)["state_dict"]
    assert not differing(once, again)


def rates_of(lab: Lab, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> list[dict]:
    """Learning rates of both optimisers in every iteration of a run of ICD."""
    seen: list[dict] = []

    def note(hook: IterationHook, runner: Any, *args: object, **kwargs: object) -> None:
        seen.append(runner.optim_wrapper.get_lr())

    monkeypatch.setattr(IterationHook, "before_train_iter", note)
    lab = lab.changed(change)
    run = lab.run(method="icd")
    lab.place_untrained(teacher_of(run))
    lab.train(run)
    return seen


def half_cosine(step: int, steps: int) -> float:
    return (1 + math.cos(math.pi * step / steps)) / 2


def test_each_optimiser_has_its_own_schedule(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The student's rate rises and then falls in steps; the method's is half a cosine."""
    steps, ramp, (first, second) = 12, 4, (6, 9)
    sgd = {"type": "SGD", "lr": 0.02, "momentum": 0.9}
    recipe = {"unit": steps, "ramp": ramp, "decay": [first / steps, second / steps]}
    method = {"icd": {"optimizer": {"lr": 3e-3}}}
    change = {"recipe": recipe | {"optimizer": sgd}, "methods": method}
    found = rates_of(lab, monkeypatch, change)
    assert len(found) == steps
    for step, rates in enumerate(found):
        rise = 0.001 + 0.999 * min(step / (ramp - 1), 1)
        fall = 0.1 ** ((step >= first) + (step >= second))
        assert rates["student.lr"] == [pytest.approx(0.02 * rise * fall)]
        assert rates["method.lr"] == [pytest.approx(3e-3 * half_cosine(step, steps))]


def test_a_method_may_follow_the_student(lab: Lab, pair: Pair) -> None:
    """One optimiser for both: warm-up, steps and joint norm, against a loop of plain PyTorch."""
    steps, ramp, (first, second), clip = 9, 4, (5, 7), 0.5
    sgd = {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-2, "clip": clip}
    recipe = {"unit": steps, "ramp": ramp, "decay": [first / steps, second / steps]}
    method = {"fitnet": {"optimizer": "student"}}
    run = lab.changed({"recipe": recipe | {"optimizer": sgd}, "methods": method}).run(
        method="fitnet"
    )
    config = optimisation(run.recipe, run.method, run.iterations)
    twin = copy.deepcopy(pair.double())
    wrapper = build_optim_wrapper(pair, config["optim_wrapper"])
    schedules = [
        PARAM_SCHEDULERS.build({**schedule, "optimizer": wrapper})
        for schedule in config["param_scheduler"]
    ]
    plain = torch.optim.SGD(
        [{"params": twin.student.parameters()}, {"params": twin.method.parameters()}],
        lr=0.02,
        momentum=0.9,
        weight_decay=1e-2,
    )
    for step in range(steps):
        inputs = data(step)["inputs"].double()
        rise = 0.001 + 0.999 * min(step / (ramp - 1), 1)
        for group in plain.param_groups:
            group["lr"] = 0.02 * rise * 0.1 ** ((step >= first) + (step >= second))
        plain.zero_grad()
        twin(inputs)["loss"].backward()
        norm = clip_grad_norm_(twin.parameters(), clip)
        assert norm > clip  # the clip is at work
        plain.step()
        pair.train_step({"inputs": inputs}, wrapper)
        assert gradient_norms(wrapper) == {"grad_norm": pytest.approx(norm.item(), rel=1e-12)}
        for schedule in schedules:
            schedule.step()
        for own, expected in zip(pair.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_a_run_with_one_optimiser_for_both_resumes_exactly(lab: Lab) -> None:
    run = lab.run(method="fitnet")
    lab.place_untrained(teacher_of(run))
    folder = lab.train(run, checkpoint_every=3)
    names = ("model.pth", "method.pth")
    once = [torch.load(folder / name, weights_only=True)["state_dict"] for name in names]
    assert once[1]
    (folder / "work/iter_6.pth").unlink()
    (folder / "work/last_checkpoint").write_text(str(folder / "work/iter_3.pth"))
    for name in names:
        (folder / name).unlink()
    lab.train(run)
    again = [torch.load(folder / name, weights_only=True)["state_dict"] for name in names]
    assert not any(differing(*pair) for pair in zip(once, again, strict=True))


@pytest.mark.parametrize("ramp", [0, 1])
def test_a_cosine_without_a_ramp_starts_at_the_full_rate(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, ramp: int
) -> None:
    found = rates_of(lab, monkeypatch, {"recipe": {"ramp": ramp}})
    expected = [4e-3 * half_cosine(step, 6) for step in range(6)]
    assert [rates["student.lr"][0] for rates in found] == pytest.approx(expected)
