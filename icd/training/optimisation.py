"""A track's recipe as mmengine's optimisers and learning-rate schedules."""

from __future__ import annotations

from typing import Any

from icd.experiments.options import Combination, Method
from icd.experiments.recipe import Optimizer, Recipe

FUSED = ("Adam", "AdamW", "SGD")  # PyTorch can update all their parameters in one kernel
STEP_FACTOR = 0.1  # factor of the learning rate at each step of a stepwise schedule


def optimisation(
    recipe: Recipe, method: Method | Combination | None, iterations: int
) -> dict[str, Any]:
    """``optim_wrapper`` and ``param_scheduler`` of mmengine's Runner.

    Without a method, and with one whose parameters follow the student's optimiser, there is one
    optimiser for all parameters of the model. A method that states an optimiser adds a second one,
    for its own modules. Its rate falls to zero along half a cosine, whatever the student's recipe.
    Of several methods, each has its own or follows the student's.
    """
    optimizer = recipe.optimizer.model_copy(update={"lr": recipe.rate})
    wrapper, schedule = optim_wrapper(optimizer), decay(recipe, iterations)
    if method is None or (isinstance(method, Method) and method.optimizer == "student"):
        return {"optim_wrapper": wrapper, "param_scheduler": schedule}
    wrappers, schedules = {"student": wrapper}, {"student": schedule}
    for part in method.parts:
        if isinstance(part.optimizer, Optimizer):
            name = "method" if part is method else f"method.{part.name}"
            wrappers[name] = optim_wrapper(part.optimizer)
            schedules[name] = [cosine(iterations)]
    joining = [part.name for part in method.parts if part.optimizer == "student"]
    return {
        "optim_wrapper": {
            "constructor": "DistillerOptimConstructor",
            **wrappers,
            **({"joining": joining} if joining else {}),
        },
        "param_scheduler": schedules,
    }


def optim_wrapper(optimizer: Optimizer) -> dict[str, Any]:
    """Config of an optimiser's wrapper, which clips gradients as the optimiser states."""
    config = {"type": optimizer.type, "lr": optimizer.lr, **optimizer.arguments}
    if optimizer.type in FUSED and "foreach" not in config:
        config.setdefault("fused", True)
    wrapper: dict[str, Any] = {"type": "ClippingOptimWrapper", "optimizer": config}
    if optimizer.norm_decay_mult is not None:
        wrapper["constructor"] = "NormDecayConstructor"
        wrapper["paramwise_cfg"] = {"norm_decay_mult": optimizer.norm_decay_mult}
    if optimizer.lr_mult:
        factors = {word: {"lr_mult": factor} for word, factor in optimizer.lr_mult.items()}
        wrapper["constructor"] = "RateFactorConstructor"
        wrapper["paramwise_cfg"] = {**wrapper.get("paramwise_cfg", {}), "custom_keys": factors}
    limits = {"clip_value": optimizer.clip_value, "max_norm": optimizer.clip}
    clip = {name: limit for name, limit in limits.items() if limit}
    return wrapper | ({"clip_grad": clip} if clip else {})


def decay(recipe: Recipe, iterations: int) -> list[dict[str, Any]]:
    """Learning-rate schedule of the student: linear warm-up, then cosine or steps."""
    if recipe.decay == "cosine":
        fall = cosine(iterations)
    else:
        milestones = [round(fraction * iterations) for fraction in recipe.decay]
        fall = {
            "type": "MultiStepLR",
            "by_epoch": False,
            "milestones": milestones,
            "gamma": STEP_FACTOR,
        }
    ramp = min(recipe.ramp, iterations)
    if ramp < 2:  # mmengine's warm-up of one iteration never ends
        return [fall]
    return [{"type": "LinearLR", "by_epoch": False, "start_factor": 0.001, "end": ramp}, fall]


def cosine(iterations: int) -> dict[str, Any]:
    """Half a cosine from the full rate to zero."""
    return {"type": "CosineAnnealingLR", "by_epoch": False, "T_max": iterations, "eta_min": 0.0}
