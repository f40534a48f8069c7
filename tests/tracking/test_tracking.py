"""Trackers follow trainings: their files say what the log says, and the weights stay the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from mmengine.logging import MMLogger
from PIL import Image

from icd.experiments.run import TrainedRun
from icd.experiments.trackers import TRACKERS, Tracking
from icd.experiments.yaml_files import ROOT
from icd.figures.measure_losses import logged
from icd.files import write_json
from icd.tracking import wandb as icd_wandb
from icd.tracking.send import send_figures, send_metrics
from icd.training import config, train
from icd.training.hooks.progress import ProgressHook
from tests.lab import Lab, differing, teacher_of, weights
from tests.tracking import stores

pytestmark = pytest.mark.slow

TABLES = ["main", "methods"]
FOLDER = Path("results/mini/tracking")


class CrashError(Exception):
    """Stands for whatever kills a process."""


def store() -> str:
    """MLflow's database in the current folder; MLflow keeps databases open by this name."""
    return f"sqlite:///{FOLDER.absolute()}/mlflow.db"


@pytest.fixture(autouse=True)
def _log_often(mmdet_on_the_cpu: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A line of the log every two iterations, and none of the user's settings."""
    for module in (config, train):
        monkeypatch.setattr(module, "LOG_EVERY", 2)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    wandb.teardown()  # otherwise it remembers the settings of this test


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """The lab in PyTorch's usual memory layout, with an untrained teacher."""
    lab = lab.changed({"recipe": {"channels_last": False}})
    lab.place_untrained(teacher_of(lab.run(method="icd")))
    return lab


def crash_after(iteration: int, patch: pytest.MonkeyPatch) -> None:
    """Let trainings die after an iteration, before its checkpoint is written."""
    follow = ProgressHook.after_train_iter

    def watched(hook: ProgressHook, runner: Any, *args: object, **kwargs: object) -> None:
        follow(hook, runner, *args, **kwargs)
        if runner.iter + 1 == iteration:
            raise CrashError

    patch.setattr(ProgressHook, "after_train_iter", watched)


def curves_of_the_log(work: Path) -> stores.Curves:
    """What the log of a training says: losses, learning rates, gradient norms, diagnosis."""
    curves: stores.Curves = {}
    for prefix in ("loss", "student.", "method.", "diagnosis/"):
        for step, values in logged(work, prefix).items():
            for name, value in values.items():
                curves.setdefault(name, {})[step] = value
    return curves


def test_an_interrupted_training_is_one_entry_with_the_curves_of_its_log(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lab.run(method="icd")
    alone = weights(lab.train(run))
    other = lab.at(tmp_path / "followed")
    other.place(teacher_of(run), lab)
    monkeypatch.chdir(other.project)
    everything = Tracking(TRACKERS, TABLES)
    with monkeypatch.context() as patch:
        crash_after(5, patch)  # its fourth iteration is logged twice
        with pytest.raises(CrashError):
            other.train(run, checkpoint_every=3, tracking=everything)
    folder = other.train(run, checkpoint_every=3, tracking=everything)
    assert not differing(weights(folder), alone)

    expected = curves_of_the_log(folder / "work")
    assert {"loss", "student.lr", "method.grad_norm", "diagnosis/layer1/iou"} <= expected.keys()
    assert all([*steps] == [2, 4, 6] for steps in expected.values())
    event_files = FOLDER / "tensorboard" / run.id
    (entry,) = stores.mlflow_runs(store())
    for found in (
        stores.tensorboard_curves(event_files),
        stores.wandb_curves(FOLDER / "wandb"),
        stores.mlflow_curves(store(), entry.info.run_id),
    ):
        assert expected.keys() <= found.keys()
        for name, steps in expected.items():
            assert found[name] == pytest.approx(steps, rel=1e-6), name
    tagged_in_tensorboard(event_files, run)
    tagged_in_wandb(run)
    tagged_in_mlflow(entry, run)


def tagged_in_tensorboard(folder: Path, run: TrainedRun) -> None:
    """The entry names run and tables, and holds the config."""
    reader = stores.tensorboard(folder)
    tags, settings = (
        reader.Tensors(f"{name}/text_summary")[0].tensor_proto.string_val[0].decode()
        for name in ("tags", "config")
    )
    assert f"| run | {run.id} |" in tags
    assert "| tables | main,methods |" in tags
    assert "max_iters=6" in settings


def tagged_in_wandb(run: TrainedRun) -> None:
    """The same for the records of both sessions."""
    sessions = sorted((FOLDER / "wandb").glob("offline-run-*"))
    records = [[*stores.wandb_records(session)] for session in sessions]
    first, second = (next(one.run for one in some if one.HasField("run")) for some in records)
    assert first.run_id == second.run_id
    assert first.run_id.startswith(run.id)
    assert (first.project, first.display_name) == ("icd-bench-mini", run.id)
    assert [*first.tags] == ["mini", *TABLES]
    settings = "".join(str(one.config) for one in records[0] if one.HasField("config"))
    assert '\\"max_iters\\":6' in settings
    ends = [[one.exit.exit_code for one in some if one.HasField("exit")] for some in records]
    assert ends == [[1], [0]]


def tagged_in_mlflow(entry: Any, run: TrainedRun) -> None:
    """The same for the run in the database."""
    assert entry.info.status == "FINISHED"
    assert entry.info.run_name == run.id
    assert entry.data.tags.items() >= {"run": run.id, "table.methods": "true"}.items()
    assert entry.data.params["method.name"] == "icd"
    assert entry.data.params["teacher"] == teacher_of(run).id
    (file,) = (FOLDER / "mlflow").rglob("config.py")
    assert "max_iters=6" in file.read_text()


def test_metrics_of_checkpoints_and_figures_are_added(lab: Lab, tmp_path: Path) -> None:
    run = lab.run(method="icd")
    everything, file = Tracking(TRACKERS, TABLES), tmp_path / "metrics.json"
    for iteration, value in ((3, 0.25), (6, 0.5)):
        write_json(file, {"split": "tune", "metrics": {"bbox": {"AP": value, "APs": None}}})
        send_metrics(everything, run, file, iteration)
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "figure.png")
    drawn = [tmp_path / "figure.svg", tmp_path / "figure.png"]
    for _ in range(2):
        send_figures(TRACKERS, "mini", "main", "Does it work?", drawn)

    of_run, of_table = sorted(stores.mlflow_runs(store()), key=lambda one: one.info.run_name)
    assert (of_run.info.run_name, of_table.info.run_name) == (run.id, "table-main")
    for found in (
        stores.tensorboard_curves(FOLDER / "tensorboard" / run.id),
        stores.wandb_curves(FOLDER / "wandb"),
        stores.mlflow_curves(store(), of_run.info.run_id),
    ):
        assert found["tune/bbox/AP"] == {3: 0.25, 6: 0.5}
        assert "tune/bbox/APs" not in found

    images = stores.tensorboard(FOLDER / "tensorboard/table-main").Images("figure")
    assert [image.step for image in images] == [0, 1]
    (tmp_path / "stored.png").write_bytes(images[0].encoded_image_string)
    kept = [*(FOLDER / "wandb").rglob("figure*.png"), *(FOLDER / "mlflow").rglob("figure.png")]
    assert len(kept) == 3  # two sessions of wandb; MLflow has the last one
    for stored in (tmp_path / "stored.png", *kept):
        assert np.array_equal(np.asarray(Image.open(stored).convert("RGB")), pixels)


def test_trackers_that_fail_change_nothing_and_say_so_once(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder for TensorBoard, no server of MLflow, no connection and no key of wandb."""
    run = lab.run()
    alone = weights(lab.train(run))
    other = lab.at(tmp_path / "followed")
    blocked = other.project / FOLDER / "tensorboard"
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", 40 * "0")
    monkeypatch.setattr(icd_wandb, "SECONDS_TO_CONNECT", 1)
    folder = other.train(run, tracking=Tracking(TRACKERS))
    assert not differing(weights(folder), alone)

    (log,) = (folder / "work").glob("*/*.log")
    warnings = [line for line in log.read_text().splitlines() if "WARNING" in line]
    for tracker, message in {
        "tensorboard": "tensorboard has failed and gets nothing more in this session",
        "mlflow": "mlflow has failed and gets nothing more in this session",
        "wandb": "wandb: no connection (",
    }.items():
        assert sum(tracker in line for line in warnings) == 1
        assert sum(message in line for line in warnings) == 1
    assert stores.wandb_curves(other.project / FOLDER / "wandb")["loss"].keys() == {2, 4, 6}
    assert threads_of_a_data_loader() == 1  # others would take its signals


def threads_of_a_data_loader() -> int:
    """Threads of a process that is forked from this one."""
    process = os.fork()
    if not process:
        time.sleep(0.2)
        os._exit(len([*Path("/proc/self/task").iterdir()]))
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


SESSION = """
from dataclasses import asdict
import sys
from icd.tracking.entry import of_table
from icd.tracking.guard import GuardedBackend
backend = GuardedBackend("mlflow", asdict(of_table("mini", sys.argv[1], "?")))
backend.add_scalar("AP", 1.0)
backend.close()
"""


def test_sessions_that_start_together_share_a_new_database_of_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-c", SESSION]
    sessions = [subprocess.Popen([*command, name]) for name in ("main", "methods")]
    assert [session.wait() for session in sessions] == [0, 0]
    found = {run.info.run_name: run.info.status for run in stores.mlflow_runs(store())}
    assert found == {"table-main": "FINISHED", "table-methods": "FINISHED"}


@pytest.mark.parametrize("send", [
    lambda file: send_metrics(Tracking(["tensorboard"]), None, file, 1),  # type: ignore[arg-type]
    lambda file: send_figures(["tensorboard"], "mini", "main", "?", [file.with_suffix(".png")]),
])  # fmt: skip
def test_nothing_fails_if_results_cannot_be_sent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    send: Callable[[Path], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    MMLogger._instance_dict.clear()  # a new one writes to the captured output
    send(tmp_path / "absent.json")
    assert capsys.readouterr().out.count("WARNING - tracking has failed") == 1
