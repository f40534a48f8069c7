"""How the replacement of ``mmcv._ext`` takes its place, and what it lets mmdet do."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from icd import mmcv_ext

EXTENSION = sys.modules["mmcv._ext"]


@pytest.mark.parametrize("name", ["carafe_forward", "roi_pool_forward", "nms_match"])
def test_other_operators_say_that_they_are_missing(name: str) -> None:
    operator = getattr(EXTENSION, name)
    with pytest.raises(NotImplementedError, match=rf"'{name}' .* Install an mmcv"):
        operator(torch.zeros(1), stride=1)


def test_the_module_is_found_as_mmcv_looks_for_it() -> None:
    from mmcv.utils import collect_env
    from mmengine.utils.dl_utils import mmcv_full_available

    spec = importlib.util.find_spec("mmcv._ext")
    assert spec is not None
    assert spec.loader is not None
    assert mmcv_full_available()
    assert "icd/mmcv_ext" in collect_env()["MMCV Compiler"]
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
ops = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
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
    root = Path(mmcv_ext.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_operators_work_without_the_rest_of_the_package() -> None:
    run_python(STANDALONE, mmcv_ext.__file__)


def test_detectors_of_mmdet_train_and_predict() -> None:
    trained = run_python(DETECTORS).split()
    expected = ["RetinaNet", "FCOS", "ATSS", "FasterRCNN", "MaskRCNN", "SOLOv2", "CondInst"]
    assert [name for name in trained if name in expected] == expected
