"""Maps of attention keep its mass, and their numbers are those of the single tokens."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from icd.figures.attention_maps import Seen
from icd.figures.spread import spread
from icd.methods.icd.decoder import LayerOutput
from icd.web.attention import CELLS, OBJECTS, covered, effective, image_maps, pooling

STRIDES = [8, 16]
SIZES = [(6, 8), (3, 4)]
SIZE = (44, 60)  # the last cells lie partly beyond the image
BOXES = [
    [4, 4, 20, 12],
    [0, 0, 60, 44],
    [30, 20, 50, 40],
    [8, 8, 10, 10],
    [0, 30, 16, 44],
    [1, 1, 9, 9],
]


@dataclass(frozen=True)
class Given(LayerOutput):
    """A layer with this attention [n, M, L]."""

    own: Tensor

    def attention(self, counted: Tensor, temperature: float) -> Tensor:
        return (self.own * counted[0, :, None, None]).sum(dim=0)[None] / temperature


@pytest.fixture
def seen() -> Seen:
    torch.manual_seed(0)
    tokens = sum(rows * columns for rows, columns in SIZES)
    nothing = torch.empty(0)
    layers = [
        Given(nothing, nothing, torch.rand(len(BOXES), 3, tokens).softmax(dim=-1)) for _ in range(2)
    ]
    return Seen(
        boxes=torch.tensor(BOXES, dtype=torch.float32),
        labels=torch.arange(len(BOXES)),
        size=SIZE,
        strides=STRIDES,
        sizes=SIZES,
        layers=list(layers),
        weights={},
        valid=torch.ones(tokens, dtype=torch.bool),
        temperature=1.0,
    )


def density(seen: Seen, layer: int, chosen: int) -> np.ndarray:
    """Of each pixel, [M, H, W], with whole cells."""
    own = seen.layers[layer].attention(torch.arange(len(BOXES))[None] == chosen, 1.0)[0]
    return spread(own.double(), SIZES, STRIDES, (48, 64)).numpy()


def test_objects_are_spaced_by_area_and_all_come_last(seen: Seen) -> None:
    shown = image_maps(seen, image=7)
    assert shown["id"] == 7
    labels = [entry["label"] for entry in shown["objects"]]
    assert len(labels) == OBJECTS + 1
    assert labels[0] == 1, "the largest"
    assert labels[-2] == 3, "the smallest"
    assert labels[-1] is None
    x, y, width, height = shown["objects"][-2]["box"] or []
    pixels = [x * 60, y * 44, width * 60, height * 44]
    assert pixels == pytest.approx([8, 8, 2, 2], abs=0.01)


def test_maps_are_the_density_over_the_image(seen: Seen) -> None:
    shown = image_maps(seen, image=0)
    assert (shown["rows"], shown["columns"]) == (6, 8)
    assert shown["extent"] == [64 / 60, 48 / 44]
    entry = shown["objects"][0]
    values = np.frombuffer(base64.b64decode(entry["maps"]), np.uint8).reshape(2, 3, 6, 8)
    maps = entry["peak"] * (values / 255.0) ** 2
    for layer in (0, 1):
        pixels = density(seen, layer, 1)
        cells = pixels.reshape(3, 6, 8, 8, 8).sum(axis=(2, 4))
        np.testing.assert_allclose(maps[layer], cells, atol=entry["peak"] / 100)
    assert maps.sum(axis=(-2, -1)) == pytest.approx(1, abs=0.01)


def test_the_share_in_a_box_is_that_of_its_pixels(seen: Seen) -> None:
    shown = image_maps(seen, image=0)["objects"]
    for entry in shown[:-1]:
        left, top, right, bottom = BOXES[entry["label"] or 0]
        for layer in (0, 1):
            inside = density(seen, layer, entry["label"] or 0)[:, top:bottom, left:right]
            np.testing.assert_allclose(entry["inside"][layer], inside.sum(axis=(1, 2)), atol=1e-3)


@pytest.mark.parametrize(("limit", "value"), [("CELLS", 12), ("VALUES", 2 * 3 * 12)])
def test_coarse_maps_keep_the_mass(
    seen: Seen, limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"icd.web.attention.{limit}", value)
    shown = image_maps(seen, image=0)
    assert (shown["rows"], shown["columns"]) == (3, 4)
    assert shown["extent"] == [64 / 60, 48 / 44]
    entry = shown["objects"][0]
    values = np.frombuffer(base64.b64decode(entry["maps"]), np.uint8).reshape(2, 3, 3, 4)
    sums = (entry["peak"] * (values / 255.0) ** 2).sum(axis=(-2, -1))
    assert sums == pytest.approx(1, abs=0.02)


def test_even_attention_has_as_many_effective_tokens_as_there_are() -> None:
    even, one = torch.full((60,), 0.5), torch.eye(60)[3]
    assert effective(torch.stack([even, one])).tolist() == pytest.approx([60, 1])


def test_a_box_covers_cells_by_their_pixels() -> None:
    box = torch.tensor([3.0, 5.0, 29.0, 14.0])
    pixels = np.zeros((24, 32))
    pixels[5:14, 3:29] = 1
    expected = pixels.reshape(3, 8, 4, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(covered(box, (3, 4), 8).numpy(), expected)


def test_grids_are_pooled_until_they_are_small_enough() -> None:
    assert pooling(16, 16, CELLS) == 1
    factor = pooling(100, 168, CELLS)
    assert -(-100 // factor) * -(-168 // factor) <= CELLS
    assert -(-100 // (factor - 1)) * -(-168 // (factor - 1)) > CELLS
