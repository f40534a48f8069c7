"""Seeds made of several numbers."""

from __future__ import annotations

from itertools import product

from icd.seeds import seed_of

SEEDS = [2968811710, 3964924996, 672896290]


def test_seeds_are_those_of_this_version() -> None:
    """A change would give every run other draws under its old name: raise VERSION of runs."""
    assert [seed_of(0), seed_of(0, 1), seed_of(2021, 3, 50_000)] == SEEDS


def test_every_process_and_iteration_has_its_own_seed() -> None:
    seeds = [seed_of(7, rank, iteration) for rank, iteration in product(range(8), range(1000))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_any_size_of_number_will_do() -> None:
    assert seed_of(2**63, 0) != seed_of(2**63, 1)
