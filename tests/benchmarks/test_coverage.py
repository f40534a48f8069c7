"""The figure of the docs shows what the estimator covers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.coverage import coverage, main, ours, welch


def test_welch_covers_too_little_with_two_seeds_and_ours_does_not() -> None:
    assert coverage(welch, 2, 5.0) < 0.9
    assert coverage(ours, 2, 5.0) >= 0.945


def test_without_scatter_over_seeds_both_are_the_images_interval() -> None:
    for method in (ours, welch):
        assert 0.945 < coverage(method, 3, 0.0) < 0.955


def test_draws_the_figure(tmp_path: Path) -> None:
    main(tmp_path / "coverage.png")
    assert (tmp_path / "coverage.png").stat().st_size > 10_000
