"""Measurements for developers; not part of the package."""

from icd import mmcv_ext

mmcv_ext.install()  # before anything imports mmdet
