"""The weights that networks start from, e.g. of ImageNet: found or downloaded before training.

mmengine would download them while it builds the model, unverified, and end in a traceback on a node
without internet. The files lie where it looks for them: in the cache of ``torch.hub``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.config import Config
from mmengine.runner import checkpoint as mmengine_checkpoint

from icd.errors import InputError
from icd.experiments.run import DecoderRun, ImportedRun, Run, TrainedRun, Training
from icd.experiments.zoo import model as zoo_model
from icd.files import require_file, sha256
from icd.process.fetch import fetch, verify
from icd.training.config import base_config, detector

# The tables in which mmengine looks up names, by prefix.
TABLES: dict[str, Callable[[], dict[str, str]]] = {
    "torchvision://": mmengine_checkpoint.get_torchvision_models,
    "modelzoo://": mmengine_checkpoint.get_torchvision_models,
    "open-mmlab://": mmengine_checkpoint.get_external_models,
    "openmmlab://": mmengine_checkpoint.get_external_models,
    "mmcls://": mmengine_checkpoint.get_mmcls_models,
}
# Only these name their files by the sha256. Some names of open-mmlab's files are wrong
# (https://github.com/open-mmlab/mmcv/issues/600).
HASHED = "https://download.pytorch.org/"


@dataclass(frozen=True)
class Download:
    """Weights that are downloaded.

    name: what the config calls them, e.g. ``torchvision://resnet50``.
    digits: the first digits of the file's sha256, if they are known; else empty.
    """

    name: str
    url: str
    file: Path
    digits: str

    def require(self, remedy: str) -> Path:
        """The verified file, downloaded unless it is there.

        Raises:
            InputError: it cannot be downloaded, or has another sha256; names the weights.
        """
        try:
            if self.file.exists():
                verify(self.file, self.digits)
            else:
                fetch(self.url, self.digits, self.file)
        except InputError as error:
            raise InputError(self.file, self.name, error.problem, remedy) from error
        return self.file


def cached(name: str, url: str) -> Download:
    """A download to the place where mmengine looks for the file before it downloads it."""
    file = Path(torch.hub.get_dir(), "checkpoints", os.path.basename(urlparse(url).path))
    match = re.search(r"-([0-9a-f]{8,64})\.", file.name)
    return Download(name, url, file, match[1] if match and url.startswith(HASHED) else "")


def initial_names(config: Any) -> Iterator[str]:
    """The files, URLs and names in a config of a model that its networks are initialised from."""
    if isinstance(config, dict):
        if str(config.get("type")).endswith("Pretrained") and "checkpoint" in config:
            yield str(config["checkpoint"])
        for part in config.values():
            yield from initial_names(part)
    elif isinstance(config, (list, tuple)):
        for part in config:
            yield from initial_names(part)


def find(name: str) -> Download | None:
    """The download behind a name; None for a path, or for what only mmengine knows how to load.

    Raises:
        InputError: mmengine does not know the name.
    """
    if name.startswith(("http://", "https://")):
        return cached(name, name)
    prefix = next(filter(name.startswith, TABLES), None)
    if prefix is None:
        return None
    short, table = name.removeprefix(prefix), TABLES[prefix]()
    short = mmengine_checkpoint.get_deprecated_model_names().get(short, short)
    if short not in table:
        raise InputError(name, "", "is unknown to mmengine", f"{prefix} and one of {sorted(table)}")
    url = table[short]
    return cached(name, url) if url.startswith(("http://", "https://")) else None


def require_initial_weights(run: Training, config: Config) -> dict[str, str]:
    """Find or download all weights that a run starts from; returns their sha256 by name.

    Args:
        run: the run.
        config: of its training. Teacher and method in it get their weights otherwise.

    Raises:
        InputError: says which file is missing, where it would come from, and what to do.
    """
    command = f"python -m icd fetch --track {run.track}"
    remedy = f"a copy of the file there, e.g. by `{command}` where there is internet access"
    hashes = {}
    if isinstance(run, DecoderRun):
        return {}
    model = config.model.student if run.distils else config.model
    for name in dict.fromkeys(initial_names(model)):
        if download := find(name):
            hashes[name] = sha256(download.require(remedy))
        elif "://" not in name:
            file = Path(name).expanduser()
            hashes[name] = sha256(require_file(file, "weights that the network starts from"))
    return hashes


def downloads(runs: Iterable[Run]) -> list[Download]:
    """What these runs need and no run makes: models of the zoo, and what networks start from."""
    found: list[Download] = []
    models: dict[tuple[str, str], TrainedRun] = {}
    for run in runs:
        if isinstance(run, TrainedRun):
            models.setdefault((run.detector.name, run.backbone.name), run)
        elif isinstance(run, ImportedRun) and run.zoo:
            url = zoo_model(run.zoo).url
            found.append(Download(run.zoo, url, Path(run.checkpoint), run.sha256 or ""))
    configs = (detector(run, base_config(run), 1) for run in models.values())
    names = dict.fromkeys(name for config in configs for name in initial_names(config))
    return [*dict.fromkeys(found), *filter(None, map(find, names))]
