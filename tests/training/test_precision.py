"""bfloat16: where it is used, and that results stay close to float32."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from icd.training.distiller import Distiller
from icd.training.precision import set_precision, use_bfloat16, widen
from tests.lab import DETECTORS, Lab, batch, teacher_of

pytestmark = pytest.mark.slow

# What softmax, norms over channels and losses are made of.
EXACT = ("softmax", "layer_norm", "log", "exp", "sigmoid", "entropy", "l1_loss", "pow", "roi_align")
NETWORK = ("convolution", "addmm", "bmm")


class Dtypes(TorchDispatchMode):
    """Collects the floating dtypes of the tensors that each operator is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, set[torch.dtype]] = defaultdict(set)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        tensors = [x for x in args if isinstance(x, Tensor) and x.is_floating_point()]
        self.seen[func.overloadpacket.__name__].update(x.dtype for x in tensors)
        return func(*args, **(kwargs or {}))


def losses_of(model: Any, data: dict) -> dict[str, Tensor]:
    model.train()
    losses = model(**model.data_preprocessor(copy.deepcopy(data), training=True), mode="loss")
    return model.parse_losses(losses)[1]


@pytest.fixture
def twins(distiller: Distiller) -> tuple[Distiller, Distiller]:
    """The same Distiller in float32 and in bfloat16, with a teacher each."""
    distiller.iteration = 1000  # past the warm-up
    half = copy.deepcopy(distiller)
    half.teacher = type(distiller.teacher)(copy.deepcopy(distiller.teacher.detector))
    use_bfloat16(half)
    return distiller, half


@pytest.mark.parametrize("name", DETECTORS)
def test_softmax_norms_and_losses_are_float32(mini: Lab, name: str) -> None:
    """Of every detector and of the method, whatever the networks compute in."""
    run = mini.run(detector=name, method="icd")
    mini.place_untrained(teacher_of(run))
    model = MODELS.build(mini.config(run).model)
    use_bfloat16(model)
    with Dtypes() as dtypes:
        losses = losses_of(model, batch([2, 1], masks=True))
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    exact = {op for op in dtypes.seen if any(part in op for part in EXACT) and op != "expand"}
    assert {"_softmax", "native_layer_norm"} < exact
    assert {op for op in exact if torch.bfloat16 in dtypes.seen[op]} == set()
    assert all(torch.bfloat16 in dtypes.seen[op] for op in NETWORK)


def test_student_teacher_and_method_compute_in_bfloat16_and_give_float32(
    twins: tuple[Distiller, Distiller],
) -> None:
    seen: dict[str, set[torch.dtype]] = defaultdict(set)

    def note(name: str) -> Callable:
        return lambda module, inputs, output: seen[name].add(output.dtype)

    half = twins[1]
    for name, part in {"student": half.student, "teacher": half.teacher.detector}.items():
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(note(name))
        part.neck.register_forward_hook(lambda m, i, out: seen["neck"].update(x.dtype for x in out))
    method: Any = half.method
    method.encoder.mlp[0].register_forward_hook(note("method"))
    losses_of(half, batch([2, 1]))
    assert seen.pop("neck") == {torch.float32}
    assert all(seen.pop(name) == {torch.bfloat16} for name in ("student", "teacher", "method"))


def test_losses_and_gradients_are_close_to_those_of_float32(
    twins: tuple[Distiller, Distiller],
) -> None:
    data, gradients = batch([2, 1, 0]), []
    expected, found = (losses_of(model, data) for model in twins)
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss, rtol=0.02, atol=0.01)
    for model, losses in zip(twins, (expected, found), strict=True):
        losses["loss"].backward()
        assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())
        parts = [p.grad.flatten() for p in model.student.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts))
    assert torch.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.9


def test_weights_are_those_of_float32(distiller: Distiller) -> None:
    names = distiller.state_dict().keys()
    use_bfloat16(distiller)
    assert distiller.state_dict().keys() == names
    assert {p.dtype for p in distiller.parameters()} == {torch.float32}


def test_a_network_that_fails_leaves_no_autocast_behind(distiller: Distiller) -> None:
    use_bfloat16(distiller)
    with pytest.raises(RuntimeError):
        distiller.student.extract_feat(torch.zeros(1, 7, 64, 64))
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(8), nn.GroupNorm(2, 8)])
def test_norms_of_bfloat16_are_computed_in_float32(norm: nn.Module) -> None:
    """Far from zero, where in bfloat16 nothing would be left of the differences."""
    x = (100 + torch.randn(4, 8, 16, 16)).bfloat16()
    expected = copy.deepcopy(norm)(x.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = norm(x)
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-3)


# --- The teacher ---


def teachers_dtypes(model: Distiller) -> dict[str, set[torch.dtype]]:
    """The dtypes of the teacher's weights by kind of layer."""
    found: dict[str, set[torch.dtype]] = defaultdict(set)
    for network in (model.teacher.detector.backbone, model.teacher.detector.neck):
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
                found[type(module).__name__].update(p.dtype for p in module.parameters())
    return found


@pytest.mark.parametrize("ours", ["float32", "bfloat16"])
@pytest.mark.parametrize("theirs", ["float32", "bfloat16"])
def test_student_and_teacher_each_have_their_precision(
    distiller: Distiller, ours: str, theirs: str
) -> None:
    names = distiller.state_dict().keys()
    set_precision(distiller, ours, theirs)
    levels = distiller.teacher.features(torch.randn(1, 3, 64, 64))
    last = theirs == "bfloat16"
    assert {level.dtype for level in levels} == {torch.float32}
    assert levels[0].is_contiguous(memory_format=torch.channels_last) is last
    expected = torch.bfloat16 if last else torch.float32
    assert teachers_dtypes(distiller) == {"Conv2d": {expected}, "BatchNorm2d": {torch.float32}}
    with Dtypes() as dtypes:
        distiller.student.extract_feat(torch.randn(1, 3, 64, 64))
    assert (torch.bfloat16 in dtypes.seen["convolution"]) is (ours == "bfloat16")
    assert {p.dtype for p in distiller.parameters()} == {torch.float32}
    assert distiller.state_dict().keys() == names


def test_weights_that_are_converted_once_give_the_features_of_autocast(
    distiller: Distiller,
) -> None:
    detector = copy.deepcopy(distiller.teacher.detector)
    images = torch.randn(2, 3, 64, 64)
    use_bfloat16(distiller)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = detector.extract_feat(images)
    for level, reference in zip(distiller.teacher.features(images), expected, strict=True):
        torch.testing.assert_close(level, reference.float(), rtol=0.02, atol=0.02)


def test_a_students_losses_hardly_depend_on_its_teachers_precision(distiller: Distiller) -> None:
    distiller.iteration = 1000
    data = batch([2, 1, 0])
    expected = losses_of(distiller, data)
    set_precision(distiller, "float32", "bfloat16")
    found = losses_of(distiller, data)
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss, rtol=0.02, atol=1e-3)
    for name in ("loss_cls", "loss_bbox"):  # the student's own
        assert torch.equal(found[name], expected[name])


# --- One column ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (4, 1), (1, 4), (5, 5)])
@pytest.mark.parametrize("options", [(3, 2, 1), (1, 2, 0), (7, 2, 3), (3, 1, 1), (3, 2, 2)])
def test_a_wider_map_gives_the_same(size: tuple[int, int], options: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    kernel, stride, padding = options
    conv = nn.Conv2d(3, 4, kernel, stride, padding).double()
    found = []
    for hook in (None, widen):
        x = torch.randn(
            2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        )
        x.requires_grad_()
        if hook:
            conv.register_forward_pre_hook(hook)
        conv.zero_grad()
        output = conv(x)
        output.square().sum().backward()
        found.append([output, x.grad, gradient(conv)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_the_gradient_of_p7_does_not_depend_on_what_lay_in_memory() -> None:
    """It does without the second column, on processors that compute in bfloat16 themselves."""
    conv = nn.Conv2d(64, 64, 3, stride=2, padding=1)
    conv.register_forward_pre_hook(widen)
    x = torch.randn(2, 64, 1, 1)
    for value in (1e30, float("nan")):
        _ = [torch.full((64 * 64 * 9 + i,), value) for i in range(20)]
        del _
        conv.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            conv(x).float().sum().backward()
        outside = gradient(conv)
        outside[..., 1, 1] = 0  # of the kernel, only its centre meets the map
        assert not outside.any()


def gradient(conv: nn.Conv2d) -> Tensor:
    """A copy of the gradient of a convolution's kernel."""
    assert conv.weight.grad is not None
    return conv.weight.grad.clone()
