"""Queries: their number, fake instances, jitter and encoding."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from icd.data.priors import Priors
from icd.methods.icd.queries import Queries, QueryEncoder, make_queries, sine_place
from icd.methods.icd.sampling import QuerySampler, QuerySamples, query_count
from icd.methods.tokens import Targets
from tests.methods.batches import CLASSES, PRIORS, random_boxes

LIMITS = (64.5, 129.2, 258.7, 518.0)  # px at which the scale bins 1 to 4 begin
MANY = 200_000


# --- How many ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("real", "ratio", "cap", "expected"),
    [
        (0, 5.0, 300, 1),  # one fake for an empty image
        (1, 5.0, 300, 6),
        (7, 5.0, 300, 42),
        (50, 5.0, 300, 300),
        (51, 5.0, 300, 300),
        (300, 5.0, 300, 300),
        (301, 5.0, 300, 301),  # every real instance is asked for
        (16, 5.0, 100, 96),
        (17, 5.0, 100, 100),
        (3, 0.5, 300, 4),  # rounded down
        (3, 0.0, 300, 3),
        (0, 0.0, 300, 1),
    ],
)
def test_query_count_is_as_documented(real: int, ratio: float, cap: int, expected: int) -> None:
    assert query_count(real, ratio, cap) == expected


@given(st.integers(0, 1000), st.floats(0, 20), st.integers(1, 500))
@settings(max_examples=50, deadline=None)
def test_query_count_holds_all_real_and_respects_the_cap(real: int, ratio: float, cap: int) -> None:
    count = query_count(real, ratio, cap)
    assert max(real, 1) <= count <= max(cap, real)


# --- Fake instances ---------------------------------------------------------------------------


def draw_many(priors: dict = PRIORS, seed: int = 0) -> QuerySamples:
    (draw,) = QuerySampler(Priors(**priors))([MANY], torch.Generator().manual_seed(seed))
    return draw


def sizes_and_centres(draw: QuerySamples) -> tuple[Tensor, Tensor]:
    top_left, bottom_right = draw.boxes.double().split(2, dim=1)
    return bottom_right - top_left, (top_left + bottom_right) / 2


def one_class(mean: float, std: float) -> dict[str, Any]:
    return {"frequency": [1.0], "size_mean": [[mean, mean]], "size_std": [[std, std]]}


@pytest.fixture(scope="module")
def fakes() -> QuerySamples:
    return draw_many()


def test_fakes_have_the_class_frequencies_of_the_priors(fakes: QuerySamples) -> None:
    shares = torch.bincount(fakes.labels, minlength=CLASSES) / MANY
    for share, p in zip(shares.tolist(), PRIORS["frequency"], strict=True):
        assert abs(share - p) <= 5 * math.sqrt(p * (1 - p) / MANY)


def test_a_class_without_instances_is_never_drawn(fakes: QuerySamples) -> None:
    assert PRIORS["frequency"][5] == 0
    assert not (fakes.labels == 5).any()


def test_fake_sizes_have_the_mean_and_deviation_of_their_own_class() -> None:
    means, stds = [[0.2, 0.5], [0.4, 0.3]], [[0.02, 0.05], [0.06, 0.01]]
    draw = draw_many({"frequency": [0.5, 0.5], "size_mean": means, "size_std": stds})
    sizes, _ = sizes_and_centres(draw)
    # Standard deviation of a standard normal number clipped to [-2, 2].
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    inside = math.erf(math.sqrt(2))
    clipped = math.sqrt(inside - 4 * density + 4 * (1 - inside))
    for label in range(2):
        own = sizes[draw.labels == label]
        for axis in range(2):
            mean, std = means[label][axis], stds[label][axis]
            assert own[:, axis].mean().item() == pytest.approx(
                mean, abs=5 * std / math.sqrt(MANY / 2)
            )
            assert own[:, axis].std().item() == pytest.approx(std * clipped, rel=0.02)


def test_fake_sizes_are_clipped_to_two_deviations() -> None:
    sizes, _ = sizes_and_centres(draw_many(one_class(0.3, 0.05)))
    assert sizes.min().item() == pytest.approx(0.2, abs=1e-6)
    assert sizes.max().item() == pytest.approx(0.4, abs=1e-6)
    # Clipped, not drawn again: the tails lie on the limits.
    tail = (1 - math.erf(math.sqrt(2))) / 2
    assert (sizes < 0.2 + 1e-6).double().mean().item() == pytest.approx(tail, rel=0.05)
    assert (sizes > 0.4 - 1e-6).double().mean().item() == pytest.approx(tail, rel=0.05)


def test_width_and_height_of_fakes_deviate_independently() -> None:
    sizes, centres = sizes_and_centres(draw_many(one_class(0.3, 0.05)))
    correlations = torch.corrcoef(torch.cat([sizes, centres], dim=1).T)
    assert (correlations - torch.eye(4)).abs().max() < 5 / math.sqrt(MANY)


def test_fake_sizes_stay_between_their_limits() -> None:
    sizes, _ = sizes_and_centres(draw_many(one_class(0.35, 0.4)))
    assert sizes.min().item() == pytest.approx(0.002, abs=1e-6)
    assert sizes.max().item() == pytest.approx(0.7, abs=1e-6)


def test_fake_centres_are_uniform_and_clipped(fakes: QuerySamples) -> None:
    _, centres = sizes_and_centres(fakes)
    assert centres.min().item() == pytest.approx(0.03, abs=1e-6)
    assert centres.max().item() == pytest.approx(0.97, abs=1e-6)
    for quantile in (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98):
        expected = min(max(quantile, 0.03), 0.97)
        for axis in range(2):
            found = centres[:, axis].quantile(quantile).item()
            assert found == pytest.approx(expected, abs=5 * 0.5 / math.sqrt(MANY))


def test_jitter_is_uniform_between_minus_one_and_one(fakes: QuerySamples) -> None:
    assert fakes.jitter.shape == (MANY, 2)
    assert fakes.jitter.abs().max() <= 1
    for quantile in (0.1, 0.5, 0.9):
        found = fakes.jitter.quantile(quantile, dim=0)
        assert (found - (2 * quantile - 1)).abs().max() < 5 / math.sqrt(MANY)


# --- From draws and ground truth to questions -------------------------------------------------

SIZES = ((480, 640), (333, 200), (100, 100))


def make_targets(counts: tuple[int, ...], seed: int = 0) -> Targets:
    generator = torch.Generator().manual_seed(seed)
    sizes = SIZES[: len(counts)]
    return Targets(
        boxes=[random_boxes(n, hw, generator) for n, hw in zip(counts, sizes, strict=True)],
        labels=[torch.randint(CLASSES, (n,), generator=generator) for n in counts],
        image_sizes=sizes,
        padded_size=(480, 640),
        strides=[],
    )


def make_draws(counts: tuple[int, ...], seed: int = 0) -> list[QuerySamples]:
    sampler, generator = QuerySampler(Priors(**PRIORS)), torch.Generator().manual_seed(seed)
    return sampler(counts, generator)


def corners(queries: Queries) -> Tensor:
    """Boxes as fractions of the image, from centres and sides."""
    centres, sides = queries.centres, queries.sides
    return torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], dim=-1)


def test_real_instances_come_first_with_their_own_boxes_and_labels() -> None:
    targets = make_targets((3, 0, 2))
    queries = make_queries(targets, make_draws((6, 1, 4)), 0.3)
    for i, ((height, width), boxes) in enumerate(zip(SIZES, targets.boxes, strict=True)):
        n = len(boxes)
        assert queries.real[i].tolist() == [k < n for k in range(6)]
        assert torch.equal(queries.labels[i, :n], targets.labels[i])
        pixels = torch.tensor([width, height, width, height])
        torch.testing.assert_close(corners(queries)[i, :n] * pixels, boxes)


def test_fakes_keep_their_place_after_the_real_instances() -> None:
    draws = make_draws((6, 1, 4))
    queries = make_queries(make_targets((3, 0, 2)), draws, 0.3)
    for i, (draw, n) in enumerate(zip(draws, (3, 0, 2), strict=True)):
        end = len(draw.labels)
        assert torch.equal(queries.labels[i, n:end], draw.labels[n:])
        torch.testing.assert_close(corners(queries)[i, n:end], draw.boxes[n:].double().clamp(0, 1))


def test_unused_slots_are_neither_valid_nor_real() -> None:
    queries = make_queries(make_targets((3, 0, 2)), make_draws((6, 1, 4)), 0.3)
    assert queries.valid.sum(dim=1).tolist() == [6, 1, 4]
    assert queries.valid.tolist() == [[k < count for k in range(6)] for count in (6, 1, 4)]
    assert not (queries.real & ~queries.valid).any()


def test_pixel_sizes_are_those_of_each_query_s_own_image() -> None:
    targets = make_targets((1, 1, 1))
    queries = make_queries(targets, make_draws((3, 3, 3)), 0.3)
    for i, (height, width) in enumerate(SIZES):
        x1, y1, x2, y2 = targets.boxes[i][0].tolist()
        assert queries.pixel_sizes[i, 0].tolist() == pytest.approx([x2 - x1, y2 - y1])
        expected = queries.sizes[i] * torch.tensor([width, height])
        torch.testing.assert_close(queries.pixel_sizes[i], expected)


def test_fakes_are_clamped_to_the_image_before_their_centre_is_taken() -> None:
    draw = QuerySamples(
        torch.tensor([1, 2]),
        torch.tensor([[-0.2, 0.1, 0.4, 0.3], [0.9, 0.8, 1.1, 1.4]]),
        torch.zeros(2, 2),
    )
    queries = make_queries(make_targets((0,)), [draw], 0.3)
    torch.testing.assert_close(queries.centres[0], torch.tensor([[0.2, 0.2], [0.95, 0.9]]).double())
    torch.testing.assert_close(queries.sizes[0], torch.tensor([[0.4, 0.2], [0.1, 0.2]]).double())


def test_jitter_moves_every_centre_in_units_of_its_box() -> None:
    targets, draws = make_targets((2, 0)), make_draws((4, 1))
    still, moved = make_queries(targets, draws, 0.0), make_queries(targets, draws, 0.3)
    for i, draw in enumerate(draws):
        used = slice(0, len(draw.jitter))
        move = (moved.centres - still.centres)[i, used] / still.sizes[i, used]
        torch.testing.assert_close(move, 0.3 * draw.jitter.double())
    torch.testing.assert_close(corners(moved), corners(still))


@given(st.integers(0, 2**32), st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_jittered_centres_stay_within_their_box_and_boxes_within_the_image(
    seed: int, real: int
) -> None:
    queries = make_queries(make_targets((real,), seed), make_draws((real + 50,), seed), 0.3)
    assert (queries.sides >= 0.2 * queries.sizes.repeat(1, 1, 2) - 1e-9).all()
    assert ((corners(queries) >= -1e-9) & (corners(queries) <= 1 + 1e-9)).all()
    assert (queries.sizes > 0).all()


# --- Encoding ---------------------------------------------------------------------------------


def question(
    label: int = 0,
    centre: tuple[float, float] = (0.5, 0.5),
    pixels: tuple[float, float] = (100.0, 100.0),
) -> Queries:
    """One query of one image."""
    return Queries(
        labels=torch.tensor([[label]]),
        centres=torch.tensor([[centre]], dtype=torch.float64),
        sizes=torch.tensor([[pixels]], dtype=torch.float64) / 800,
        pixel_sizes=torch.tensor([[pixels]], dtype=torch.float64),
        sides=torch.zeros(1, 1, 4, dtype=torch.float64),
        real=torch.ones(1, 1, dtype=torch.bool),
        valid=torch.ones(1, 1, dtype=torch.bool),
    )


def scale_bins(pixels: tuple[float, float], offset: float = 5.0) -> tuple[int, int]:
    """Bins of width and height, read off the one-hot end of the description."""
    code = QueryEncoder(CLASSES, 8, offset).describe(question(pixels=pixels))[0, 0, -10:]
    assert code.sum() == 2
    return int(code[:5].argmax()), int(code[5:].argmax())


@pytest.mark.parametrize(("index", "limit"), list(enumerate(LIMITS)))
def test_scale_bins_begin_at_the_documented_sizes(index: int, limit: float) -> None:
    assert scale_bins((limit * 0.999, 10.0)) == (index, 0)
    assert scale_bins((limit * 1.001, 10.0)) == (index + 1, 0)
    assert scale_bins((10.0, limit * 0.999)) == (0, index)
    assert scale_bins((10.0, limit * 1.001)) == (0, index + 1)


@pytest.mark.parametrize("pixels", [0.0, 1e-3, 1.0, 5e3, 1e6])
def test_extreme_sizes_fall_into_the_outer_bins(pixels: float) -> None:
    assert scale_bins((pixels, pixels)) == ((4, 4) if pixels > 600 else (0, 0))


@pytest.mark.parametrize("offset", [2.0, 3.5, 4.0])
def test_scale_offset_shifts_the_limits_by_octaves(offset: float) -> None:
    for index, limit in enumerate(LIMITS):
        moved = limit * math.exp((offset - 5) / 1.44)
        assert moved == pytest.approx(limit * 2 ** (offset - 5), rel=0.01)
        assert scale_bins((moved * 0.998, moved * 1.002), offset) == (index, index + 1)


def test_class_is_one_hot_in_front() -> None:
    encoder = QueryEncoder(CLASSES, 8)
    for label in range(CLASSES):
        code = encoder.describe(question(label))[0, 0]
        assert code.shape == (CLASSES + 256 + 10,)
        assert code[:CLASSES].tolist() == [float(c == label) for c in range(CLASSES)]


def test_place_is_sines_and_cosines_of_x_then_of_y() -> None:
    x, y = 0.3, 0.85
    code = sine_place(torch.tensor([[[x, y]]], dtype=torch.float64))[0, 0]
    for start, wave, value in (
        (0, math.sin, x),
        (64, math.cos, x),
        (128, math.sin, y),
        (192, math.cos, y),
    ):
        for k in (0, 1, 31, 63):
            expected = wave(2 * math.pi * value / 10000 ** (k / 64))
            assert code[start + k].item() == pytest.approx(expected, abs=1e-13)


def test_sizes_enter_a_query_through_their_bins_alone() -> None:
    encoder = QueryEncoder(CLASSES, 8).double()
    same = [encoder(question(pixels=pixels)) for pixels in ((70.0, 140.0), (120.0, 250.0))]
    other = encoder(question(pixels=(120.0, 270.0)))
    assert torch.equal(*same)
    assert not torch.equal(same[1], other)
