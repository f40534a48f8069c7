"""A hook that saves the bare detector at a few points of its training."""

from __future__ import annotations

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.experiments.run import Run
from icd.experiments.snapshots import snapshot_file, snapshot_iterations
from icd.training.checkpoint import write_weights
from icd.training.distiller import bare_detector
from icd.training.hooks.losses import loss_hook


class SnapshotHook(Hook):
    """Saves the weights of the bare detector after equally spaced iterations.

    Args:
        run: the run that is trained.
        count: number of snapshots; 0 saves none.
    """

    priority = "LOW"

    def __init__(self, run: Run, count: int) -> None:
        self.run, self.iterations = run, set(snapshot_iterations(run, count))

    @master_only
    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Called by the Runner."""
        iteration = runner.iter + 1
        if iteration in self.iterations:
            detector = bare_detector(runner.model)
            loss_hook(runner).check(runner, detector.state_dict())
            write_weights(snapshot_file(self.run, iteration), detector, run=self.run.id)
