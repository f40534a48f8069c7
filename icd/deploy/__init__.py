"""Detectors as ONNX models: how they are written, how good, large and fast they are."""

import icd.training  # noqa: F401  (before anything imports mmdet)
