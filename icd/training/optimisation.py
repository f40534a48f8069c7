"""A track's recipe as mmengine's optimisers and learning-rate schedules."""

from __future__ import annotations

from typing import Any

FUSED = ("Adam", "AdamW", "SGD")  # PyTorch steps all their parameters at once
STEP_FACTOR = 0.1  # by which the learning rate falls at each step of a stepwise schedule


def optimisation(recipe: dict[str, Any], method: dict[str, Any] | None, iterations: int) -> dict:
    """``optim_wrapper`` and ``param_scheduler`` of mmengine's Runner.

    With a method that has an optimiser of its own there are two of each: its modules follow half a
    cosine to zero, whatever the student's recipe is.
    """
    optimizer = recipe["optimizer"]
    optimizer = optimizer | {"lr": optimizer["lr"] * linear_rule(recipe)}
    wrapper, schedule = optim_wrapper(optimizer), decay(recipe, iterations)
    if method is None:
        return {"optim_wrapper": wrapper, "param_scheduler": schedule}
    wrappers, schedules = {"student": wrapper}, {"student": schedule}
    if "optimizer" in method:
        wrappers["method"] = optim_wrapper(method["optimizer"])
        schedules["method"] = [cosine(iterations)]
    return {
        "optim_wrapper": {"constructor": "DistillerOptimConstructor", **wrappers},
        "param_scheduler": schedules,
    }


def linear_rule(recipe: dict[str, Any]) -> float:
    """Factor of the student's learning rate: proportional to the batch (Goyal et al., 2017).

    1 for a recipe without ``reference_batch``. The method's own rate is never scaled.
    """
    return recipe["batch_size"] / recipe.get("reference_batch", recipe["batch_size"])


def optim_wrapper(optimizer: dict[str, Any]) -> dict:
    """An OptimWrapper; ``clip`` is the largest gradient norm."""
    optimizer = dict(optimizer)
    if optimizer["type"] in FUSED and "foreach" not in optimizer:
        optimizer.setdefault("fused", True)
    clip = optimizer.pop("clip", None)
    config = {"type": "OptimWrapper", "optimizer": optimizer}
    return config | ({"clip_grad": {"max_norm": clip}} if clip else {})


def decay(recipe: dict[str, Any], iterations: int) -> list[dict]:
    """Learning-rate schedule of the student: a linear ramp, then cosine or steps."""
    if recipe["decay"] == "cosine":
        fall = cosine(iterations)
    else:
        milestones = [round(fraction * iterations) for fraction in recipe["decay"]]
        fall = {
            "type": "MultiStepLR",
            "by_epoch": False,
            "milestones": milestones,
            "gamma": STEP_FACTOR,
        }
    ramp = min(recipe.get("ramp", 0), iterations)
    if ramp < 2:  # mmengine's ramp ends at its last iteration: of one, it would never end
        return [fall]
    return [{"type": "LinearLR", "by_epoch": False, "start_factor": 0.001, "end": ramp}, fall]


def cosine(iterations: int) -> dict:
    """Half a cosine from the full rate to zero."""
    return {"type": "CosineAnnealingLR", "by_epoch": False, "T_max": iterations, "eta_min": 0.0}
