"""Training and evaluation with mmengine: the method as a plug-in of any mmdet detector."""

from icd import ops

ops.install()  # before anything imports mmdet
