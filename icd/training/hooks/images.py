"""A hook that opens all images of a training before its first iteration."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.data.images import require_pixels


class OpenedImagesHook(Hook):
    """Reads the pixels of the images of a training, because one broken image would end it.

    Args:
        memory: file of the images that were read before, see :func:`icd.data.pixels.read_pixels`.
            A check of all images fills it, so a training only looks at sizes and times.
    """

    def __init__(self, memory: Path) -> None:
        self.memory = memory

    def before_train(self, runner: Runner) -> None:
        """Read them, in one process.

        Raises:
            InputError: names images that cannot be read.
        """
        if is_main_process():
            dataset = runner.train_dataloader.dataset
            paths = [Path(dataset.get_data_info(i)["img_path"]) for i in range(len(dataset))]
            require_pixels([path.name for path in paths], paths, dataset.ann_file, self.memory)
        barrier()
