"""COCO-format data sets that may lack ``area`` or ``iscrowd``; reading fills them in."""

from __future__ import annotations

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS

from icd.data.annotations import complete
from icd.errors import InputError


class CompletedCOCO(COCO):
    """pycocotools' COCO for files without ``area`` or ``iscrowd``."""

    def createIndex(self) -> None:  # noqa: N802  (the name is pycocotools')
        """Called after reading the file."""
        complete(self.dataset)
        super().createIndex()


@DATASETS.register_module()
class CompletedCocoDataset(CocoDataset):
    """mmdet's CocoDataset, but it also reads files without ``area`` or ``iscrowd``."""

    COCOAPI = CompletedCOCO

    def filter_data(self) -> list[dict]:
        """The images to train on.

        Raises:
            InputError: no image is left. Training would wait forever.
        """
        kept = super().filter_data()
        if not kept:
            smallest = (self.filter_cfg or {}).get("min_size", 0)
            expected = f"images with objects, at least {smallest} pixels wide and high"
            raise InputError(self.ann_file, "images", "none is left to train on", expected)
        return kept
