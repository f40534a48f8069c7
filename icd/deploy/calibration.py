"""The training images from which int8 takes the ranges of activations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.config import Config

from icd.data.annotations import read_annotations
from icd.experiments.run import load_run
from icd.files import require_file


def training_images(folder: Path, config: Config, count: int) -> list[Path]:
    """So many images of a run's training split, evenly spread over its annotation file.

    Args:
        folder: folder of the run.
        config: its plain config, which names the root of the data.
        count: number of images.

    Raises:
        InputError: the annotation file is missing or not valid.
    """
    run, root = load_run(folder), Path(config.test_dataloader.dataset.data_root)
    split = run.files_of(run.split)
    annotations = require_file(root / split.file_beside(root), "the annotations of the training")
    names = [image["file_name"] for image in read_annotations(annotations)["images"]]
    places = np.linspace(0, len(names), min(count, len(names)), endpoint=False).astype(int)
    return [root / split.images / names[place] for place in places]
