"""ICD's random draws depend only on seed, process and iteration."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import icd.methods.icd.method
from icd.methods.icd.method import ICD
from tests.methods.batches import PRIORS, random_batch, random_method, run


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
        monkeypatch.setattr(icd.methods.icd.method, "share_index", lambda rank=rank: rank)
        assert torch.equal(drawn(method, 3), alone) == (rank == 0)


def test_a_batch_is_asked_as_many_questions_as_documented() -> None:
    counts = (0, 1, 40)
    batch = random_batch(counts=counts)
    draws = random_method(query_cap=30).draw(batch.targets, 0)
    assert [len(draw.labels) for draw in draws] == [1, 6, 40]
