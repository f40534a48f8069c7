"""The exported student is a plain mmdet model: it loads and scores without this package."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from icd import mmcv_ext
from icd.experiments.run import TrainedRun
from icd.experiments.zoo import configs
from tests.lab import IMAGES, Lab, teacher_of

pytestmark = pytest.mark.slow

# The work of somebody who has mmdet and not this package; there is no compiled mmcv here, so the
# operators are loaded by their path. Arguments: that path, and the folder of the run.
STRANGER = """
import importlib.util, json, sys
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "icd":
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
operators, folder = sys.argv[1], Path(sys.argv[2])
spec = importlib.util.spec_from_file_location("operators", operators)
module = sys.modules["operators"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.install()

import torch
from mmdet.apis import inference_detector, init_detector
from mmengine.config import Config
from mmengine.runner import Runner
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

torch.set_num_threads(1)
checkpoint = str(folder / "model.pth")
config = Config.fromfile(folder / "model.py")
config.load_from, config.work_dir = checkpoint, "work"
config.test_evaluator.outfile_prefix = "found"
runner = Runner.from_cfg(config)
runner.model.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"], strict=True)
mmdet = runner.test()

truth = COCO(config.test_evaluator.ann_file)
evaluator = COCOeval(truth, truth.loadRes("found.bbox.json"), "bbox")
evaluator.evaluate()
evaluator.accumulate()
evaluator.summarize()

detector = init_detector(str(folder / "model.py"), checkpoint, palette="random", device="cpu")
dataset = config.test_dataloader.dataset
image = truth.loadImgs(min(truth.getImgIds()))[0]
file = Path(dataset.data_root, dataset.data_prefix.img, image["file_name"])
found = inference_detector(detector, str(file)).pred_instances

report = {
    "mmdet": mmdet,
    "pycocotools": evaluator.stats.tolist(),
    "image": image["id"],
    "scores": found.scores.tolist(),
    "classes": list(detector.dataset_meta["classes"]),
    "icd": [name for name in sys.modules if name.split(".")[0] == "icd"],
}
Path("report.json").write_text(json.dumps(report))
import icd
"""

# The same for a tool of mmdet: the path of the operators, and the tool's own command line.
TOOL = (
    STRANGER.partition("import torch")[0].replace(
        "operators, folder = sys.argv[1], Path(sys.argv[2])", "_, operators, *sys.argv = sys.argv"
    )
    + """
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""
)
INFERENCER = """
import json, sys
from mmdet.apis import DetInferencer
_, config, checkpoint, image = sys.argv
inferencer = DetInferencer(config, checkpoint, device="cpu")
inferencer(image, out_dir="inferred", pred_score_thr=0, no_save_pred=False)
"""


@pytest.fixture(scope="module")
def exported(
    shared_lab: Lab, teacher: TrainedRun, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, float]]:
    """The folder of a student of ICD, and its metrics."""
    lab = shared_lab.at(tmp_path_factory.mktemp("exported"))
    run = lab.run(method="icd", inherit=True, schedule="5x")
    lab.place(teacher_of(run), shared_lab)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.lab.quick_configs", contextlib.nullcontext)  # with all that is written
        folder = lab.train(run)
        return folder, lab.evaluate(run)["metrics"]["bbox"]


@pytest.fixture(scope="module")
def report(
    exported: tuple[Path, dict[str, float]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the stranger reports, with the detections under ``found``."""
    place = tmp_path_factory.mktemp("stranger")
    process = subprocess.run(
        [sys.executable, "-c", STRANGER, mmcv_ext.__file__, exported[0]],
        cwd=place,
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    # It gets to its last line, and no further.
    assert process.stderr.splitlines()[-1:] == ["ImportError: icd is blocked"], process.stderr
    found = json.loads((place / "found.bbox.json").read_text())
    return json.loads((place / "report.json").read_text()) | {"found": found}


def test_finds_the_same_without_icd(report: dict, exported: tuple[Path, dict]) -> None:
    folder, _ = exported
    assert report["icd"] == []
    assert report["found"] == json.loads((folder / "test" / "bbox.json").read_text())
    assert len(report["found"]) > 20


def test_scores_the_same_without_icd(report: dict, exported: tuple[Path, dict]) -> None:
    _, metrics = exported
    assert [-1 if v is None else v for v in metrics.values()] == report["pycocotools"]
    assert report["mmdet"]["coco/bbox_mAP"] == round(metrics["AP"], 3)
    assert metrics["AP"] > 0


def test_loads_as_any_detector(report: dict, shared_lab: Lab) -> None:
    """With init_detector; one image at a time rounds a little differently from a batch."""
    scores = [guess["score"] for guess in report["found"] if guess["image_id"] == report["image"]]
    assert sorted(report["scores"]) == pytest.approx(sorted(scores), abs=1e-5)
    assert report["classes"] == shared_lab.inputs.survey["classes"]


def use(place: Path, *command: str | Path) -> str:
    """What a script prints that is run with mmdet alone, in the folder ``place``."""
    process = subprocess.run(
        [sys.executable, "-c", TOOL, mmcv_ext.__file__, *command],
        cwd=place,
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


TOOLS = configs().parent / "tools"


def test_mmdets_own_test_draws_what_it_finds(
    exported: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    folder, metrics = exported
    files = folder / "model.py", folder / "model.pth"
    printed = use(tmp_path, TOOLS / "test.py", *files, "--show-dir", "shown", "--work-dir", ".")
    assert f"coco/bbox_mAP: {round(metrics['AP'], 3):.4f}" in printed
    assert len(list(tmp_path.glob("*/shown/*.png"))) == IMAGES["test"]


def test_mmdet_counts_the_operations(
    exported: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    folder, _ = exported
    tool = TOOLS / "analysis_tools/get_flops.py"
    printed = use(tmp_path, tool, folder / "model.py", "--num-images", "1")
    assert "Flops: " in printed


def test_mmdets_inferencer_finds_the_same(
    exported: tuple[Path, dict[str, float]], report: dict, shared_lab: Lab, tmp_path: Path
) -> None:
    folder, _ = exported
    script = tmp_path / "inferencer.py"
    script.write_text(INFERENCER)
    truth = json.loads(shared_lab.track.annotations("test").read_text())
    name = next(i["file_name"] for i in truth["images"] if i["id"] == report["image"])
    image = shared_lab.track.images("test").absolute() / name
    use(tmp_path, script, folder / "model.py", folder / "model.pth", image)
    (found,) = (tmp_path / "inferred/preds").glob("*.json")
    scores = json.loads(found.read_text())["scores"]
    assert sorted(scores) == pytest.approx(sorted(report["scores"]), abs=1e-5)
    assert len(list((tmp_path / "inferred/vis").iterdir())) == 1
