"""Training and evaluation with mmengine: the method as a plug-in of any mmdet detector."""

from icd import mmcv_ext

mmcv_ext.install()  # before anything imports mmdet
