"""A track with a few evaluated runs, as the pipeline leaves it, and the page of its results.

Nothing is trained: detections are annotations that are moved, relabelled or left out at random.
Metrics come from the evaluation itself.
"""

from __future__ import annotations

import base64
import json
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from pycocotools import mask

from icd.evaluation.breakdown import resampled
from icd.evaluation.coco import match, summary
from icd.experiments.ablation import Ablation, read_ablation
from icd.experiments.run import Run
from icd.experiments.track import Track
from icd.files import write_json
from icd.report.existing import existing
from icd.report.results import read_results, write_results
from icd.report.tables import write_tables
from icd.web import gathered
from icd.web.gather import write as gather
from icd.web.render import write_page
from tests.experiments.track_files import laid_over
from tests.figures.tracks import track as mini

WIDTH, HEIGHT = 60, 40
IMAGES, CLASSES = 6, ("disk", "ring", "star")
LAYERS, HEADS = 2, 3
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MAIN: dict[str, Any] = {
    "title": "What it learns",
    "question": "Does it lift the student?",
    "notes": "A note with <b>no HTML</b> & a [link](https://example.org).",
    "baseline": "student",
    "reference": "inherit",
    "answers": [{"question": "Does <b> help?", "row": "icd", "over": "student"}],
    "figures": {
        "attention": ["icd"],
        "detections": ["student", "icd"],
        "curves": ["student", "icd"],
    },
    "rows": [
        {
            "id": "teacher",
            "label": "Teacher",
            "change": {"role": "teacher"},
            "published": {"AP": 40.4, "source": "a paper"},
        },
        {"id": "student", "label": "Student", "published": {"AP": 37.4, "source": "a paper"}},
        {"id": "inherit", "label": "Student + inheriting", "change": {"inherit": True}},
        {
            "id": "icd",
            "label": "ICD <i>",
            "change": {"method": "icd"},
            "published": {"AP": 39.9, "source": "a paper"},
        },
        {"id": "never", "label": "Never run", "change": {"method": "fitnet"}},
    ],
}
MASKS: dict[str, Any] = {
    "title": "Masks",
    "question": "Does it lift masks?",
    "baseline": "student",
    "iou_type": "segm",
    "rows": [
        {"id": "student", "label": "CondInst", "change": {"detector": "condinst"}},
        {
            "id": "other",
            "label": "CondInst, other teacher",
            "change": {"detector": "condinst", "inherit": True},
        },
    ],
}
QUALITY = {"teacher": 1.0, "student": 0.35, "inherit": 0.5, "icd": 0.8, "other": 0.6}


@dataclass(frozen=True)
class Site:
    """The folder of a project with results, which is where paths start from."""

    folder: Path
    track: Track
    ablations: list[Ablation]

    @property
    def page(self) -> Path:
        return self.folder / self.track.results / "index.html"

    def run(self, row: str, seed: int = 0) -> Run:
        """A run of the first table."""
        return self.ablations[0].row(row).runs[seed]

    def metrics(self, run: Run) -> dict[str, Any]:
        """What the evaluation of a run wrote."""
        content: dict[str, Any] = json.loads((self.folder / run.metrics()).read_text())
        return content

    def write_page(self) -> str:
        """Write the page from what is there now."""
        with chdir(self.folder):
            write_page(self.track, existing(self.track, self.ablations))
        return self.page.read_text()


def make_site(folder: Path) -> Site:
    """A project folder with data, evaluated runs, tables, gathered parts and the page."""
    track = laid_over(mini(snapshots=2), {"seeds": [0, 1]})
    with chdir(folder):
        (folder / "tables").mkdir()
        ablations = []
        for number, content in enumerate((MAIN, MASKS)):
            file = folder / "tables" / ("main.yaml" if not number else f"table{number}.yaml")
            file.write_text(yaml.safe_dump(content))
            ablations.append(read_ablation(file, track))
        truth = place_data(track)
        for ablation in ablations:
            for row in ablation.rows:
                for run in row.runs:
                    if row.id in QUALITY and not run.weights.is_file():
                        place_run(run, track, truth, QUALITY[row.id], ablation.iou_type)
            place_table(ablation, track)
        for part in gathered.PARTS:
            if part != gathered.ATTENTION:
                gather(part, track, ablations)
        site = Site(folder, track, ablations)
        write_json(gathered.file_of(track, gathered.ATTENTION), attention(site))
    site.write_page()
    return site


def place_data(track: Track) -> dict[str, Any]:
    """Images and annotations of the test split."""
    random = np.random.default_rng(0)
    images = [
        {"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in range(IMAGES)
    ]
    annotations: list[dict[str, Any]] = []
    track.images("test").mkdir(parents=True)
    for image in images:
        pixels = np.full((HEIGHT, WIDTH, 3), random.integers(20, 90, 3))
        for _ in range(random.integers(2, 5)):
            width, height = random.integers(6, 24, 2)
            x, y = random.integers(0, WIDTH - width), random.integers(0, HEIGHT - height)
            pixels[y : y + height, x : x + width] = random.integers(60, 250, 3)
            corners = [x, y, x + width, y, x + width, y + height, x, y + height]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": int(random.integers(len(CLASSES))) + 1,
                    "bbox": [int(x), int(y), int(width), int(height)],
                    "area": int(width * height),
                    "segmentation": [[int(value) for value in corners]],
                    "iscrowd": 0,
                }
            )
        Image.fromarray(pixels.astype(np.uint8)).save(
            track.images("test") / str(image["file_name"])
        )
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    track.annotations("test").write_text(json.dumps(truth))
    return truth


def place_run(run: Run, track: Track, truth: dict[str, Any], quality: float, iou_type: str) -> None:
    """What training and evaluation leave of a run."""
    found = detections(truth, quality, seed=run.training_seed or 0)
    write_json(run.detections(), found)
    metrics: dict[str, Any] = {"split": "test", "metrics": {}, "bootstrap": {}, "parts": {}}
    kinds = ["bbox"] if iou_type == "bbox" else ["bbox", "segm"]
    if "segm" in kinds:
        write_json(run.detections("test", "segm"), [with_mask(guess) for guess in found])
    for kind in kinds:
        matched = match(track.annotations("test"), run.detections("test", kind), kind)
        metrics["metrics"][kind] = summary(matched)
        metrics["bootstrap"][kind], metrics["parts"][kind] = resampled(matched)
    write_json(run.metrics(), metrics)
    run.weights.touch()
    write_json(run.manifest, manifest(run))
    log = run.folder / "work/20260101_000000/vis_data/scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text("\n".join(json.dumps(line) for line in logged(run)))
    for iteration in (250, 500):
        snapshot = {"split": "tune", "metrics": {"bbox": {"AP": quality * iteration / 2000}}}
        write_json(run.folder / f"steps/{iteration}.json", snapshot)


def detections(truth: dict[str, Any], quality: float, seed: int) -> list[dict[str, Any]]:
    """Annotations that are moved, relabelled, repeated or left out: the less, the better."""
    random = np.random.default_rng([seed, int(100 * quality)])
    labels = [category["id"] for category in truth["categories"]]
    found = []
    for thing in truth["annotations"]:
        for _ in range(random.integers(1, 3)):
            x, y, width, height = np.array(thing["bbox"]) + random.normal(0, 3 * (1.1 - quality), 4)
            label = thing["category_id"] if random.random() < quality else random.choice(labels)
            if random.random() < 0.4 + 0.6 * quality:
                box = [x, y, max(width, 1), max(height, 1)]
                guess = {"image_id": thing["image_id"], "category_id": int(label)}
                found.append(
                    guess
                    | {"bbox": [float(value) for value in box], "score": float(random.random())}
                )
    return found


def with_mask(guess: dict[str, Any]) -> dict[str, Any]:
    """A detection whose mask is its box."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    x, y, width, height = (round(value) for value in guess["bbox"])
    pixels[max(y, 0) : y + height, max(x, 0) : x + width] = 1
    code = mask.encode(pixels)
    return guess | {"segmentation": {"size": code["size"], "counts": code["counts"].decode()}}


def manifest(run: Run) -> dict[str, Any]:
    """The provenance of a run."""
    return {
        "run": run.id,
        "description": run.description,
        "time": "2026-01-02T03:04:05+00:00",
        "git": {"commit": COMMIT, "modified": False},
        "python": "3.11.7",
        "versions": {"torch": "2.14.1", "snakemake": None},
        "hardware": {"processor": "A processor", "cores": 2, "threads": 1, "gpus": []},
        "seconds": 4000.0,
        "peak_memory_mib": {"process": 1234.5},
        "inputs": {"annotations": "ab" * 32},
    }


def logged(run: Run) -> list[dict[str, Any]]:
    """Lines of a training's log; the heads of a decoder are measured one by one."""
    lines: list[dict[str, Any]] = []
    for step in range(50, 601, 50):
        line = {"lr": 0.004, "loss": 100 / step, "loss_cls": 60 / step, "step": step, "time": 0.1}
        lines.append(line)
        if run.distils:
            heads = {f"diagnosis/layer1/head{h}/effective": h / 10 for h in (1, 2, 3)}
            lines.append(heads | {"step": step})
    return lines


def place_table(ablation: Ablation, track: Track) -> None:
    """Collect and render a table."""
    folder = track.results / ablation.name
    write_results(ablation, folder)
    write_tables(ablation, read_results(folder), folder)


def attention(site: Site) -> dict[str, Any]:
    """Maps that differ for each image, object, layer and head."""
    random = np.random.default_rng(0)
    pictures = gathered.gathered(site.track, gathered.IMAGES)["test"]["images"]
    rows, columns = HEIGHT // 8, -(-WIDTH // 8)

    def entry(box: list[float] | None, label: int | None) -> dict[str, Any]:
        maps = random.integers(0, 256, (LAYERS, HEADS, rows, columns), dtype=np.uint8)
        numbers = random.random((2, LAYERS, HEADS)).round(3).tolist()
        return {
            "box": box,
            "label": label,
            "peak": 0.1,
            "maps": base64.b64encode(maps.tobytes()).decode(),
            "inside": numbers[0],
            "effective": numbers[1],
        }

    images = []
    for picture in pictures:
        objects = [
            entry([x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT], label)
            for x, y, w, h, label in picture["objects"]
        ]
        images.append(
            {
                "id": picture["id"],
                "rows": rows,
                "columns": columns,
                "extent": [8 * columns / WIDTH, 1.0],
                "area": 0.4,
                "objects": [*objects, entry(None, None)],
            }
        )
    known = {"run": site.run("icd").id, "split": "test", "layers": LAYERS, "heads": HEADS}
    return known | {"images": images}
