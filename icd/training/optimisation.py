"""A track's recipe as mmengine's optimisers and learning-rate schedules."""

from __future__ import annotations

from typing import Any

from icd.experiments.recipe import scaled_lr

FUSED = ("Adam", "AdamW", "SGD")  # PyTorch can update all their parameters in one kernel
STEP_FACTOR = 0.1  # factor of the learning rate at each step of a stepwise schedule


def optimisation(
    recipe: dict[str, Any], method: dict[str, Any] | None, iterations: int
) -> dict[str, Any]:
    """``optim_wrapper`` and ``param_scheduler`` of mmengine's Runner.

    A method that states an optimiser adds a second one, for its own modules. Its rate falls to zero
    along half a cosine, whatever the student's recipe is.
    """
    optimizer = recipe["optimizer"]
    optimizer = optimizer | {"lr": optimizer["lr"] * lr_factor(recipe)}
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


def lr_factor(recipe: dict[str, Any]) -> float:
    """Factor of the student's learning rate by the linear scaling rule.

    The method's own rate is never scaled.
    """
    return scaled_lr(1.0, recipe["batch_size"], recipe.get("reference_batch"))


def optim_wrapper(optimizer: dict[str, Any]) -> dict[str, Any]:
    """Config of an OptimWrapper; ``clip`` is the largest gradient norm."""
    optimizer = dict(optimizer)
    if optimizer["type"] in FUSED and "foreach" not in optimizer:
        optimizer.setdefault("fused", True)
    clip = optimizer.pop("clip", None)
    config = {"type": "OptimWrapper", "optimizer": optimizer}
    return config | ({"clip_grad": {"max_norm": clip}} if clip else {})


def decay(recipe: dict[str, Any], iterations: int) -> list[dict[str, Any]]:
    """Learning-rate schedule of the student: linear warm-up, then cosine or steps."""
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
    if ramp < 2:  # mmengine's warm-up of one iteration never ends
        return [fall]
    return [{"type": "LinearLR", "by_epoch": False, "start_factor": 0.001, "end": ramp}, fall]


def cosine(iterations: int) -> dict[str, Any]:
    """Half a cosine from the full rate to zero."""
    return {"type": "CosineAnnealingLR", "by_epoch": False, "T_max": iterations, "eta_min": 0.0}
