"""Several methods at once: their losses are added, and each keeps what it has alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from icd.errors import InputError
from icd.figures.attention_maps import load_images, look
from icd.training.accumulate import counts, step
from icd.training.checkpoint import write_weights
from icd.training.hooks.decoder import WarmDecoderHook
from icd.training.parallel import share_counts
from icd.training.precision import set_precision
from tests.lab import Lab, batch, differing, snapshot, teacher_of
from tests.training.test_distiller import losses_of

BOTH = ["icd", "fitnet"]
OPTIONS: dict[str, dict[str, Any]] = {"icd": {"warmup": 0}, "fitnet": {"levels": [8, 32]}}
SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9}


def model_of(lab: Lab, method: str | Sequence[str], **change: Any) -> Any:
    """The Distiller of a run with random weights; all such students are equal."""
    if isinstance(method, str):
        options = OPTIONS.get(method, {})
    else:
        options = {name: OPTIONS.get(name, {}) for name in method}
    torch.manual_seed(3)
    run = lab.run(method=method, options=options, **change)
    return MODELS.build(lab.config(run).model).train()


def gradients(part: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in part.named_parameters() if p.grad is not None}


def test_losses_and_gradients_are_the_sums(lab: Lab) -> None:
    """With the same initial weights and draws, and levels of its own, as each has alone."""
    models = {name: model_of(lab, name) for name in BOTH}
    both, data = model_of(lab, BOTH), batch([2, 1, 0])
    found, alone = losses_of(both, data), {k: losses_of(m, data) for k, m in models.items()}
    named = {
        f"{name}.{key}": value
        for name, losses in alone.items()
        for key, value in losses.items()
        if key not in found
    }
    assert {"icd.loss_distillation", "fitnet.loss_distillation"} < named.keys()
    student = {key: found[key] for key in found if "." not in key}
    assert found.keys() == student.keys() | named.keys()
    assert all(torch.equal(found[name], value) for name, value in named.items())

    sum(found[name] for name in named).backward()
    for name, model in models.items():
        sum(value for key, value in named.items() if key.startswith(name)).backward()
        expected, own = gradients(model.method), gradients(both.method.parts[name])
        assert expected.keys() == own.keys() != set()
        assert all(torch.equal(own[key], value) for key, value in expected.items())
    icd, fitnet = (gradients(models[name].student) for name in BOTH)
    for key, total in gradients(both.student).items():
        parts = [part[key] for part in (icd, fitnet) if key in part]
        scale = 1e-4 * float(total.abs().max())  # sums in another order
        torch.testing.assert_close(total, sum(parts), rtol=1e-4, atol=scale)
    assert any(key in icd and key in fitnet for key in gradients(both.student))


def test_each_method_keeps_its_optimiser(lab: Lab) -> None:
    """ICD has its own rate and clip; FitNet shares the student's, and its joint norm."""
    own = {"type": "SGD", "lr": 0.5, "clip": 1e-3}
    lab = lab.changed(
        {
            "recipe": {"optimizer": {**SGD, "clip": 0.1}, "ramp": 0},
            "methods": {"icd": {"optimizer": own}, "fitnet": {"optimizer": "student"}},
        }
    )
    lab.place_untrained(teacher_of(lab.run(method=BOTH)))
    model = model_of(lab, BOTH)
    config = lab.config(lab.run(method=BOTH))
    assert config.param_scheduler.keys() == {"student", "method.icd"}
    twin = copy.deepcopy(model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    data = batch([2, 3])
    model.train_step(copy.deepcopy(data), wrapper)

    total, _ = twin.parse_losses(losses_of(twin, data))
    total.backward()
    icd = [*twin.method.parts["icd"].parameters()]
    others = [*twin.student.parameters(), *twin.method.parts["fitnet"].parameters()]
    for parameters, lr, clip in ((icd, 0.5, 1e-3), (others, 0.05, 0.1)):
        trained = [p for p in parameters if p.requires_grad and p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(trained, clip)
        assert norm > clip
        torch.optim.SGD(trained, lr=lr).step()
    for (name, found), expected in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7, msg=name)


def test_a_method_without_an_optimiser_is_named(lab: Lab) -> None:
    model = model_of(lab, BOTH)
    config = lab.config(lab.run(method=BOTH)).optim_wrapper
    config.pop("method.icd")
    with pytest.raises(InputError, match="missing, but ICD has parameters of its own"):
        build_optim_wrapper(model, config)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_shares_of_a_batch_are_counted_for_each_method(lab: Lab, precision: str) -> None:
    """Two methods that count: a second ICD under another name."""
    other: dict[str, Any] = {"class": "icd.methods.icd.method.ICD", "optimizer": "student"}
    other["options"] = {"heads": 4, "layers": 2, "warmup": 0}
    lab = lab.changed({"methods": {"other": other}})
    method = ["icd", "other"]
    model = model_of(lab, method)
    set_precision(model, precision, precision)
    share_counts(model, 2)
    wrapper = build_optim_wrapper(model, lab.config(lab.run(method=method)).optim_wrapper)
    before = snapshot(model)
    log = step(model, batch([2, 0, 1, 1], [(64, 64)] * 4), wrapper, number=2)
    assert torch.isfinite(log["loss"])
    parts = {".".join(name.split(".")[:3]) for name in differing(before, snapshot(model))}
    assert {"method.parts.icd", "method.parts.other"} < parts


def test_the_decoder_of_one_method_is_loaded(lab: Lab, tmp_path: Path) -> None:
    alone, both = model_of(lab, "icd"), model_of(lab, BOTH)
    with torch.no_grad():
        for parameter in alone.method.parameters():
            parameter.add_(1)
    write_weights(tmp_path / "decoder.pth", alone.method.decoder_parts())
    hook: Any = WarmDecoderHook(str(tmp_path / "decoder.pth"))
    hook.before_train(SimpleNamespace(model=both, iter=0))
    icd = both.method.parts["icd"]
    assert not differing(snapshot(icd.decoder_parts()), snapshot(alone.method.decoder_parts()))


def test_predictions_go_to_the_methods_that_ask(lab: Lab) -> None:
    """With the levels of each, and as it has them alone."""
    levels = {"first": [8, 32], "second": [16]}
    asking = {
        name: {"class": "tests.training.asking.Asking", "options": {"levels": own}}
        for name, own in levels.items()
    }
    lab, data = lab.changed({"methods": asking}), batch([2, 1])
    both = model_of(lab, ["first", "second", "fitnet"])
    assert "first.loss_nothing" in losses_of(both, data)
    for name, own in levels.items():
        alone = model_of(lab, name)
        losses_of(alone, data)
        expected, found = alone.method.predictions, both.method.parts[name].predictions
        assert both.method.parts[name].targets.strides == own
        pairs = (
            (found.priors, expected.priors),
            (found.student.logits, expected.student.logits),
            (found.teacher.boxes, expected.teacher.boxes),
            (found.assignment.labels, expected.assignment.labels),
            (found.cross(1).sides, expected.cross(1).sides),
        )
        for ours, theirs in pairs:
            assert len(ours) == len(own)
            assert all(map(torch.equal, ours, theirs))
    known: list[Any] = []
    both.method.parts["second"].count = lambda *given: known.extend(given)
    counts(both, both.data_preprocessor(copy.deepcopy(data), training=True))
    assert known[0].strides == [16]
    assert all(map(torch.equal, known[1].labels, found.assignment.labels))


def test_the_attention_of_one_method_can_be_drawn(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OPTIONS, "icd", {"levels": [8, 16]})
    (sample,) = load_images(lab.run(method="icd"), lab.inputs, [2])
    both, alone = (look(model_of(lab, method).eval(), sample, 0) for method in (BOTH, "icd"))
    assert both.heads.shape == alone.heads.shape
    assert (both.heads == alone.heads).all()
    assert both.where.keys() == alone.where.keys()
    assert all((both.where[name] == alone.where[name]).all() for name in alone.where)
    with pytest.raises(TypeError, match="Combined has no attention"):
        look(model_of(lab, ["fitnet", "mgd"]).eval(), sample, 0)


@pytest.mark.slow
def test_a_run_logs_resumes_and_leaves_all_methods(lab: Lab) -> None:
    run = lab.run(method=BOTH)
    lab.place_untrained(teacher_of(run))
    folder = lab.train(run, checkpoint_every=3)
    manifest = json.loads((folder / "manifest.json").read_text())
    values = manifest["diagnosis"]["values"]
    assert {"rms/student/stride8", "layer1/effective"} <= values.keys()
    hub = torch.load(folder / "work/iter_6.pth", weights_only=True)["message_hub"]
    logged = {name.removeprefix("train/") for name in hub["log_scalars"]}
    assert {"icd.loss_distillation", "fitnet.loss_distillation"} < logged
    assert {"student.grad_norm", "method.icd.grad_norm", "method.icd.lr"} < logged
    once = [states(folder, name) for name in ("model.pth", "method.pth")]
    assert {name.split(".")[1] for name in once[1]} == {*BOTH}
    (folder / "work/iter_6.pth").unlink()
    (folder / "work/last_checkpoint").write_text(str(folder / "work/iter_3.pth"))
    for name in ("model.pth", "method.pth"):
        (folder / name).unlink()
    lab.train(run)
    again = [states(folder, name) for name in ("model.pth", "method.pth")]
    assert not any(differing(*pair) for pair in zip(once, again, strict=True))


def states(folder: Path, name: str) -> dict[str, Tensor]:
    content: dict[str, Tensor] = torch.load(folder / name, weights_only=True)["state_dict"]
    return content


def test_a_combination_of_one_is_trained_as_that_method(lab: Lab) -> None:
    one, alone = lab.run(method=["icd"]), lab.run(method="icd")
    assert lab.config(one).to_dict() == lab.config(alone).to_dict()
