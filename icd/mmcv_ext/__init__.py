"""The compiled operators of mmcv that detectors need, in PyTorch and torchvision.

mmcv looks for its operators in the extension module ``mmcv._ext``. Where mmcv is installed without
it, `install` puts a Python module of that name in its place, so that mmdet imports, trains and
predicts. It has non-maximum suppression (hard and soft), average RoIAlign, the sigmoid focal loss,
deformable convolution (plain and modulated) and multi-scale deformable attention. All run on the
device of their inputs, and half and bfloat16 inputs are computed in float32. Any other operator can
be looked up, as mmcv does on import, but raises an error when called. This includes RoIPool,
because torchvision rounds the regions and mmcv does not.

Each operator keeps the signature that mmcv calls; several write into a tensor that is passed in.
This package imports nothing else of icd, so it can be loaded by the path of this file, under any
name in ``sys.modules``.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import NoReturn

from . import deformable_attention, deformable_convolution, focal, roi_align, suppression

EXTENSION = "mmcv._ext"

OPERATORS: dict[str, Callable[..., object]] = {
    operator.__name__: operator
    for operator in (
        suppression.nms,
        suppression.softnms,
        roi_align.roi_align_forward,
        roi_align.roi_align_backward,
        focal.sigmoid_focal_loss_forward,
        focal.sigmoid_focal_loss_backward,
        deformable_convolution.deform_conv_forward,
        deformable_convolution.deform_conv_backward_input,
        deformable_convolution.deform_conv_backward_parameters,
        deformable_convolution.modulated_deform_conv_forward,
        deformable_convolution.modulated_deform_conv_backward,
        deformable_attention.ms_deform_attn_forward,
        deformable_attention.ms_deform_attn_backward,
    )
}
# For mmcv's report on the environment.
REPORT: dict[str, Callable[..., object]] = {
    "get_compiler_version": lambda: "none (operators from icd/mmcv_ext)",
    "get_compiling_cuda_version": lambda: "none (operators from icd/mmcv_ext)",
}


def install() -> bool:
    """Provide ``mmcv._ext`` where mmcv has none. Call it before mmcv.ops or mmdet is imported.

    Returns:
        True if this call put the Python version in place; False if there was nothing to do,
        because mmcv has a compiled version (which loads as usual) or because ``mmcv._ext`` is
        already loaded, compiled or from an earlier call.

    Raises:
        ModuleNotFoundError: mmcv is not installed.
    """
    if EXTENSION in sys.modules:
        return False
    mmcv = importlib.util.find_spec("mmcv")  # finds the package, but does not import it
    if mmcv is None:
        raise ModuleNotFoundError("mmcv is not installed: pip install onedl-mmcv", name="mmcv")
    folders = mmcv.submodule_search_locations
    if importlib.machinery.PathFinder.find_spec(EXTENSION, folders) is not None:
        return False
    # mmcv and mmengine check that this module has a spec with a loader.
    loader = _OperatorLoader()
    spec = importlib.machinery.ModuleSpec(EXTENSION, loader, origin=__file__)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[EXTENSION] = module
    return True


class _OperatorLoader(importlib.abc.Loader):
    """Fills the module with the operators of this package."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(OPERATORS | REPORT, __doc__=__doc__, __getattr__=_missing_operator)


def _missing_operator(name: str) -> Callable[..., NoReturn]:
    """Module-level ``__getattr__``: a stand-in for an operator this package does not have."""
    if name.startswith("_"):  # Python's own look-ups (__path__, __file__) are not operators
        raise AttributeError(f"module {EXTENSION!r} has no attribute {name!r}")
    return partial(_raise_missing, name)


def _raise_missing(name: str, *_: object, **__: object) -> NoReturn:
    raise NotImplementedError(
        f"mmcv operator {name!r} is not available: mmcv is installed without its compiled "
        f"operators, and icd/mmcv_ext replaces only {', '.join(sorted(OPERATORS))}. "
        "Install an mmcv that was compiled with its operators to use this model."
    )
