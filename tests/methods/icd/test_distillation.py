"""The weights of tokens, and the weighted error of normalised values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from icd.methods.icd.plain import distillation_loss, instance_weights, normalise_values
from tests.methods.batches import gradient

N, M, K, L, D = 3, 2, 5, 7, 4


def random_logits() -> Tensor:
    torch.manual_seed(0)
    return 3 * torch.randn(N, M, K, L, dtype=torch.float64)


def real_queries(counts: tuple[int, ...] = (2, 0, 5)) -> Tensor:
    return torch.arange(K) < torch.tensor(counts)[:, None]


def random_values() -> tuple[Tensor, Tensor, Tensor]:
    """Values of student and teacher, and positive weights."""
    torch.manual_seed(1)
    student, teacher = torch.randn(2, N, M, L, D, dtype=torch.float64)
    return student, teacher, torch.rand(N, M, L, dtype=torch.float64)


# --- Weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 4.0, 0.5])
def test_weights_are_attention_summed_over_real_instances(temperature: float) -> None:
    logits, real = random_logits(), real_queries()
    weights = instance_weights(logits, real, temperature)
    for n in range(N):
        for m in range(M):
            expected = [0.0] * L
            for k in range(K):
                powers = [math.exp(x / temperature) for x in logits[n, m, k].tolist()]
                for s in range(L):
                    expected[s] += real[n, k].item() * powers[s] / sum(powers)
            assert weights[n, m].tolist() == pytest.approx(expected, rel=1e-12)


def test_weights_of_each_head_sum_to_the_number_of_instances() -> None:
    sums = instance_weights(random_logits(), real_queries()).sum(dim=-1)
    expected = torch.tensor([2.0, 0.0, 5.0], dtype=torch.float64)[:, None].expand(N, M)
    torch.testing.assert_close(sums, expected)


def test_fake_queries_do_not_enter_the_weights() -> None:
    logits, real = random_logits(), real_queries()
    other = torch.where(real[:, None, :, None], logits, -logits)
    assert torch.equal(instance_weights(logits, real), instance_weights(other, real))


def test_order_of_instances_does_not_matter() -> None:
    logits, real, order = random_logits(), real_queries(), torch.randperm(K)
    torch.testing.assert_close(
        instance_weights(logits[:, :, order], real[:, order]), instance_weights(logits, real)
    )


def test_padded_tokens_weigh_nothing_at_any_temperature() -> None:
    logits, real = random_logits(), real_queries()
    logits[..., -3:] = -torch.inf
    for temperature in (0.1, 1.0, 1e9):
        weights = instance_weights(logits, real, temperature)
        assert weights.isfinite().all()
        assert not weights[..., -3:].any()
    uniform = torch.full((M, L - 3), 2 / (L - 3), dtype=torch.float64)
    torch.testing.assert_close(weights[0, :, :-3], uniform)


def test_a_low_temperature_puts_all_weight_on_the_best_token() -> None:
    logits, real = random_logits(), real_queries()
    weights = instance_weights(logits, real, 1e-3)
    best = torch.nn.functional.one_hot(logits[2].argmax(dim=-1), L).sum(dim=1)
    torch.testing.assert_close(weights[2], best.double())


def test_weights_carry_no_gradient() -> None:
    assert not instance_weights(random_logits().requires_grad_(), real_queries()).requires_grad


def test_weights_of_half_precision_logits_are_single_precision() -> None:
    logits, real = random_logits().bfloat16(), real_queries()
    weights = instance_weights(logits, real)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(
        weights, instance_weights(logits.float(), real), rtol=1e-6, atol=1e-6
    )


# --- Values -----------------------------------------------------------------------------------


def test_normalised_values_follow_the_formula() -> None:
    values = 1e-2 * random_values()[0]  # small, so that epsilon counts
    mean = values.mean(dim=-1, keepdim=True)
    variance = values.var(dim=-1, unbiased=False, keepdim=True)
    torch.testing.assert_close(normalise_values(values), (values - mean) / (variance + 1e-5).sqrt())


def test_normalised_values_ignore_scale_and_shift_of_a_token() -> None:
    values = 100 * random_values()[0]
    scale, shift = torch.rand(2, N, M, L, 1, dtype=torch.float64) + 0.5
    torch.testing.assert_close(
        normalise_values(scale * values + 10 * shift), normalise_values(values), rtol=0, atol=1e-6
    )


def test_normalised_half_precision_values_are_single_precision() -> None:
    values = random_values()[0].bfloat16()
    assert normalise_values(values).dtype == torch.float32
    torch.testing.assert_close(normalise_values(values), normalise_values(values.float()))


# --- Loss -------------------------------------------------------------------------------------


def test_loss_is_the_weighted_mean_of_squared_errors() -> None:
    student, teacher, weights = random_values()
    total = 0.0
    for n in range(N):
        for m in range(M):
            w = weights[n, m].tolist()
            for c in range(D):
                gap = (student[n, m, :, c] - teacher[n, m, :, c]).tolist()
                total += sum(a * b * b for a, b in zip(w, gap, strict=True)) / sum(w)
    loss = distillation_loss(student, teacher, weights).item()
    assert loss == pytest.approx(total / (N * M * D), rel=1e-12)


def test_equal_values_cost_nothing() -> None:
    student, _, weights = random_values()
    assert distillation_loss(student, student.clone(), weights) == 0


def test_a_constant_error_costs_its_square_wherever_the_weights_lie() -> None:
    _, teacher, weights = random_values()
    loss = distillation_loss(teacher + 0.3, teacher, weights)
    assert loss.item() == pytest.approx(0.09)


def test_one_token_with_all_weight_is_the_only_one_compared() -> None:
    student, teacher, _ = random_values()
    weights = torch.zeros(N, M, L, dtype=torch.float64)
    weights[..., 2] = 0.7
    expected = (student[:, :, 2] - teacher[:, :, 2]).square().mean()
    torch.testing.assert_close(distillation_loss(student, teacher, weights), expected)


def test_the_scale_of_an_image_s_weights_does_not_matter() -> None:
    student, teacher, weights = random_values()
    scaled = weights * torch.tensor([0.01, 1.0, 200.0], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(
        distillation_loss(student, teacher, scaled), distillation_loss(student, teacher, weights)
    )


def test_values_without_weight_change_nothing() -> None:
    student, teacher, weights = random_values()
    weights[:, :, -3:] = 0
    expected = distillation_loss(student, teacher, weights)
    student[:, :, -3:], teacher[:, :, -3:] = 1e6, -1e6
    assert torch.equal(distillation_loss(student, teacher, weights), expected)


def test_order_of_tokens_does_not_matter() -> None:
    student, teacher, weights = random_values()
    order = torch.randperm(L)
    torch.testing.assert_close(
        distillation_loss(student[:, :, order], teacher[:, :, order], weights[..., order]),
        distillation_loss(student, teacher, weights),
    )


def test_a_batch_is_the_mean_of_its_images() -> None:
    batch = random_values()
    alone = [distillation_loss(*(x[n : n + 1] for x in batch)) for n in range(N)]
    torch.testing.assert_close(distillation_loss(*batch), torch.stack(alone).mean())


def test_an_image_without_weights_adds_zero_and_still_counts() -> None:
    student, teacher, weights = random_values()
    full = distillation_loss(student[:2], teacher[:2], weights[:2])
    weights[2] = 0
    torch.testing.assert_close(distillation_loss(student, teacher, weights), full * 2 / 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 8.0, 2.0**16])
def test_an_image_without_weights_has_zero_gradients(dtype: torch.dtype, scale: float) -> None:
    """Also where the loss is scaled up, by lambda or by a gradient scaler."""
    student, teacher, _ = (x[:1, :1].to(dtype) for x in random_values())
    student.requires_grad_()
    weights = torch.zeros(1, 1, L, dtype=dtype)
    loss = scale * distillation_loss(student, teacher, weights)
    loss.backward()
    assert loss == 0
    assert torch.equal(gradient(student), torch.zeros_like(student))


def test_gradient_of_the_student_is_the_weighted_error_and_the_teacher_has_none() -> None:
    student, teacher, weights = random_values()
    student.requires_grad_()
    teacher.requires_grad_()
    distillation_loss(student, teacher, weights).backward()
    share = weights / weights.sum(dim=-1, keepdim=True)
    expected = 2 * share[..., None] * (student - teacher).detach() / (N * M * D)
    torch.testing.assert_close(student.grad, expected)
    assert teacher.grad is None
