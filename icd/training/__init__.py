"""Training and evaluation with mmengine: the method as a plug-in of any mmdet detector."""

from icd.deferred import deferring

# What mmdet and mmengine import at once and use in few places. PyTorch's compiler would take longer
# than all three, but each step of an optimizer of PyTorch imports it.
RARELY_USED = ("imagecorruptions", "imgaug", "matplotlib")

with deferring(*RARELY_USED):
    from icd import mmcv_ext

    mmcv_ext.install()  # before anything imports mmdet
    import mmdet.datasets
    import mmdet.models
    import mmdet.visualization  # noqa: F401
