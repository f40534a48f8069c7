"""The ground truth for evaluation, identical for every evaluator."""

from __future__ import annotations

from typing import Any

from icd.data.annotations import FIELDS, mask_of


def ground_truth(content: dict[str, Any]) -> dict[str, Any]:
    """The part of an annotation file that evaluators need. ``content`` is not changed.

    All annotations count, as in COCO's protocol. Annotations marked as ignored, which detectors do
    not learn, become crowds, because the protocol ignores only crowds. Unused fields are left out,
    because hotcoco refuses some of them.

    Args:
        content: completed content of an annotation file, see
            :func:`icd.data.annotations.complete`.
    """
    entries = content | {"annotations": map(_evaluated, content["annotations"])}
    return {
        key: [{field: entry[field] for field in fields if field in entry} for entry in entries[key]]
        for key, fields in FIELDS.items()
    }


def _evaluated(annotation: dict[str, Any]) -> dict[str, Any]:
    """An annotation without broken polygons; an ignored one becomes a crowd with a mask."""
    mask = mask_of(annotation)
    if not annotation.get("ignore"):
        return annotation | {"segmentation": mask}
    x, y, width, height = annotation["bbox"]
    box = [x, y, x + width, y, x + width, y + height, x, y + height]
    return annotation | {"iscrowd": 1, "segmentation": mask or [box]}
