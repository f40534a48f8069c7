"""Checkpoints: read without executing code, loaded completely, written atomically."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from icd.errors import InputError
from icd.files import atomic

EXPECTED = "a PyTorch checkpoint of tensors and plain data"

# What mmengine's checkpoints hold besides plain data: histories of losses and learning rates, with
# NumPy values and methods looked up by getattr. NumPy 2 renamed core to _core.
BYSTANDERS = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",
    "numpy.ndarray",
    "numpy.dtype",
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    ),
)


class Bystander:
    """Replaces an object of a checkpoint that nothing reads; its constructor is not called."""

    def __new__(cls, *args: object) -> Bystander:
        return object.__new__(cls)

    def __init__(self, *args: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def _stand_in(path: str) -> type[Bystander]:
    """A class that the unpickler takes for the one at ``path``."""
    module, name = path.rsplit(".", 1)
    return type(name, (Bystander,), {"__module__": module})


STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    _stand_in(path) for path in BYSTANDERS
]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state_dict of a checkpoint; nothing in the file is executed.

    Raises:
        InputError: the file is missing, is not a checkpoint, or holds more than plain data.
    """
    checkpoint = _read(path)
    weights = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else {}
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(path, "state_dict", "holds no weights", EXPECTED)
    return weights


def read_classes(path: Path) -> list[str] | None:
    """Names of the classes that a checkpoint of mmdet states, by index; None if it has none.

    Raises:
        InputError: as of :func:`read_weights`.
    """
    checkpoint = _read(path)
    meta = checkpoint.get("meta") if isinstance(checkpoint, dict) else None
    stated = meta.get("dataset_meta", meta) if isinstance(meta, dict) else None
    if not isinstance(stated, dict):
        return None
    lower = {str(key).lower(): value for key, value in stated.items()}  # CLASSES before mmdet 3
    classes = lower.get("classes")
    named = isinstance(classes, (list, tuple)) and all(isinstance(name, str) for name in classes)
    return [*classes] if named and classes else None


def _read(path: Path) -> Any:
    """The content of a checkpoint as plain data and tensors."""
    try:
        with torch.serialization.safe_globals(STAND_INS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(path, "", f"cannot be read ({error.strerror})", EXPECTED) from error
    except Exception as error:  # a damaged file can make the unpickler raise anything
        raise InputError(path, "", _problem(error), EXPECTED) from error


def _problem(error: Exception) -> str:
    """What is wrong with a file, without PyTorch's advice to load it unsafely."""
    code = re.search(r"GLOBAL (\S+)", str(error))
    return f"holds {code[1]}, which is not plain data" if code else "is damaged or not a checkpoint"


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a checkpoint into ``model``; every name and shape must match.

    Raises:
        InputError: names what does not match, e.g. a head for another number of classes.
    """
    weights, own = read_weights(path), model.state_dict()
    if not own.keys() & weights.keys():
        problem = f"none of its {len(weights)} tensors fits, such as {min(weights)}"
        raise InputError(path, "state_dict", problem, _remedy(weights))
    wrong = {
        name: (tuple(weights[name].shape), tuple(own[name].shape))
        for name in own.keys() & weights.keys()
        if weights[name].shape != own[name].shape
    }
    if wrong:
        name, (theirs, ours) = min(wrong.items())
        raise InputError(
            path,
            name,
            f"has shape {theirs} ({len(wrong)} tensors differ)",
            f"{ours}, as the config and the number of classes of this track give",
        )
    for names, problem in (
        (own.keys() - weights.keys(), "is missing"),
        (weights.keys() - own.keys(), "is not part of the model"),
    ):
        if names:
            raise InputError(
                path, min(names), f"{problem} ({len(names)} tensors)", "weights of this config"
            )
    model.load_state_dict(weights)
    print_log(f"loaded all {len(own)} tensors of {path}", logger="current")


def _remedy(weights: dict[str, Tensor]) -> str:
    """What to load instead, judged by the prefixes of the tensors' names."""
    if any(name.startswith("student.") for name in weights):
        return "the model.pth of that run: this is a checkpoint of its distillation"
    if all(name.startswith("module.") for name in weights):
        return "names without the 'module.' of a data-parallel wrapper"
    return "weights of this config"


def write_weights(path: Path, model: nn.Module, **meta: Any) -> None:
    """Write the weights of ``model`` and plain data about them in mmengine's format."""
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    content = io.BytesIO()  # because PyTorch hides why a write to disk failed
    torch.save({"meta": meta, "state_dict": weights}, content)
    with atomic(path) as temporary:
        temporary.write_bytes(content.getbuffer())
