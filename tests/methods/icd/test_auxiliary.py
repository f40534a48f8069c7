"""The auxiliary losses against hand-computed numbers, and what they must exclude."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from icd.methods.icd.auxiliary import (
    AuxiliaryTask,
    identification_loss,
    localisation_loss,
)
from icd.methods.icd.queries import Queries
from icd.methods.tokens import full_precision
from tests.methods.batches import gradient


def make_queries(counts: tuple[int, ...] = (3, 2), real: tuple[int, ...] = (2, 1)) -> Queries:
    """``counts`` valid queries per image, the first ``real`` of them annotated instances."""
    torch.manual_seed(0)
    n, k = len(counts), max(counts)
    slots = torch.arange(k)
    sizes = torch.rand(n, k, 2) * 0.5 + 0.1
    before = torch.rand(n, k, 2) * sizes
    return Queries(
        labels=torch.zeros(n, k, dtype=torch.long),
        centres=torch.rand(n, k, 2),
        sizes=sizes,
        pixel_sizes=sizes * 100,
        sides=torch.cat([before, sizes - before], dim=-1),
        real=slots < torch.tensor(real)[:, None],
        valid=slots < torch.tensor(counts)[:, None],
    )


def changed(queries: Queries, **fields: Tensor) -> Queries:
    return Queries(**{**queries.__dict__, **fields})


# --- Identification ---------------------------------------------------------------------------


def test_identification_is_the_mean_cross_entropy_of_valid_queries() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 0.0, 7.0]])
    loss = identification_loss(logits, make_queries())
    costs = [math.log1p(math.exp(-2.0)), math.log1p(math.exp(1.0)), math.log1p(math.exp(0.5))]
    costs += [math.log1p(math.exp(3.0)), math.log(2.0)]
    assert loss.item() == pytest.approx(sum(costs) / 5)


def test_unused_slots_do_not_enter_identification() -> None:
    queries = make_queries()
    logits = torch.randn(2, 3).requires_grad_()
    other = torch.where(queries.valid, logits, 50.0)
    torch.testing.assert_close(
        identification_loss(logits, queries), identification_loss(other, queries)
    )
    identification_loss(logits, queries).backward()
    assert gradient(logits).ne(0).equal(queries.valid)


def test_certain_and_right_costs_nothing_certain_and_wrong_costs_the_logit() -> None:
    queries = make_queries()
    logits = torch.where(queries.real, 60.0, -60.0)
    assert identification_loss(logits, queries).item() == pytest.approx(0, abs=1e-12)
    assert identification_loss(-logits, queries).item() == pytest.approx(60.0)


# --- Localisation -----------------------------------------------------------------------------


def test_localisation_is_the_error_of_four_sides_in_units_of_the_box() -> None:
    queries = make_queries((2,), (1,))
    queries = changed(
        queries,
        sizes=torch.tensor([[[0.4, 0.2], [0.1, 0.1]]]),
        sides=torch.tensor([[[0.1, 0.1, 0.3, 0.1], [0.1, 0.1, 0.1, 0.1]]]),
    )
    predicted = torch.tensor([[[0.2, 0.05, 0.3, 0.3], [0.9, 0.9, 0.9, 0.9]]])
    # 0.1 / 0.4 + 0.05 / 0.2 + 0 / 0.4 + 0.2 / 0.2
    assert localisation_loss(predicted, queries).item() == pytest.approx(1.5)


def test_exact_sides_cost_nothing() -> None:
    queries = make_queries()
    assert localisation_loss(queries.sides.clone(), queries) == 0


def test_localisation_is_the_mean_over_all_real_queries_of_the_batch() -> None:
    queries = make_queries()
    alone = []
    for n, k in ((0, 0), (0, 1), (1, 0)):
        real = torch.zeros_like(queries.real)
        real[n, k] = True
        alone.append(localisation_loss(torch.full((2, 3, 4), 0.2), changed(queries, real=real)))
    loss = localisation_loss(torch.full((2, 3, 4), 0.2), queries)
    torch.testing.assert_close(loss, torch.stack(alone).mean())


def test_a_larger_box_forgives_a_larger_error() -> None:
    queries = make_queries()
    error = 0.1 * torch.rand(2, 3, 4)
    double = changed(queries, sizes=2 * queries.sizes, sides=2 * queries.sides)
    torch.testing.assert_close(
        localisation_loss(2 * queries.sides + 2 * error, double),
        localisation_loss(queries.sides + error, queries),
    )


def test_fake_queries_do_not_enter_localisation() -> None:
    queries = make_queries()
    sides = torch.rand(2, 3, 4).requires_grad_()
    localisation_loss(sides, queries).backward()
    assert gradient(sides).ne(0).all(dim=-1).equal(queries.real)
    assert gradient(sides).ne(0).any(dim=-1).equal(queries.real)


def test_without_real_queries_localisation_and_its_gradient_are_zero() -> None:
    sides = torch.rand(2, 3, 4).requires_grad_()
    loss = localisation_loss(sides, make_queries(real=(0, 0)))
    loss.backward()
    assert loss == 0
    assert torch.equal(gradient(sides), torch.zeros_like(sides))


def test_boxes_without_area_keep_localisation_finite() -> None:
    queries = changed(make_queries(), sizes=torch.zeros(2, 3, 2), sides=torch.zeros(2, 3, 4))
    sides = torch.rand(2, 3, 4).requires_grad_()
    loss = localisation_loss(sides, queries)
    loss.backward()
    assert loss.isfinite()
    assert gradient(sides).isfinite().all()


# --- Together ---------------------------------------------------------------------------------


def test_the_first_output_is_objectness_and_the_others_are_sides_through_a_sigmoid() -> None:
    task, queries, found = AuxiliaryTask(8), make_queries(), torch.randn(2, 3, 8)
    prediction = task.predictor(found)
    assert prediction.shape == (2, 3, 5)
    losses = task(found, queries)
    identification, localisation = losses["identification"], losses["localisation"]
    torch.testing.assert_close(identification, identification_loss(prediction[..., 0], queries))
    sides = 1 / (1 + (-prediction[..., 1:]).exp())
    torch.testing.assert_close(localisation, localisation_loss(sides, queries))


def test_only_what_is_asked_for_is_answered() -> None:
    queries, found = make_queries(), torch.randn(2, 3, 8)
    both = AuxiliaryTask(8)
    for name in ("identification", "localisation"):
        one = AuxiliaryTask(8, [name])
        one.load_state_dict(both.state_dict())
        assert one(found, queries) == {name: both(found, queries)[name]}
    assert AuxiliaryTask(8, [])(found, queries) == {}


def test_an_unknown_auxiliary_loss_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not \['colour'\]"):
        AuxiliaryTask(8, ["colour"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_full_precision_raises_half_and_keeps_double(
    given: torch.dtype, expected: torch.dtype
) -> None:
    assert full_precision(torch.zeros(1, dtype=given)).dtype == expected
