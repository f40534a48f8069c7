"""Reading weights: safely, completely, and with a clear word when they do not fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from icd.errors import InputError


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state_dict of a checkpoint; nothing in the file is executed.

    Raises:
        InputError: the file is missing, is no checkpoint, or holds more than plain data.
    """
    expected = "a PyTorch checkpoint of tensors and plain data"
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(path, "", "does not exist", expected) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(path, "", f"cannot be read ({reason})", expected) from error
    weights = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else {}
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(path, "state_dict", "holds no weights", expected)
    return weights


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a checkpoint into ``model``; every name and shape must agree.

    Raises:
        InputError: names what does not fit, in particular a head for other classes.
    """
    weights, own = read_weights(path), model.state_dict()
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
