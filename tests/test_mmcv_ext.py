"""The replacement of ``mmcv._ext``, called through mmcv, against other implementations."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from icd import mmcv_ext
from tests.devices import DEVICES

mmcv_ext.install()
import mmcv.ops  # noqa: E402  (needs the operators)
from mmcv.ops import soft_nms  # noqa: E402

EXTENSION = sys.modules["mmcv._ext"]
pytestmark = pytest.mark.skipif(
    importlib.machinery.PathFinder.find_spec("mmcv._ext", mmcv.__path__) is not None,
    reason="mmcv is installed with its compiled operators",
)


def random_boxes(count: int, size: float = 100.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Boxes (count, 4) in an image of `size` pixels and distinct scores (count,), float32."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * size * 0.7
    extent = torch.rand(count, 2, generator=generator) * size * 0.5
    scores = (torch.randperm(count, generator=generator) + 1.0) / count
    return torch.cat([corner, corner + extent], dim=1), scores


def iou_matrix(boxes: np.ndarray, offset: int) -> np.ndarray:
    """IoU (N, N) in float64; a width is x2 - x1 + offset."""
    x1, y1, x2, y2 = boxes.astype(np.float64).T
    width = np.minimum.outer(x2, x2) - np.maximum.outer(x1, x1) + offset
    height = np.minimum.outer(y2, y2) - np.maximum.outer(y1, y1) + offset
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    area = (x2 - x1 + offset) * (y2 - y1 + offset)
    return intersection / (np.add.outer(area, area) - intersection)


def greedy_nms(iou: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Indices kept by non-maximum suppression, best first."""
    kept: list[int] = []
    for candidate in np.argsort(-scores):
        if all(iou[candidate, better] <= threshold for better in kept):
            kept.append(int(candidate))
    return kept


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7])
def test_nms_keeps_what_brute_force_keeps(device: str, offset: int, threshold: float) -> None:
    boxes, scores = random_boxes(200, size=20.0)  # small boxes, where the offset matters
    dets, kept = mmcv.ops.nms(boxes.to(device), scores.to(device), threshold, offset=offset)
    expected = greedy_nms(iou_matrix(boxes.numpy(), offset), scores.numpy(), threshold)
    assert kept.tolist() == expected
    assert 1 < len(expected) < 200
    torch.testing.assert_close(dets.cpu(), torch.cat([boxes, scores[:, None]], 1)[expected])


def test_nms_offset_changes_the_result() -> None:
    # Widths 2 and 4 (IoU 1/2), or 3 and 5 with the offset (IoU 3/5).
    boxes, scores = torch.tensor([[0, 0, 4.0, 9], [0, 0, 2.0, 9]]), torch.tensor([0.9, 0.8])
    assert mmcv.ops.nms(boxes, scores, 0.55, offset=0)[1].tolist() == [0, 1]
    assert mmcv.ops.nms(boxes, scores, 0.55, offset=1)[1].tolist() == [0]


def test_nms_threshold_is_a_c_float_as_in_mmcv() -> None:
    # IoU 3/5: as a float it equals the float 0.6 but is greater than the double 0.6.
    boxes, scores = torch.tensor([[0, 0, 5.0, 1], [0, 0, 3.0, 1]]), torch.tensor([0.9, 0.8])
    assert mmcv.ops.nms(boxes, scores, 0.6)[1].tolist() == [0, 1]


def test_nms_of_nothing_and_of_low_precision() -> None:
    assert mmcv.ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5, offset=1)[1].shape == (0,)
    boxes, scores = random_boxes(30)
    boxes, scores = boxes.bfloat16(), scores.bfloat16()
    kept = mmcv.ops.nms(boxes, scores, 0.5)[1]
    assert kept.tolist() == mmcv.ops.nms(boxes.float(), scores.float(), 0.5)[1].tolist()


@pytest.mark.parametrize("split_thr", [10000, 50])  # one call, or one per class
def test_batched_nms(split_thr: int) -> None:
    boxes, scores = random_boxes(200)
    classes = torch.arange(200) % 3
    config = {"type": "nms", "iou_threshold": 0.5, "split_thr": split_thr}
    dets, kept = mmcv.ops.batched_nms(boxes, scores, classes, config)
    iou = iou_matrix(boxes.numpy(), 0) * (classes[:, None] == classes).numpy()
    assert kept.tolist() == greedy_nms(iou, scores.numpy(), 0.5)
    assert kept.tolist() == torchvision.ops.batched_nms(boxes, scores, classes, 0.5).tolist()
    torch.testing.assert_close(dets, torch.cat([boxes, scores[:, None]], dim=1)[kept])


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_follows_the_paper(method: str, offset: int) -> None:
    boxes, scores = random_boxes(60, size=20.0)
    dets, kept = soft_nms(boxes, scores, 0.3, 0.5, min_score=0.05, method=method, offset=offset)
    iou, score = iou_matrix(boxes.numpy(), offset), scores.double().numpy()
    expected: list[tuple[int, float]] = []
    left = set(range(60))
    while left:
        best = max(left, key=lambda i: score[i])
        expected.append((best, score[best]))
        overlap = iou[best]
        linear = np.where(overlap >= 0.3, 1 - overlap if method == "linear" else 0.0, 1.0)
        score = score * (np.exp(-(overlap**2) / 0.5) if method == "gaussian" else linear)
        left = {i for i in left - {best} if score[i] >= 0.05}
    assert kept.tolist() == [index for index, _ in expected]
    assert 1 < len(expected) < 60
    np.testing.assert_allclose(dets[:, 4], [s for _, s in expected], rtol=1e-4)
    torch.testing.assert_close(dets[:, :4], boxes[kept])


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_nms_with_empty_boxes(method: str) -> None:
    # The example in the documentation of mmcv.ops.soft_nms.
    boxes = np.array([[4, 3, 5, 3], [4, 3, 5, 4]] + [[3, 1, 3, 1]] * 4, dtype=np.float32)
    scores = np.array([0.9, 0.9, 0.5, 0.5, 0.4, 0.0], dtype=np.float32)
    dets, kept = soft_nms(boxes, scores, 0.6, sigma=0.5, method=method)
    assert len(dets) == len(kept) == 5
    assert len(soft_nms(torch.zeros(0, 4), torch.zeros(0))[1]) == 0


def rois_and_features(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """RoIs (9, 5), some partly or wholly outside or thin, and features (2, 3, 16, 20)."""
    boxes, _ = random_boxes(6, size=64.0)
    extra = torch.tensor([[-9.0, -9, 30, 20], [50, 50, 95, 95], [7, 7, 7.2, 30]])
    boxes = torch.cat([boxes, extra])
    rois = torch.cat([(torch.arange(9) % 2)[:, None].float(), boxes], dim=1)
    features = torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(1))
    return rois.to(dtype), features.to(dtype).requires_grad_()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("sampling_ratio", "scale"), [(0, 0.25), (2, 0.25), (3, 1.0)])
def test_roi_align(device: str, aligned: bool, sampling_ratio: int, scale: float) -> None:
    rois, features = (t.detach().to(device) for t in rois_and_features())
    ours, theirs = features.clone().requires_grad_(), features.clone().requires_grad_()
    pooled = mmcv.ops.RoIAlign((7, 5), scale, sampling_ratio, aligned=aligned)(ours, rois)
    reference = torchvision.ops.roi_align(theirs, rois, (7, 5), scale, sampling_ratio, aligned)
    torch.testing.assert_close(pooled, reference)
    upstream = torch.randn(pooled.shape, device=device)
    pooled.backward(upstream)
    reference.backward(upstream)
    assert ours.grad is not None
    assert ours.grad.abs().sum() > 0
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_roi_align_of_a_linear_image_is_the_centre_of_the_bin() -> None:
    # Bilinear sampling is exact on f(x, y) = 2 x + 3 y; pixel (i, j) has its centre at i + 0.5.
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    rois = torch.tensor([[0, 8.0, 12.0, 40.0, 28.0]])  # x 4..20 and y 6..14 at half the scale
    pooled = mmcv.ops.roi_align((2 * x + 3 * y)[None, None], rois, (2, 4), 0.5, 0, "avg", True)
    bin_y, bin_x = torch.tensor([8.0, 12.0])[:, None], torch.tensor([6.0, 10.0, 14.0, 18.0])
    torch.testing.assert_close(pooled[0, 0], 2 * bin_x + 3 * bin_y)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align_gradient_is_the_derivative(sampling_ratio: int) -> None:
    rois, features = rois_and_features(torch.float64)
    small = features.detach()[:, :1, :8, :8].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f: mmcv.ops.roi_align(f, rois[:4], (2, 2), 0.125, sampling_ratio, "avg", True), small
    )


def test_roi_align_without_regions_and_in_low_precision() -> None:
    rois, features = rois_and_features()
    pooled = mmcv.ops.roi_align(features, rois[:0], (7, 7), 0.25)
    assert pooled.shape == (0, 3, 7, 7)
    pooled.sum().backward()
    assert features.grad is not None
    assert features.grad.count_nonzero() == 0

    low = features.detach().bfloat16().requires_grad_()
    mmcv.ops.roi_align(low, rois.bfloat16(), (7, 7), 0.25).float().square().sum().backward()
    full = low.detach().float().requires_grad_()
    mmcv.ops.roi_align(full, rois.bfloat16().float(), (7, 7), 0.25).square().sum().backward()
    assert low.grad is not None
    torch.testing.assert_close(low.grad.float(), full.grad, rtol=0.02, atol=0.02)


def test_roi_align_max_pooling_is_refused() -> None:
    rois, features = rois_and_features()
    with pytest.raises(NotImplementedError, match="pool_mode='max'"):
        mmcv.ops.roi_align(features, rois, (7, 7), 1.0, 0, "max", True)


def focal_loss(logits: Tensor, target: Tensor, gamma: float, alpha: float) -> Tensor:
    """Equation 5 of Lin et al. in float64, with log(sigmoid(x)) = -log(1 + exp(-x))."""
    positive = torch.nn.functional.one_hot(target, logits.shape[1] + 1)[:, :-1].bool()
    x = torch.where(positive, logits, -logits)
    log_p = -torch.logaddexp(torch.zeros_like(x), -x)
    alpha_t = torch.where(positive, alpha, 1 - alpha).double()
    return -alpha_t * (1 - log_p.exp()) ** gamma * log_p


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.5, 0.5), (0.0, 0.75)])
def test_sigmoid_focal_loss(device: str, gamma: float, alpha: float) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(40, 7, generator=generator) * 6
    target = torch.randint(0, 8, (40,), generator=generator)  # 7 is the background
    upstream = torch.rand(40, 7, generator=generator)
    exact = logits.double().requires_grad_()
    ours = logits.to(device).requires_grad_()
    loss = mmcv.ops.sigmoid_focal_loss(ours, target.to(device), gamma, alpha, None, "none")
    expected = focal_loss(exact, target, gamma, alpha)
    loss.backward(upstream.to(device))
    expected.backward(upstream.double())
    # Correct digits also where the right answer is nearly certain and all values are tiny.
    torch.testing.assert_close(loss.cpu(), expected.float(), rtol=1e-5, atol=0)
    assert ours.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(ours.grad.cpu(), exact.grad.float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("logit", [-1e4, -200.0, -90.0, 90.0, 200.0, 1e4])
def test_sigmoid_focal_loss_at_extreme_logits(logit: float) -> None:
    logits = torch.full((2, 1), logit, requires_grad=True)
    loss = mmcv.ops.sigmoid_focal_loss(logits, torch.tensor([0, 1]), 2.0, 0.25, None, "none")
    loss.sum().backward()
    # Far out the loss is a straight line for the wrong answer and 0 for the right one.
    wrong = 0 if logit < 0 else 1
    slope = (-0.25, 0.75)[wrong]
    expected = torch.zeros(2, 1)
    expected[wrong] = slope
    torch.testing.assert_close(loss, expected * logit)
    torch.testing.assert_close(logits.grad, expected)


def test_sigmoid_focal_loss_weight_and_reductions() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(3), requires_grad=True)
    target, weight = torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([1.0, 2.0, 5.0])
    rows = focal_loss(logits.double(), target, 2.0, 0.25) * weight[target, None]
    mean = mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, "mean")
    torch.testing.assert_close(mean, (rows.sum() / 6).float())
    (gradient,) = torch.autograd.grad(mean, logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(rows.sum() / 6, logits)[0])


@pytest.mark.parametrize("name", ["modulated_deform_conv_forward", "roi_pool_forward", "nms_match"])
def test_other_operators_say_that_they_are_missing(name: str) -> None:
    operator = getattr(EXTENSION, name)
    with pytest.raises(NotImplementedError, match=rf"'{name}' .* Install an mmcv"):
        operator(torch.zeros(1), stride=1)


def test_deformable_convolution_says_that_it_is_missing() -> None:
    convolution = mmcv.ops.ModulatedDeformConv2dPack(2, 2, 3)
    with pytest.raises(NotImplementedError, match="modulated_deform_conv_forward"):
        convolution(torch.zeros(1, 2, 8, 8))


def test_the_module_is_found_as_mmcv_looks_for_it() -> None:
    from mmcv.utils import collect_env
    from mmengine.utils.dl_utils import mmcv_full_available

    spec = importlib.util.find_spec("mmcv._ext")
    assert spec is not None
    assert spec.loader is not None
    assert mmcv_full_available()
    assert "icd/mmcv_ext.py" in collect_env()["MMCV Compiler"]
    assert not hasattr(EXTENSION, "__path__")  # or Python would take it for a package


def test_installing_again_changes_nothing() -> None:
    assert mmcv_ext.install() is False
    assert sys.modules["mmcv._ext"] is EXTENSION


def test_a_compiled_extension_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mmcv"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_ext.py").write_text("nms = 'compiled'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    monkeypatch.delitem(sys.modules, "mmcv")
    assert mmcv_ext.install() is False
    assert "mmcv._ext" not in sys.modules
    assert importlib.import_module("mmcv._ext").nms == "compiled"
    assert mmcv_ext.install() is False  # already loaded


def test_without_mmcv_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mmcv._ext")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install onedl-mmcv"):
        mmcv_ext.install()


STANDALONE = """
import importlib.util, sys
sys.modules["icd"] = None  # an import of icd raises
spec = importlib.util.spec_from_file_location("standalone_ops", sys.argv[1])
ops = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ops)
assert ops.install() is True
assert not any(name == "mmcv" or name.startswith(("mmcv.ops", "mmdet")) for name in sys.modules)
assert ops.install() is False
import mmcv.ops
"""

# A step of training and a prediction, in a fresh interpreter and from mmdet's own configurations.
DETECTORS = """
from pathlib import Path
import icd.mmcv_ext
assert icd.mmcv_ext.install()
import mmdet.models
import numpy as np, torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

init_default_scope("mmdet")
torch.set_num_threads(1)
CONFIGS = Path(mmdet.__file__).parent / ".mim" / "configs"

def sample():
    mask = np.zeros((1, 64, 64), dtype=np.uint8)
    mask[:, 8:56, 16:48] = 1
    instances = InstanceData(bboxes=torch.tensor([[16.0, 8, 48, 56]]), labels=torch.tensor([3]),
                             masks=BitmapMasks(mask, 64, 64))
    shape = {"img_shape": (64, 64), "ori_shape": (64, 64), "scale_factor": (1.0, 1.0),
             "pad_shape": (64, 64), "batch_input_shape": (64, 64)}
    return DetDataSample(gt_instances=instances, metainfo=shape)

for name in '''retinanet/retinanet_r50_fpn_1x_coco
    fcos/fcos_r50-caffe_fpn_gn-head_1x_coco atss/atss_r50_fpn_1x_coco
    faster_rcnn/faster-rcnn_r50_fpn_1x_coco mask_rcnn/mask-rcnn_r50_fpn_1x_coco
    solov2/solov2_r50_fpn_1x_coco condinst/condinst_r50_fpn_ms-poly-90k_coco_instance'''.split():
    config = Config.fromfile(CONFIGS / f"{name}.py").model
    config.backbone.init_cfg = None
    detector = MODELS.build(config)
    image = torch.rand(1, 3, 64, 64)
    losses = detector.train().loss(image, [sample()])
    total = sum(torch.stack(v).sum() if isinstance(v, list) else v
                for k, v in losses.items() if "loss" in k)
    total.backward()
    assert torch.isfinite(total), name
    with torch.no_grad():
        detector.eval().predict(image, [sample()])
    print(type(detector).__name__)
"""


def run_python(code: str, *arguments: str) -> str:
    root = Path(mmcv_ext.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_file_works_without_the_package() -> None:
    run_python(STANDALONE, mmcv_ext.__file__)


def test_detectors_of_mmdet_train_and_predict() -> None:
    trained = run_python(DETECTORS).split()
    expected = ["RetinaNet", "FCOS", "ATSS", "FasterRCNN", "MaskRCNN", "SOLOv2", "CondInst"]
    assert [name for name in trained if name in expected] == expected
