"""The method against stored values of the published implementation, in float32."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from icd.methods.icd import plain
from icd.methods.icd.auxiliary import identification_loss, localisation_loss
from icd.methods.icd.method import ICD
from icd.methods.icd.plain import compared, distillation_loss, instance_weights
from icd.methods.icd.queries import Queries, make_queries
from icd.methods.icd.sampling import query_count
from icd.methods.tokens import flatten_levels, tokenize
from tests.methods.batches import gradient
from tests.methods.icd.golden import CASES, GoldenCase

TOLERANCE = 1e-5  # of each tensor's largest magnitude


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    """Equal shapes and values to 1e-5 of the largest finite magnitude of ``theirs``."""
    assert ours.shape == theirs.shape
    finite = theirs.isfinite()
    assert torch.equal(ours.isfinite(), finite)
    scale = theirs[finite].abs().max().item() if finite.any() else 0.0
    torch.testing.assert_close(
        ours[finite].double(), theirs[finite].double(), rtol=0, atol=TOLERANCE * max(scale, 1e-30)
    )


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> GoldenCase:
    return GoldenCase(request.param)


def published_scale(case: GoldenCase, queries: Queries) -> Queries:
    """The published code takes every image's size in pixels from the last one: do as it did."""
    height, width = case.targets.image_sizes[-1]
    pixels = queries.sizes * torch.tensor([width, height])
    return Queries(**{**queries.__dict__, "pixel_sizes": pixels})


def test_all_cases_are_here() -> None:
    assert len(CASES) == 9


def test_query_count(case: GoldenCase) -> None:
    cap = int(case.options.get("MAX_LABELS", 300))
    counts = [query_count(len(boxes), 5.0, cap) for boxes in case.targets.boxes]
    assert counts == (~case.out("query_pad_mask")).sum(dim=1).tolist()


def test_queries(case: GoldenCase) -> None:
    queries = make_queries(case.targets, case.draws(), jitter_range=0.3)
    used = ~case.out("query_pad_mask")
    assert torch.equal(queries.valid, used)
    assert torch.equal(queries.real.float() * used, case.out("query_is_real") * used)
    assert torch.equal(queries.labels[used], case.out("query_class")[used])
    assert_close(queries.centres[used], case.out("query_center_jittered")[used])
    assert_close(queries.sides[used], case.out("query_ltrb_target")[used])


def test_query_encoding(case: GoldenCase) -> None:
    method, used = case.method(), ~case.out("query_pad_mask")
    queries = published_scale(case, make_queries(case.targets, case.draws(), 0.3))
    described = method.encoder.describe(queries)
    assert_close(described[used], case.out("query_input").transpose(0, 1)[used])
    assert_close(method.encoder(queries)[used], case.out("query_encoded").transpose(0, 1)[used])


def test_single_image_needs_no_correction() -> None:
    case = GoldenCase("small.single")
    ours = case.method().encoder.describe(make_queries(case.targets, case.draws(), 0.3))
    assert_close(ours, case.out("query_input").transpose(0, 1))


def test_tokens(case: GoldenCase) -> None:
    tokens = tokenize(case.levels("tea"), case.targets.image_sizes, case.targets.padded_size)
    assert torch.equal(~tokens.valid, case.out("token_pad_mask"))
    if case.has("token_pos_embed"):
        theirs = case.out("token_pos_embed").transpose(0, 1)
        assert_close(tokens.position[tokens.valid], theirs[tokens.valid])


def test_decoder(case: GoldenCase) -> None:
    method, targets = case.method(), case.targets
    used = ~case.out("query_pad_mask")
    queries = published_scale(case, make_queries(targets, case.draws(), 0.3))
    tokens = tokenize(case.levels("tea"), targets.image_sizes, targets.padded_size)
    for i, layer in enumerate(method.decoder(method.encoder(queries), tokens, plain.look_up)):
        theirs = case.out(f"attn_logits.{i}").transpose(1, 2)[used]
        assert_close(layer.logits.transpose(1, 2)[used], theirs)
        assert_close(layer.queries[used], case.out(f"decoder_out.{i}").transpose(0, 1)[used])
        assert_close(layer.values, case.out(f"tvalue_raw.{i}").permute(1, 2, 0, 3))
        weights = instance_weights(layer.logits, queries.real, method.temperature)
        assert_close(weights, case.out(f"value_mask.{i}").squeeze(2))
        prediction = method.auxiliary.predictor(layer.queries)
        assert_close(prediction[used], case.out(f"predictor_out.{i}").transpose(0, 1)[used])
        assert_close(
            identification_loss(prediction[..., 0], queries), case.out(f"loss.tea.{i}.prop_conf")
        )
        assert_close(
            localisation_loss(prediction[..., 1:].sigmoid(), queries),
            case.out(f"loss.tea.{i}.prop_reg"),
        )


def test_student_values_and_layer_losses(case: GoldenCase) -> None:
    method = case.method()
    features = flatten_levels(case.levels("stu"))
    for i, projection in enumerate(method.student_values):
        values = projection(features).unflatten(-1, (case.heads, -1)).transpose(1, 2)
        assert_close(values, case.out(f"svalue_raw.{i}").permute(1, 2, 0, 3))
        loss = distillation_loss(
            compared(values, method.normalise),
            compared(case.out(f"tvalue_raw.{i}").permute(1, 2, 0, 3), method.normalise),
            case.out(f"value_mask.{i}").squeeze(2),
        )
        assert_close(loss, case.out(f"mimic_loss_per_layer.{i}"))


def losses_and_student(case: GoldenCase) -> tuple[dict[str, Tensor], list[Tensor], ICD]:
    method = case.method()
    student = [level.requires_grad_() for level in case.levels("stu")]
    queries = published_scale(case, make_queries(case.targets, case.draws(), 0.3))
    losses = method.losses(case.levels("tea"), student, case.targets, queries, detach=False)
    return losses, student, method


def summed(losses: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(losses)).sum(dim=0)


def test_losses(case: GoldenCase) -> None:
    losses, _, method = losses_and_student(case)
    layers = range(len(method.decoder.layers))
    theirs = summed(case.out(f"loss.tea.{i}.prop_conf") for i in layers)
    assert_close(losses["loss_identification"], theirs)
    theirs = summed(case.out(f"loss.tea.{i}.prop_reg") for i in layers)
    assert_close(losses["loss_localisation"], theirs)
    # The published code logs one entry per layer, already divided by their number.
    keys = [f"loss.distill.0.matt.{i}.value" for i in layers] + ["loss.distill.0.matt.value"]
    theirs = summed(case.out(key) for key in keys if case.has(key))
    assert_close(losses["loss_distillation"], theirs)


# Softmax is invariant to a shift of the logits, so these gradients are zero but for rounding.
ZERO_GRADIENT = (".key.bias", ".position.bias")


def check_gradients(case: GoldenCase, method: ICD, kind: str) -> int:
    """Compare every gradient of ``kind`` that is stored; the number of tensors compared."""
    parameters, compared = dict(method.named_parameters()), 0
    for ours, theirs, rows in case.names():
        found = parameters[ours].grad
        key = f"grad.{kind}.param.{theirs}"
        if not case.has(key):
            assert found is None or not found.any(), ours
            continue
        stored = case.out(key)
        if ours.endswith(ZERO_GRADIENT):
            scale = max(gradient(p).abs().max() for p in parameters.values() if p.grad is not None)
            assert found is not None
            assert found.abs().max() <= TOLERANCE * scale
        elif found is None:
            assert not stored[rows].any(), ours
        else:
            assert_close(found, stored[rows])
            compared += 1
    return compared


def test_gradients_of_the_auxiliary_losses(case: GoldenCase) -> None:
    losses, student, method = losses_and_student(case)
    (losses["loss_identification"] + losses["loss_localisation"]).backward()
    assert check_gradients(case, method, "aux") >= 12
    assert all(level.grad is None for level in student)
    assert all(p.grad is None for p in method.student_values.parameters())


def test_gradients_of_the_distillation_loss(case: GoldenCase) -> None:
    losses, student, method = losses_and_student(case)
    losses["loss_distillation"].backward()
    assert check_gradients(case, method, "distill") == 2 * len(method.student_values)
    for level, theirs in zip(student, case.levels("stu"), strict=True):
        assert gradient(level).shape == theirs.shape
    keys = [key for key in case.values if key.startswith("out/grad.distill.student.")]
    assert len(keys) == len(student)
    for level, key in zip(student, keys, strict=True):
        assert_close(gradient(level), torch.from_numpy(case.values[key]))
    frozen = (method.decoder, method.encoder, method.auxiliary)
    assert all(p.grad is None for module in frozen for p in module.parameters())
