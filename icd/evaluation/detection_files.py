"""Writes detections in COCO's format: the same files as mmdet's metric, ten times as fast."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS

from icd.files import write_text
from icd.training.dataset import CompletedCOCO


@METRICS.register_module()
class DetectionFiles(CocoMetric):
    """mmdet's CocoMetric, but it only writes the detections of each ``metric`` to files.

    mmdet loops over single boxes and encodes JSON in Python instead of C.
    """

    def __init__(self, ann_file: str, **options: Any) -> None:
        super().__init__(format_only=True, **options)
        self._coco_api = CompletedCOCO(ann_file)

    def results2json(self, results: Sequence[dict], outfile_prefix: str) -> dict[str, str]:
        """Write ``<outfile_prefix>.<kind>.json`` for each kind; returns their paths by kind."""
        files = {kind: f"{outfile_prefix}.{kind}.json" for kind in self.metrics}
        for kind, file in files.items():
            entries = [entry for result in results for entry in self.entries(result, kind)]
            write_text(Path(file), json.dumps(entries))
        return files

    def entries(self, result: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
        """The detections of one image in COCO's format."""
        scores, boxes = result["scores"], result["bboxes"].astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        if kind == "segm":
            scores = result.get("mask_scores", scores)
        columns = boxes.tolist(), scores.tolist(), result["labels"].tolist()
        for i, (box, score, label) in enumerate(zip(*columns, strict=True)):
            entry = {"image_id": result["img_id"], "bbox": box, "score": score}
            entry["category_id"] = self.cat_ids[label]
            if kind == "segm":
                mask = result["masks"][i]
                entry["segmentation"] = {"size": mask["size"], "counts": _text(mask["counts"])}
            yield entry


def _text(counts: str | bytes) -> str:
    return counts.decode() if isinstance(counts, bytes) else counts
