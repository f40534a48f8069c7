"""What is compared is the same computation, and the measuring works."""

from __future__ import annotations

import pytest
import torch

from icd.cost.decoder import VARIANTS, Case, both_sides, main
from icd.methods.icd import plain
from icd.methods.icd.queries import pose

SMALL = '{"size": [64, 96], "channels": 32, "heads": 4}'


@pytest.mark.parametrize("layers", [0, 2])
def test_both_sides_cost_more_and_give_the_same(layers: int) -> None:
    method, teacher, student, targets = Case((64, 96), channels=32, layers=layers).inputs()
    for ours, layer in zip(method.student_values, method.decoder.layers, strict=True):
        value = (layer.attention if layers else layer).value
        ours.load_state_dict(value.state_dict())
    queries = pose(targets, method.draw(targets, 0), method.jitter)
    given = teacher, student, targets, queries, False
    expected, found = plain.losses(method, *given), both_sides(method)(*given)
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss)


def test_prints_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--objects", "1", "--rounds", "1", "--case", SMALL])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == list(VARIANTS)
    first = lines[2].split(" | ")
    assert first[3] == "1.000"
    assert all(float(line.split(" | ")[2]) > 0 for line in lines[2:])
