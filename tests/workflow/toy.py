"""The pipeline at toy scale: a track whose main table takes a minute, and a folder for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from icd.experiments.ablation import Ablation, load_ablation
from icd.experiments.run import Run
from icd.experiments.track import load_track
from icd.experiments.yaml_files import ROOT, WORKFLOW


def toy_track() -> dict[str, Any]:
    """The mini track with few and small images, slim models and two or three iterations."""
    content = yaml.safe_load((WORKFLOW / "tracks/mini.yaml").read_text())
    roles = content["roles"]
    content |= {
        "name": "toy",
        "data": {
            "synthetic": {"seed": 0, "image_size": 64},
            "splits": {"pretrain": 8, "train": 24, "test": 8},
        },
        "backbones": {
            roles[role]["backbone"]: {
                "backbone": {
                    "depth": 18,
                    "base_channels": width,
                    "frozen_stages": -1,
                    "norm_eval": False,
                    "init_cfg": None,
                },
                "neck": {"in_channels": [width, 2 * width, 4 * width, 8 * width]},
            }
            for role, width in (("teacher", 8), ("student", 4))
        },
        "seeds": [0],
        "machine": {"threads": 1},
    }
    content["images"]["scale"] = [64, 64]
    content["recipe"] |= {"unit": 2, "batch_size": 4, "ramp": 0}
    roles["teacher"]["schedule"], roles["student"]["schedule"] = "1.5x", "1x"
    roles["student"]["pretrained"]["schedule"] = "0.5x"
    model = content["detectors"]["retinanet"]["model"]
    model["neck"]["out_channels"] = 16
    model["bbox_head"] |= {"in_channels": 16, "feat_channels": 16, "stacked_convs": 1}
    model["bbox_head"]["norm_cfg"] = {"type": "GN", "num_groups": 4}
    content["methods"]["icd"]["options"] |= {"heads": 2, "warmup": 1}
    return content


def snakemake(
    folder: Path, *arguments: str, packages: tuple[Path, ...] = (), fails: bool = False
) -> str:
    """What Snakemake prints in a working directory outside of the code.

    ``packages``: where Python looks for packages first; ``fails``: it must end with an error.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    search = os.pathsep.join(map(str, [*packages, ROOT]))
    command = ["-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--directory", str(folder)]
    result = subprocess.run(
        [sys.executable, *command, *arguments],
        env=os.environ | {"PATH": path, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert (result.returncode != 0) == fails, result.stdout
    return result.stdout


def jobs(printed: str) -> set[str]:
    """The messages of the jobs that Snakemake lists or runs."""
    return set(re.findall(r"^Job \d+: (.+)$", printed, re.M))


def made(ablation: Ablation) -> set[str]:
    """The messages of the jobs that train and evaluate an ablation's runs, from nothing."""
    trained = {f"{verb} {run.id}" for run in ablation.runs for verb in ("Describe", "Train")}
    return trained | {f"Evaluate {run.id}" for run in ablation.measured}


class Project:
    """A folder in which the toy track's main table was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.track_file = folder / "toy track.yaml"
        self.track_file.write_text(yaml.safe_dump(toy_track(), sort_keys=False))
        self.ablation: Ablation = load_ablation("main", load_track(str(self.track_file)))
        self.printed = self.snakemake("--cores", "2")

    def snakemake(self, *arguments: str, fails: bool = False, config: tuple[str, ...] = ()) -> str:
        config = ("--config", f"track={self.track_file}", *config)
        return snakemake(self.folder, *arguments, *config, fails=fails)

    def run(self, row: str) -> Run:
        """The only run of a row."""
        (run,) = next(found for found in self.ablation.rows if found.id == row).runs
        return run

    def file(self, row: str, name: str) -> Path:
        """A file of a row's run; its manifest lies elsewhere."""
        run = self.run(row)
        if name == "manifest":
            return self.folder / f"results/toy/manifests/{run.id}.json"
        return self.folder / run.folder / name

    def contents(self) -> dict[str, Any]:
        """All results by path, without the state and the logs of trainings and evaluations."""
        files = [file for file in (self.folder / "results").rglob("*") if file.is_file()]
        of_evaluation = re.compile(r"/test/(?!bbox\.json)")
        return {
            str(file): timeless(file)
            for file in files
            if file.name not in ("lock", "index.html")  # the page shows when runs were made
            and file.suffix != ".log"
            and "work" not in file.parts
            and not of_evaluation.search(str(file))
        }

    @contextmanager
    def without(self, path: Path) -> Iterator[None]:
        """Take a file away for a while."""
        aside = path.with_name(f"{path.name}.aside")
        path.rename(aside)
        try:
            yield
        finally:
            aside.rename(path)


@contextmanager
def unchanged(file: Path) -> Iterator[None]:
    """Give a file its content and time back in the end."""
    content, time = file.read_bytes(), file.stat().st_mtime_ns
    try:
        yield
    finally:
        file.write_bytes(content)
        os.utime(file, ns=(time, time))


@contextmanager
def changed(file: Path) -> Iterator[None]:
    """Change a JSON file for a while; it means the same."""
    with unchanged(file):
        file.write_text(file.read_text() + "\n")
        yield


def timeless(file: Path) -> Any:
    """The content of a file but for when it was made, by which commit, and at what cost."""
    if file.suffix != ".json":
        return file.read_bytes()
    content = json.loads(file.read_text())
    if isinstance(content, dict):
        of_its_making = ("time", "git", "sessions", "exported", "seconds", "peak_memory_mib")
        for key in of_its_making:
            content.pop(key, None)
    return content
