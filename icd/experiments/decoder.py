"""How a method's decoder is trained alone, before students learn with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icd.errors import InputError
from icd.experiments.base import validate
from icd.experiments.options import DecoderTraining, Method, options_of_decoder
from icd.experiments.recipe import Optimizer, Recipe, merge_recipes

SEED = 0  # all students of a teacher share one decoder


def decoder_training(
    track: DecoderTraining | None, row: DecoderTraining | None, method: Method, file: Path
) -> dict[str, Any] | None:
    """What track and row state, the row's keys first; None if the decoder is not trained alone.

    Args:
        track: what the method's entry of the track states.
        row: what the row states.
        method: the method with all its options.
        file: the track's file, for error messages.

    Raises:
        InputError: the method has no decoder, or there is nothing that it would learn from.
    """
    stated = merge_recipes(track.stated() if track else {}, row.stated() if row else {})
    key = f"methods.{method.name}.decoder"
    if not stated:
        return None
    options_of_decoder(method.name, method.options, file)  # raises if it has none
    if "warm" not in stated:
        raise InputError(file, f"{key}.warm", "is missing", "a number of iterations")
    if method.options.get("auxiliary") != []:
        return stated if stated["warm"] else None
    if row and row.warm:
        problem = f"is {row.warm}, but options.auxiliary is []"
        expected = "an auxiliary loss, because the decoder learns from nothing else"
        raise InputError(file, f"{key}.warm", problem, expected)
    return None  # it stays as initialised in any case


def decoder_method(method: Method, file: Path) -> Method:
    """The method with those options only that concern its decoder."""
    options = options_of_decoder(method.name, method.options, file)
    return Method(name=method.name, options=options)


def decoder_recipe(
    stated: Mapping[str, Any], method: Method, student: Recipe, file: Path
) -> Recipe:
    """The decoder's own optimizer along half a cosine, on batches like those of its students."""
    assert method.optimizer, "a method that learns has one"
    own = method.optimizer
    if own == "student":
        own = student.optimizer.model_copy(update={"lr": student.rate})
    change = {"optimizer": stated.get("optimizer", {})}
    merged = merge_recipes({"optimizer": own.stated()}, change)["optimizer"]
    key = ("methods", method.name, "decoder", "optimizer")
    return student.model_copy(
        update={
            "unit": stated["warm"],
            "optimizer": validate(Optimizer, merged, file, key),
            "reference_batch": None,
            "decay": "cosine",
            "ramp": 0,
        }
    )
