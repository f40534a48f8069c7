"""Detections, COCO metrics, bootstrap."""

from icd.deferred import deferring
from icd.training import RARELY_USED  # importing icd.training comes before mmengine and mmdet

with deferring(*RARELY_USED):
    import mmdet.evaluation  # noqa: F401
