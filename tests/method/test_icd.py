"""The assembled method: draws, gradients, padding, batches, warm-up and extreme input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from batches import PRIORS, Batch, random_batch, random_method
from mmdet.registry import MODELS
from reference import valid_rows_and_columns
from torch import Tensor, nn

import icd.method.icd
from icd.method import packed, tokens
from icd.method.icd import ICD
from icd.method.queries import Draw, pose
from icd.method.targets import Targets
from icd.method.where import WHERE

AUXILIARY = ("loss_identification", "loss_localisation")


def run(method: ICD, batch: Batch, iteration: int = 0) -> dict[str, Tensor]:
    return method(batch.teacher, batch.student, batch.targets, iteration)


def with_gradients(batch: Batch) -> Batch:
    for level in (*batch.teacher, *batch.student):
        level.requires_grad_()
    return batch


def has_gradient(tensors: list[Tensor]) -> bool:
    """Whether any of them got a gradient other than zero."""
    return any(tensor.grad is not None and bool(tensor.grad.any()) for tensor in tensors)


def teaching_parameters(method: ICD) -> list[Tensor]:
    """Those of query encoder, decoder and predictor."""
    parts = (method.encoder, method.decoder, method.auxiliary)
    return [parameter for part in parts for parameter in part.parameters()]


def image_of(batch: Batch, i: int) -> Batch:
    """Image ``i`` alone, with the padding it has in the batch."""
    targets = batch.targets
    return Batch(
        [level[i : i + 1] for level in batch.teacher],
        [level[i : i + 1] for level in batch.student],
        Targets(
            [targets.boxes[i]], [targets.labels[i]], [targets.image_sizes[i]], targets.padded_size
        ),
    )


def losses_for(method: ICD, batch: Batch, draws: list[Draw]) -> dict[str, Tensor]:
    queries = pose(batch.targets, draws, method.jitter)
    return method.losses(batch.teacher, batch.student, batch.targets, queries, detach=False)


# --- Draws ------------------------------------------------------------------------------------


def drawn(method: ICD, iteration: int) -> Tensor:
    """All random numbers of one iteration in one tensor."""
    draws = method.draw(random_batch().targets, iteration)
    return torch.cat(
        [torch.cat([d.labels[:, None].float(), d.boxes, d.jitter], dim=1) for d in draws]
    )


def test_draws_are_a_function_of_seed_and_iteration() -> None:
    first = drawn(random_method(), 7)
    torch.manual_seed(12345)
    torch.rand(10)
    assert torch.equal(first, drawn(random_method(), 7))
    assert not torch.equal(first, drawn(random_method(), 8))
    other = ICD(PRIORS, channels=16, heads=4, query_cap=20, seed=1)
    assert not torch.equal(first, drawn(other, 7))


def test_draws_of_consecutive_iterations_are_unrelated() -> None:
    method = random_method(query_cap=200, fake_ratio=99.0)
    jitter = torch.stack([drawn(method, iteration)[:, 5] for iteration in range(4)])
    correlations = torch.corrcoef(jitter) - torch.eye(4)
    assert jitter.shape[1] > 400
    assert correlations.abs().max() < 5 / jitter.shape[1] ** 0.5


def test_images_of_a_batch_get_different_draws() -> None:
    batch = random_batch(counts=(3, 3), sizes=((96, 128), (96, 128)))
    first, second = random_method().draw(batch.targets, 0)
    assert not torch.equal(first.jitter, second.jitter)


def test_drawing_leaves_the_global_random_numbers_alone() -> None:
    method, batch = random_method(), random_batch()
    state = torch.get_rng_state()
    run(method, batch)
    assert torch.equal(torch.get_rng_state(), state)


def test_data_parallel_processes_draw_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    method = random_method()
    alone = drawn(method, 3)
    for rank in range(3):
        monkeypatch.setattr(icd.method.icd, "get_rank", lambda rank=rank: rank)
        assert torch.equal(drawn(method, 3), alone) == (rank == 0)


def test_a_batch_is_asked_as_many_questions_as_documented() -> None:
    counts = (0, 1, 40)
    batch = random_batch(counts=counts)
    draws = random_method(query_cap=30).draw(batch.targets, 0)
    assert [len(draw.labels) for draw in draws] == [1, 6, 40]


# --- What the losses are ----------------------------------------------------------------------


def test_losses_are_three_scalars_that_mmengine_adds_up() -> None:
    losses = run(random_method(), random_batch())
    assert list(losses) == [*AUXILIARY, "loss_distillation"]
    assert all("loss" in name and loss.shape == () for name, loss in losses.items())
    assert all(loss > 0 for loss in losses.values())


def test_forward_is_pose_and_losses_of_its_own_draws() -> None:
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
        attention = layer.attention if layers else layer
        projection.load_state_dict(attention.value.state_dict())
    same = Batch(batch.teacher, [level.clone() for level in batch.teacher], batch.targets)
    assert run(method, same)["loss_distillation"].item() == pytest.approx(0, abs=1e-10)
    assert run(method, batch)["loss_distillation"] > 0.1


def test_the_scale_of_the_student_s_values_counts_unless_they_are_normalised() -> None:
    for normalise in (True, False):
        method, batch = random_method(normalise=normalise), random_batch()
        values = method.decoder.layers[0].attention.value
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
    method = MODELS.build({"type": "ICD", "priors": PRIORS, "channels": 16, "heads": 2})
    assert isinstance(method, ICD)
    assert method.weight == 8.0


def test_heads_that_do_not_divide_the_channels_are_an_error() -> None:
    with pytest.raises(ValueError, match="heads"):
        ICD(PRIORS, channels=16, heads=3)


# --- Padding, batches, order ------------------------------------------------------------------


def fill_padding(levels: list[Tensor], targets: Targets, value: float) -> list[Tensor]:
    filled = [level.clone() for level in levels]
    for level in filled:
        for image, size in zip(level, targets.image_sizes, strict=True):
            rows, columns = valid_rows_and_columns(size, targets.padded_size, level.shape[-2:])
            image[:, rows:] = value
            image[:, :, columns:] = value
    return filled


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("layers", [0, 2])
def test_values_in_the_padding_change_no_loss_and_get_no_gradient(
    layers: int, normalise: bool
) -> None:
    method, batch = random_method(layers=layers, normalise=normalise), random_batch()
    student = fill_padding(batch.student, batch.targets, 1e6)
    teacher = fill_padding(batch.teacher, batch.targets, -1e6)
    assert not any(torch.equal(a, b) for a, b in zip(student[:2], batch.student[:2], strict=True))
    filled = with_gradients(Batch(teacher, student, batch.targets))
    losses = run(method, filled)
    expected = run(method, batch)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], rtol=1e-6, atol=0)
    losses["loss_distillation"].backward()
    outside = fill_padding([torch.zeros_like(level) for level in student], batch.targets, 1.0)
    for level, mask in zip(student, outside, strict=True):
        assert level.grad.isfinite().all()
        assert level.grad.any()
        assert not level.grad[mask.bool()].any()


def test_losses_of_a_batch_follow_from_those_of_its_images() -> None:
    """Distillation is the mean; the auxiliary losses weigh images by their queries."""
    method = random_method(layers=2).double()
    batch = random_batch(dtype=torch.float64)
    draws = method.draw(batch.targets, 0)
    together = losses_for(method, batch, draws)
    alone = [losses_for(method, image_of(batch, i), [draws[i]]) for i in range(3)]
    real = torch.tensor([len(boxes) for boxes in batch.targets.boxes]).double()
    shares = {
        "loss_distillation": torch.ones(3).double() / 3,
        "loss_identification": torch.tensor([12.0, 1.0, 18.0]).double() / 31,
        "loss_localisation": real / real.sum(),
    }
    for name, share in shares.items():
        losses = torch.stack([one[name] for one in alone])
        torch.testing.assert_close(together[name], (share * losses).sum())


def test_order_of_images_does_not_matter() -> None:
    method, batch = random_method().double(), random_batch(dtype=torch.float64)
    draws, order = method.draw(batch.targets, 0), [2, 0, 1]
    targets = batch.targets
    turned = Batch(
        [level[order] for level in batch.teacher],
        [level[order] for level in batch.student],
        Targets(
            [targets.boxes[i] for i in order],
            [targets.labels[i] for i in order],
            [targets.image_sizes[i] for i in order],
            targets.padded_size,
        ),
    )
    first = losses_for(method, batch, draws)
    second = losses_for(method, turned, [draws[i] for i in order])
    for name, loss in first.items():
        torch.testing.assert_close(second[name], loss)


def test_order_of_levels_does_not_matter() -> None:
    """There is no level embedding: the pyramid is a set of tokens."""
    method, batch = random_method().double(), random_batch(dtype=torch.float64)
    turned = Batch(batch.teacher[::-1], batch.student[::-1], batch.targets)
    for name, loss in run(method, batch).items():
        torch.testing.assert_close(run(method, turned)[name], loss)


# --- Who learns from what ---------------------------------------------------------------------


def test_auxiliary_losses_train_encoder_decoder_and_predictor_alone() -> None:
    method, batch = random_method(layers=2), with_gradients(random_batch())
    losses = run(method, batch)
    sum(losses[name] for name in AUXILIARY).backward()
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
    sum(run(method, batch, iteration).values()).backward()
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
    sum(run(method, random_batch(counts), iteration).values()).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


# --- Extreme input ----------------------------------------------------------------------------


def in_bfloat16(batch: Batch) -> Batch:
    """The same batch with features as networks in bfloat16 give them."""
    return Batch(
        [level.bfloat16() for level in batch.teacher],
        [level.bfloat16() for level in batch.student],
        batch.targets,
    )


def run_in(precision: str, method: ICD, batch: Batch) -> dict[str, Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        return run(method, batch)


def require_finite(losses: dict[str, Tensor], method: ICD, batch: Batch) -> None:
    """The losses and, computed here, their gradients."""
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    sum(losses.values()).backward()
    for tensor in (*method.parameters(), *batch.student):
        assert tensor.grad.isfinite().all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("heads", [1, 16])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(
    "shape",
    [
        {"counts": (0,), "sizes": ((96, 128),)},
        {"counts": (1,), "sizes": ((96, 128),)},
        {"counts": (0, 0), "sizes": ((96, 128), (40, 50))},
        {"counts": (400, 0), "sizes": ((96, 128), (40, 50))},
        {"levels": ((1, 1),) * 5},
        {"levels": ((1, 1),)},
        {"sizes": ((3, 2), (1, 1), (96, 1))},
        {"padded": (2000, 3000), "levels": ((12, 16), (6, 8))},
    ],
    ids=[
        "no object",
        "one object",
        "no objects in two",
        "hundreds of objects",
        "levels of 1x1",
        "one token",
        "tiny images",
        "much padding",
    ],
)
def test_losses_and_gradients_stay_finite(
    shape: dict[str, object], normalise: bool, heads: int, precision: str
) -> None:
    method, batch = random_method(heads=heads, normalise=normalise), random_batch(**shape)
    batch = with_gradients(in_bfloat16(batch) if precision == "bfloat16" else batch)
    require_finite(run_in(precision, method, batch), method, batch)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("where", WHERE)
def test_levels_without_a_valid_cell_are_finite(
    where: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our count of valid cells rounds up, so no level has none; nothing relies on that."""
    count = tokens.cell_counts

    def none_on_small_levels(*args: Any) -> list[tuple[int, int]]:
        return count(*args) if args[2][0] > 3 else [(0, 0) for _ in count(*args)]

    for module in (tokens, packed):
        monkeypatch.setattr(module, "cell_counts", none_on_small_levels)
    method, batch = random_method(where=where), random_batch()
    batch = with_gradients(in_bfloat16(batch) if precision == "bfloat16" else batch)
    require_finite(run_in(precision, method, batch), method, batch)
    assert not any(level.grad.any() for level in batch.student if level.shape[2] <= 3)
    assert batch.student[0].grad.any()


def test_a_batch_without_objects_costs_identification_alone() -> None:
    losses = run(random_method(layers=2), random_batch((0, 0, 0)))
    assert losses["loss_identification"] > 0
    assert losses["loss_localisation"] == 0
    assert losses["loss_distillation"] == 0


def test_huge_features_keep_the_losses_finite() -> None:
    batch = random_batch()
    huge = Batch([1e4 * x for x in batch.teacher], [1e4 * x for x in batch.student], batch.targets)
    assert all(loss.isfinite() for loss in run(random_method(), huge).values())


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_bfloat16_autocast_stays_close_to_single_precision(layers: int) -> None:
    torch.manual_seed(0)
    method = ICD(PRIORS, channels=32, heads=4, layers=layers, warmup=0)
    batch = random_batch(channels=32)
    expected = run(method, batch)
    half = with_gradients(in_bfloat16(batch))
    losses = run_in("bfloat16", method, half)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], rtol=0.02, atol=0)
    require_finite(losses, method, half)


def test_state_holds_the_parameters_and_nothing_else() -> None:
    method = random_method()
    assert set(method.state_dict()) == {name for name, _ in method.named_parameters()}
    assert all(isinstance(p, nn.Parameter) for p in method.parameters())


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
    sum(run(method, random_batch(counts)).values()).backward()
    training = [p for p in method.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in training)
    assert bool(names) == any(p.requires_grad for p in teaching_parameters(method))
    assert all(p.requires_grad for p in method.student_values.parameters())


def test_without_the_scale_hint_the_size_of_an_object_does_not_show() -> None:
    batch = random_batch()
    queries = pose(batch.targets, random_method().draw(batch.targets, 0), 0.3)
    other = replace(queries, pixel_sizes=queries.pixel_sizes * 20)
    hinted, bare = random_method(), random_method(scale_hint=False)
    assert not torch.equal(hinted.encoder(queries), hinted.encoder(other))
    assert torch.equal(bare.encoder(queries), bare.encoder(other))
    described = bare.encoder.describe(queries)
    assert described.shape == hinted.encoder.describe(queries).shape
    assert torch.equal(described[..., :-10], hinted.encoder.describe(queries)[..., :-10])
    assert not described[..., -10:].any()
