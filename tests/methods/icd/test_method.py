"""The assembled method: losses, gradients of each part, variants."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor

from icd.methods.icd.method import ICD
from icd.methods.icd.queries import make_queries
from tests.methods.batches import (
    PRIORS,
    Batch,
    attention_of,
    gradient,
    losses_for,
    random_batch,
    random_method,
    run,
    total,
    with_gradients,
)

AUXILIARY = ("loss_identification", "loss_localisation")


def has_gradient(tensors: list[Tensor]) -> bool:
    """Whether any of them got a gradient other than zero."""
    return any(tensor.grad is not None and bool(gradient(tensor).any()) for tensor in tensors)


def teaching_parameters(method: ICD) -> list[Tensor]:
    """Those of query encoder, decoder and predictor."""
    parts = (method.encoder, method.decoder, method.auxiliary)
    return [parameter for part in parts for parameter in part.parameters()]


# --- What the losses are ----------------------------------------------------------------------


def test_losses_are_three_scalars_that_mmengine_adds_up() -> None:
    losses = run(random_method(), random_batch())
    assert list(losses) == [*AUXILIARY, "loss_distillation"]
    assert all("loss" in name and loss.shape == () for name, loss in losses.items())
    assert all(loss > 0 for loss in losses.values())


def test_forward_makes_queries_and_losses_of_its_own_draws() -> None:
    method, batch = random_method(), random_batch()
    expected = losses_for(method, batch, method.draw(batch.targets, 4))
    assert run(method, batch, 4) == expected


def test_weight_multiplies_the_distillation_loss_alone() -> None:
    batch = random_batch()
    one, eight = (run(random_method(weight=weight), batch) for weight in (1.0, 8.0))
    torch.testing.assert_close(eight["loss_distillation"], 8 * one["loss_distillation"])
    assert all(torch.equal(one[name], eight[name]) for name in AUXILIARY)


def test_temperature_changes_the_distillation_loss_alone() -> None:
    batch = random_batch()
    one, four = (run(random_method(temperature=t), batch) for t in (1.0, 4.0))
    assert not torch.equal(four["loss_distillation"], one["loss_distillation"])
    assert all(torch.equal(one[name], four[name]) for name in AUXILIARY)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_a_student_that_equals_the_teacher_costs_nothing(layers: int) -> None:
    method, batch = random_method(layers=layers), random_batch()
    for projection, layer in zip(method.student_values, method.decoder.layers, strict=True):
        projection.load_state_dict(attention_of(layer).value.state_dict())
    same = Batch(batch.teacher, [level.clone() for level in batch.teacher], batch.targets)
    assert run(method, same)["loss_distillation"].item() == pytest.approx(0, abs=1e-10)
    assert run(method, batch)["loss_distillation"] > 0.1


def test_the_scale_of_the_student_s_values_counts_unless_they_are_normalised() -> None:
    for normalise in (True, False):
        method, batch = random_method(normalise=normalise), random_batch()
        values = attention_of(method.decoder.layers[0]).value
        method.student_values[0].load_state_dict(
            {name: 2 * tensor for name, tensor in values.state_dict().items()}
        )
        same = Batch(batch.teacher, batch.teacher, batch.targets)
        loss = run(method, same)["loss_distillation"].item()
        assert (loss < 1e-3) == normalise


def test_the_student_has_a_value_projection_of_its_own_per_layer() -> None:
    method = random_method(layers=3)
    assert len(method.student_values) == 3
    pointers = {parameter.data_ptr() for parameter in method.parameters()}
    assert len(pointers) == len(list(method.parameters()))


def test_auxiliary_losses_do_not_depend_on_the_student() -> None:
    method, batch = random_method(), random_batch()
    other = Batch(batch.teacher, [level + 1 for level in batch.student], batch.targets)
    first, second = run(method, batch), run(method, other)
    assert all(torch.equal(first[name], second[name]) for name in AUXILIARY)


def test_the_configuration_name_builds_the_method() -> None:
    method = MODELS.build(
        {"type": "icd.methods.icd.method.ICD", "priors": PRIORS, "channels": 16, "heads": 2}
    )
    assert isinstance(method, ICD)
    assert method.weight == 8.0


def test_heads_that_do_not_divide_the_channels_are_an_error() -> None:
    with pytest.raises(ValueError, match="heads"):
        ICD(PRIORS, channels=16, heads=3)


# --- Who learns from what ---------------------------------------------------------------------


def test_auxiliary_losses_train_encoder_decoder_and_predictor_alone() -> None:
    method, batch = random_method(layers=2), with_gradients(random_batch())
    losses = run(method, batch)
    total({name: losses[name] for name in AUXILIARY}).backward()
    assert all(level.grad is None for level in batch.student)
    assert all(parameter.grad is None for parameter in method.student_values.parameters())
    for part in (method.encoder, method.decoder, method.auxiliary):
        assert has_gradient(list(part.parameters()))


@pytest.mark.parametrize("normalise", [True, False])
def test_distillation_trains_the_student_and_its_value_projections_alone(normalise: bool) -> None:
    method, batch = random_method(layers=2, normalise=normalise), with_gradients(random_batch())
    run(method, batch)["loss_distillation"].backward()
    assert all(parameter.grad is None for parameter in teaching_parameters(method))
    assert all(level.grad is None for level in batch.teacher)
    assert all(has_gradient([level]) for level in batch.student)
    assert all(has_gradient([parameter]) for parameter in method.student_values.parameters())


@pytest.mark.parametrize("iteration", [0, 9, 10, 11, 1000])
def test_the_student_learns_from_distillation_once_the_warm_up_is_over(iteration: int) -> None:
    method, batch = random_method(warmup=10), with_gradients(random_batch())
    total(run(method, batch, iteration)).backward()
    assert has_gradient(batch.student) == (iteration >= 10)
    assert all(has_gradient([parameter]) for parameter in method.student_values.parameters())


def test_warm_up_changes_no_loss() -> None:
    batch = random_batch()
    early, late = (run(random_method(warmup=warmup), batch, 5) for warmup in (6, 5))
    assert early == late


@pytest.mark.parametrize("counts", [(0, 0, 0), (0, 2, 0), (2, 1, 3)])
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("iteration", [0, 10])
def test_every_parameter_gets_a_gradient(
    counts: tuple[int, ...], layers: int, iteration: int
) -> None:
    """A data-parallel step waits for every one, also in a batch without objects."""
    method = random_method(layers=layers, warmup=10)
    total(run(method, random_batch(counts), iteration)).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert gradient(parameter).isfinite().all(), name


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("counts", [(2, 0, 3), (0, 0, 0)])
def test_without_a_student_the_auxiliary_losses_are_the_same(
    layers: int, counts: tuple[int, ...]
) -> None:
    method, batch = random_method(layers=layers), random_batch(counts)
    expected = run(method, batch, 3)
    alone = method(batch.teacher, None, batch.targets, 3)
    assert alone.keys() == {*AUXILIARY}
    assert all(torch.equal(alone[name], expected[name]) for name in AUXILIARY)


def test_without_a_student_the_parts_of_the_decoder_are_trained_and_nothing_else() -> None:
    method, batch = random_method(layers=2), random_batch()
    total(method(batch.teacher, None, batch.targets, 0)).backward()
    trained = {*method.decoder_parts().parameters()}
    assert {p for p in method.parameters() if p.grad is not None} == trained
    others = method.state_dict().keys() - method.decoder_parts().state_dict().keys()
    assert others == {n for n in method.state_dict() if n.startswith("student_values.")}


def test_scaled_levels_are_part_of_what_a_decoder_learns_without_a_student() -> None:
    method, batch = random_method(scale_levels=True), random_batch()
    method(batch.teacher, None, batch.targets, 0)
    state = method.decoder_parts().state_dict()
    assert state["level_scale.batches"] == 1


# --- Variants ---------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["identification"], ["localisation"], []])
def test_a_variant_of_the_auxiliary_task_drops_losses_and_changes_nothing_else(
    names: list[str],
) -> None:
    batch = random_batch()
    expected = run(random_method(), batch)
    losses = run(random_method(auxiliary=names), batch)
    assert losses.keys() == {f"loss_{name}" for name in names} | {"loss_distillation"}
    for name, loss in losses.items():
        assert torch.equal(loss, expected[name])


@pytest.mark.parametrize("names", [["identification"], ["localisation"], []])
@pytest.mark.parametrize("counts", [(2, 0, 3), (0, 0, 0)])
def test_every_parameter_that_trains_gets_a_gradient_in_every_variant(
    names: list[str], counts: tuple[int, ...]
) -> None:
    method = random_method(auxiliary=names)
    total(run(method, random_batch(counts))).backward()
    training = [p for p in method.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in training)
    assert bool(names) == any(p.requires_grad for p in teaching_parameters(method))
    assert all(p.requires_grad for p in method.student_values.parameters())


def test_without_the_scale_hint_the_size_of_an_object_does_not_show() -> None:
    batch = random_batch()
    queries = make_queries(batch.targets, random_method().draw(batch.targets, 0), 0.3)
    other = replace(queries, pixel_sizes=queries.pixel_sizes * 20)
    hinted, bare = random_method(), random_method(scale_hint=False)
    assert not torch.equal(hinted.encoder(queries), hinted.encoder(other))
    assert torch.equal(bare.encoder(queries), bare.encoder(other))
    described = bare.encoder.describe(queries)
    assert described.shape == hinted.encoder.describe(queries).shape
    assert torch.equal(described[..., :-10], hinted.encoder.describe(queries)[..., :-10])
    assert not described[..., -10:].any()
