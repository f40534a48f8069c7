"""The packages that only exported models need."""

from __future__ import annotations

from importlib.util import find_spec

from icd.errors import InputError

PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def require_extra() -> None:
    """Raise InputError if a package of the extra ``onnx`` is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        expected = "the extra: pip install -c constraints.txt -e '.[onnx]'"
        raise InputError("icd-bench[onnx]", "", f"{', '.join(missing)} is not installed", expected)
