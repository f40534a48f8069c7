"""The benchmark compares equal computations, and its table is readable."""

from __future__ import annotations

import pytest
import torch

from benchmarks.look_up import FORMULATIONS, Case, main
from icd.methods.icd.queries import make_queries

SMALL = '{"size": [64, 96], "channels": 32, "heads": 4}'


@pytest.mark.parametrize("layers", [0, 2])
def test_formulations_give_the_same_losses(layers: int) -> None:
    method, teacher, student, targets = Case((64, 96), channels=32, layers=layers).inputs()
    queries = make_queries(targets, method.draw(targets, 0), method.jitter)
    expected, found = (
        method.losses(teacher, student, targets, queries, False, FORMULATIONS[name])
        for name in ("plain", "fast")
    )
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss)


def test_prints_times_and_peaks_with_their_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--objects", "1", "--rounds", "1", "--case", SMALL])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == list(FORMULATIONS)
    first = lines[2].split(" | ")
    assert first[3] == "1.000"
    assert all(float(line.split(" | ")[2]) > 0 for line in lines[2:])
