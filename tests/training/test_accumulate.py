"""Gradient accumulation: a batch computed in shares gives what it gives as a whole."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.models.dense_heads import atss_head, condinst_head, fcos_head
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from mmengine.optim import build_optim_wrapper

from icd.experiments.track import load_track
from icd.methods import shares
from icd.training.accumulate import step
from icd.training.parallel import share_counts
from tests.lab import DETECTORS, Lab, batch, differing, snapshot, suits, teacher_of, weights
from tests.training.test_parallel import as_shares_draw, compare
from tests.training.two_processes import freeze_norms, losses_and_gradients

pytestmark = pytest.mark.slow

MINI = load_track("mini").content
SIZES = [(64, 64), (48, 56), (56, 40), (64, 32)]


@pytest.fixture(autouse=True)
def _mmdets_own_mean() -> Iterator[None]:
    """No test leaves its counting behind in mmdet's modules."""
    yield
    for heads in (atss_head, condinst_head, fcos_head):
        heads.reduce_mean = reduce_mean


def model_of(lab: Lab, **change: Any) -> Any:
    """The model of a run, with random weights and batch norm that no image changes."""
    run = lab.run(**change)
    if run.teacher:
        lab.place_untrained(teacher_of(run))
    torch.manual_seed(3)
    model = MODELS.build(lab.config(run).model)
    model.init_weights()
    return freeze_norms(model.train())


@pytest.mark.parametrize("name", ["retinanet", "fcos", "atss"])
def test_shares_give_what_the_whole_batch_gives(
    mini: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With ICD, although the shares have 5, 0, 1 and 2 objects, and sizes of their own."""
    model, data = model_of(mini, detector=name, method="icd"), batch([5, 0, 1, 2], SIZES)
    twin = copy.deepcopy(model)
    as_shares_draw(model.method, monkeypatch, 4)
    whole = losses_and_gradients(model, copy.deepcopy(data))
    share_counts(twin, 4)
    compare(losses_and_gradients(twin, data, 4), whole, name)


@pytest.mark.parametrize(
    ("name", "method"), [("retinanet", "crosskd"), ("fcos", "bckd"), ("atss", "crosskd")]
)
def test_shares_count_positive_priors_as_the_whole_batch_does(
    mini: Lab, name: str, method: str
) -> None:
    """The third share has none of the batch's 8 objects."""
    model = model_of(mini, detector=name, method=method, options={"weight": 1})
    data = batch([5, 2, 0, 1], SIZES)
    twin = copy.deepcopy(model)
    whole = losses_and_gradients(model, copy.deepcopy(data))
    assert whole["losses"]["loss_boxes"] > 0
    share_counts(twin, 4)
    # Large parts of the gradients of box losses cancel: 4e-5 of rounding, 1e-8 in float64.
    compare(losses_and_gradients(twin, data, 4), whole, f"{method} {name}", atol=5e-5)


def test_ld_counts_its_regions_as_in_the_whole_batch(mini: Lab) -> None:
    """Its own losses: those of GFL divide by a sum of scores, which a share does not know."""
    model, data = model_of(mini, detector="gfl", method="ld"), batch([5, 2, 0, 1], SIZES)
    twin = copy.deepcopy(model)
    whole = losses_and_gradients(model, copy.deepcopy(data))["losses"]
    share_counts(twin, 4)
    found = losses_and_gradients(twin, data, 4)["losses"]
    for name in ("loss_main", "loss_valuable", "loss_classes"):
        assert whole[name] > 0
        torch.testing.assert_close(found[name], whole[name], rtol=1e-4, atol=0)


PAIRS = [
    (name, method)
    for name in DETECTORS
    for method in ("none", *MINI.methods)
    if suits(method, name)
]


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_every_detector_and_method_accumulates(mini: Lab, name: str, method: str) -> None:
    """With objects, without in one share, without any."""
    model = model_of(mini, detector=name, method=method)
    share_counts(model, 2)
    for objects in ([2, 1, 1, 3], [2, 1, 0, 0], [0, 0, 0, 0]):
        data = batch(objects, SIZES, masks=True)
        found = losses_and_gradients(model, data, 2)["losses"]
        assert all(math.isfinite(loss) for loss in found.values())


SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9, "clip": 0.5}


@pytest.mark.parametrize("own", [SGD, "student"], ids=["its own", "the student's"])
def test_optimisers_step_once_on_the_whole_gradient(mini: Lab, own: dict | str) -> None:
    """With FitNet, which has parameters of its own and draws nothing. Clipping comes last."""
    lab = mini.changed({"recipe": {"optimizer": SGD}, "methods": {"fitnet": {"optimizer": own}}})
    run = lab.run(method="fitnet")
    model = model_of(lab, method="fitnet")
    found = []
    for accumulate in (1, 2):
        twin = copy.deepcopy(model)
        share_counts(twin, accumulate)
        wrapper = build_optim_wrapper(twin, lab.config(run).optim_wrapper)
        for iteration in range(3):
            torch.manual_seed(iteration)
            data = batch([2, 1, 3, 2], [(64, 64)] * 4)
            if accumulate == 1:
                twin.train_step(data, wrapper)
            else:
                step(twin, data, wrapper, accumulate)
        found.append(snapshot(twin))
    before = snapshot(model)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert {name.split(".")[0] for name in trained} == {"student", "method"}
    for name in trained:
        whole, parts = (state[name] - before[name] for state in found)
        torch.testing.assert_close(
            parts, whole, rtol=1e-3, atol=1e-6 + 1e-4 * float(whole.abs().max())
        )


def test_a_run_counts_whole_batches_and_resumes_exactly(lab: Lab) -> None:
    """Six iterations of four images in two shares; both optimisers."""
    lab = lab.changed({"recipe": {"batch_size": 4, "accumulate": 2}})
    run = lab.run(method="icd")
    lab.place_untrained(teacher_of(run))
    folder = lab.train(run, checkpoint_every=3)
    once = weights(folder)
    assert {file.name for file in folder.glob("work/*.pth")} == {"iter_3.pth", "iter_6.pth"}
    state = torch.load(folder / "work/iter_6.pth", weights_only=True)
    steps = [own["state"][0]["step"].item() for own in state["optimizer"].values()]
    assert steps == [6, 6]
    for name in ("model.pth", "work/iter_6.pth"):
        (folder / name).unlink()
    Path(folder / "work/last_checkpoint").write_text(str(folder / "work/iter_3.pth"))
    assert not differing(weights(lab.train(run)), once)


def test_accumulation_is_part_of_a_run_only_if_it_is_used(lab: Lab) -> None:
    one, four = ({"recipe": {"batch_size": 4, "accumulate": count}} for count in (1, 4))
    plain = lab.changed({"recipe": {"batch_size": 4}}).run()
    assert lab.changed(one).run().id == plain.id
    assert lab.changed(four).run().id != plain.id


def test_losses_must_ask_for_the_counts_that_were_collected() -> None:
    with shares.counting() as seen:
        shares.mean_count(torch.tensor(3))
    sums = shares.totals([seen, seen])
    with pytest.raises(RuntimeError, match="no loss asked for"), shares.computing(0, 2, sums):
        pass
    with shares.computing(1, 2, sums):
        assert shares.share_index() == 1
        assert shares.mean_count(torch.tensor(9)) == 3
        with pytest.raises(RuntimeError, match="did not ask for"):
            shares.mean_count(torch.tensor(9))
    assert shares.share_index() == 0
    assert shares.mean_count(torch.tensor(9)) == 9
