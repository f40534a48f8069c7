"""COCO-format data sets that lack what mmdet and pycocotools need; reading fills it in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS

from icd.data.annotations import complete
from icd.errors import InputError


class CompletedCOCO(COCO):
    """pycocotools' COCO for files as :func:`icd.data.annotations.complete` completes them.

    Args:
        annotation_file: path of the file.
    """

    def __init__(self, annotation_file: str | Path) -> None:
        self.file = annotation_file
        super().__init__(annotation_file)

    def createIndex(self) -> None:  # noqa: N802  (the name is pycocotools')
        """Called after reading the file."""
        complete(self.dataset)
        super().createIndex()

    def get_cat_ids(
        self, cat_names: Sequence[str] = (), sup_names: Sequence[str] = (), cat_ids: object = ()
    ) -> list[int]:
        """Ids of the classes; mmdet numbers them in the order of the file, not of ``cat_names``.

        Raises:
            InputError: the file has other classes, or another order.
        """
        names = [category["name"] for category in self.dataset["categories"]]
        if cat_names and names != list(cat_names):
            expected = f"the classes of the training, in their order: {list(cat_names)}"
            raise InputError(self.file, "categories", f"are {names}", expected)
        return super().get_cat_ids(cat_names, sup_names, cat_ids)


@DATASETS.register_module()
class CompletedCocoDataset(CocoDataset):
    """mmdet's CocoDataset, but it completes what it reads."""

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
