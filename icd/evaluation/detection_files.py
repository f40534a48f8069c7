"""Detections as files in COCO's format: those of mmdet's metric, written in a tenth of the time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS

from icd.files import write_text


@METRICS.register_module()
class DetectionFiles(CocoMetric):
    """mmdet's CocoMetric that writes what it is asked for (``metric``) and computes nothing.

    mmdet goes over all boxes one by one, and has them encoded by Python instead of C.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(format_only=True, **options)

    def results2json(self, results: Sequence[dict], outfile_prefix: str) -> dict[str, str]:
        """Write ``<outfile_prefix>.<kind>.json`` for each kind; their paths by kind."""
        files = {kind: f"{outfile_prefix}.{kind}.json" for kind in self.metrics}
        for kind, file in files.items():
            found = [entry for result in results for entry in self.entries(result, kind)]
            write_text(Path(file), json.dumps(found))
        return files

    def entries(self, result: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
        """The detections of one image, as COCO's format has them."""
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
