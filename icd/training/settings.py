"""The training settings that a config states, in words, so that recipes can be compared.

The same words describe mmdet's configs, the configs of runs, and what was published
(``workflow/published_recipes.yaml``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from typing import Any

from mmdet.registry import MODELS, OPTIMIZERS
from mmengine.config import Config
from mmengine.registry import Registry

from icd.experiments.run import TrainedRun
from icd.training.base_config import base_config, short_name
from icd.training.config import detector, train_loop
from icd.training.norm_decay import NormDecayConstructor
from icd.training.optimisation import STEP_FACTOR, optimisation
from icd.training.rate_factors import RateFactorConstructor

Settings = dict[str, str]  # a value in words by the name of the setting
Part = Mapping[str, Any]  # a part of a config
WARM_UPS = {"LinearLR": "linear", "ConstantLR": "constant"}
# What settings have in words, or what changes no weights.
KNOWN_OF_OPTIMIZER = {"type", "lr", "momentum", "weight_decay", "fused"}
KNOWN_OF_WRAPPER = {"type", "optimizer", "clip_grad", "paramwise_cfg", "dtype", "loss_scale"}
CONSTRUCTORS = (NormDecayConstructor.__name__, RateFactorConstructor.__name__)
KNOWN_OF_PARAMETERS = {"bias_lr_mult", "bias_decay_mult", "norm_decay_mult"}


def track_settings(run: TrainedRun) -> Settings:
    """What a run trains its detector with."""
    recipe = run.recipe
    parts = optimisation(recipe, None, run.iterations)
    wrapper, schedulers = parts["optim_wrapper"], parts["param_scheduler"]
    loop = train_loop(run.iterations, 1)
    return {
        **_optimiser(wrapper, recipe.batch_size),
        **_schedule(schedulers, loop),
        "precision": recipe.precision,
        **model_settings(detector(run, base_config(run), 1)),
    }


def mmdet_settings(config: Config) -> Settings:
    """What a detector's config says itself, as far as it says it."""
    found: Settings = {}
    if isinstance(wrapper := config.get("optim_wrapper"), dict) and wrapper.get("optimizer"):
        loader = config.get("train_dataloader") or {}
        scale = config.get("auto_scale_lr") or {}
        found |= _optimiser(wrapper, scale.get("base_batch_size", loader.get("batch_size")))
        mixed = short_name(str(wrapper.get("type"))).startswith("Amp")
        found["precision"] = str(wrapper.get("dtype", "float16")) if mixed else "float32"
    if schedulers := config.get("param_scheduler"):
        schedulers = [schedulers] if isinstance(schedulers, dict) else schedulers
        found |= _schedule(schedulers, config.get("train_cfg") or {})
    return found | model_settings(config.model)


def _optimiser(wrapper: Part, batch: int | None) -> Settings:
    """Settings of an optimiser's wrapper; its learning rate is for ``batch`` images."""
    optimizer, special = wrapper["optimizer"], wrapper.get("paramwise_cfg") or {}
    decay = argument(optimizer, "weight_decay", OPTIMIZERS) or 0
    momentum = f", momentum {optimizer['momentum']:g}" if "momentum" in optimizer else ""
    images = f" for {batch} images" if batch else ""
    rate = special.get("bias_lr_mult", 1)
    return {
        "optimiser": short_name(str(optimizer.get("type"))) + momentum,
        "learning rate": f"{_number(optimizer.get('lr'))}{images}",
        "learning rate of biases": "as weights" if rate == 1 else f"{rate:g} times that of weights",
        "gradient clipping": _clipping(wrapper.get("clip_grad")),
        "weight decay": _number(decay),
        "weight decay of biases": _number(decay * special.get("bias_decay_mult", 1)),
        "weight decay of norms": _number(decay * special.get("norm_decay_mult", 1)),
        "other options of the optimiser": _others(wrapper),
    }


def _others(wrapper: Part) -> str:
    """What no other setting says, as the config has it."""
    parts = (
        (wrapper, KNOWN_OF_WRAPPER),
        (wrapper["optimizer"], KNOWN_OF_OPTIMIZER),
        (wrapper.get("paramwise_cfg") or {}, KNOWN_OF_PARAMETERS),
    )
    others = {k: v for part, known in parts for k, v in part.items() if k not in known}
    if others.get("constructor") in CONSTRUCTORS:
        del others["constructor"]
    return ", ".join(f"{key} {value}" for key, value in others.items()) or "none"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _clipping(clip: Part | None) -> str:
    """How gradients are clipped; a norm other than the Euclidean one as the config has it."""
    if not clip:
        return "none"
    limits = {"clip_value": "elements to ±", "max_norm": "norm to "}
    found = [f"{text}{clip[key]:g}" for key, text in limits.items() if key in clip]
    return ", ".join(found) if clip.get("norm_type", 2) == 2 else str(dict(clip))


def _schedule(schedulers: list[Part], loop: Part) -> Settings:
    """Warm-up and decay of the learning rate."""
    named = [(short_name(str(one.get("type"))), one) for one in schedulers]
    warm_ups = [_warm_up(WARM_UPS[kind], one) for kind, one in named if kind in WARM_UPS]
    total = loop.get("max_iters", loop.get("max_epochs", "?"))
    decays = [_decay(kind, one, total) for kind, one in named if kind not in WARM_UPS]
    length = f"{total:,}" if isinstance(total, int) else total
    unit = "iterations" if "max_iters" in loop else "epochs"
    return {
        "warm-up": " and ".join(warm_ups) or "none",
        "schedule": f"{length} {unit}, {' and '.join(decays) or 'constant'}",
    }


def _warm_up(kind: str, one: Part) -> str:
    factor = one.get("start_factor", one.get("factor", 1 / 3))  # mmengine's default
    unit = "epochs" if one.get("by_epoch", True) else "iterations"
    return f"{kind}, {one.get('end', 0) - one.get('begin', 0):,} {unit} from a factor of {factor:g}"


def _decay(kind: str, one: Part, total: int | str) -> str:
    """How the learning rate falls in a schedule of ``total`` epochs or iterations."""
    if kind == "CosineAnnealingLR":
        begin, end = one.get("begin", 0), one.get("eta_min") or 0
        period = one.get("T_max", total)
        usual = isinstance(total, int) and period == total - begin
        return (
            "cosine"
            + (f" from {begin:,}" if begin else "")
            + (f" to {end:g}" if end else "")
            + ("" if usual else f" with T_max {period}")
        )
    if kind != "MultiStepLR":
        return kind
    gamma = one.get("gamma", STEP_FACTOR)
    factor = "" if gamma == STEP_FACTOR else f" by a factor of {gamma:g}"
    return "steps at " + " and ".join(f"{place:,}" for place in one["milestones"]) + factor


def model_settings(model: Part) -> Settings:
    """Settings in the config of a detector: backbone, images, extra levels, head, box loss."""
    images, backbone = model.get("data_preprocessor") or {}, model["backbone"]
    mean, std = (" ".join(map(_number, images.get(key) or [])) for key in ("mean", "std"))
    order = "RGB" if images.get("bgr_to_rgb") else "BGR"
    return {
        **backbone_settings(backbone),
        "normalisation": f"{order}, mean {mean}, std {std}",
        "extra levels": _extra_levels(model.get("neck") or {}),
        "norm of the heads": _norm_of_heads(model),
        "box loss": ", ".join(dict.fromkeys(map(_loss, _box_losses(model)))) or "none",
    }


def backbone_settings(backbone: Part) -> Settings:
    """Initial weights, batch norm and what is frozen of a backbone."""
    init, norm = backbone.get("init_cfg") or {}, argument(backbone, "norm_cfg") or {}
    fixed, frozen = argument(backbone, "norm_eval"), not norm.get("requires_grad", True)
    stages = argument(backbone, "frozen_stages")
    style = argument(backbone, "style") if backbone.get("depth", 50) >= 50 else None
    strides = {"caffe": "in the first 1x1 convolution", "pytorch": "in the 3x3 convolution"}
    return {
        "initial weights": str(init.get("checkpoint", "random")),
        "stride of a bottleneck": strides.get(str(style), "has none"),
        "frozen stages": _frozen(stages),
        "batch norm of the backbone": f"statistics {'frozen' if fixed else 'updated'},"
        f" weights and biases {'frozen' if frozen else 'trained'}",
    }


def _frozen(stages: int | None) -> str:
    """The frozen part of a backbone, by mmdet's ``frozen_stages``."""
    if stages is None or stages < 0:
        return "none"
    return f"stem and {stages} stage{'s' * (stages != 1)}" if stages else "stem"


def argument(config: Part, name: str, registry: Registry = MODELS) -> Any:
    """An argument of a class: as the config states it, or else its default."""
    if name in config:
        return config[name]
    for kind in getattr(registry.get(str(config.get("type"))), "__mro__", ()):
        parameters = signature(kind.__init__).parameters
        if name in parameters:
            return parameters[name].default
    return None


def _extra_levels(neck: Part | Sequence[Part]) -> str:
    """How a neck, the first if there are several, makes the levels that the backbone has not."""
    neck = neck if isinstance(neck, Mapping) else neck[0]
    kind = short_name(str(neck.get("type")))
    if kind == "ChannelMapper":
        return "convolution of C5"
    if "FPN" not in kind or "num_outs" not in neck:
        return "none"
    source = neck.get("add_extra_convs")
    if not source:
        return "max pooling"
    text = f"convolutions of {'C5' if source in (True, 'on_input') else 'P5'}"
    return text + (", ReLU between" if neck.get("relu_before_extra_convs") else ", no ReLU between")


def _norm_of_heads(model: Part) -> str:
    roi = model.get("roi_head") or {}
    head = model.get("bbox_head") or roi.get("bbox_head") or model.get("mask_head") or {}
    norm = argument(head, "norm_cfg") if isinstance(head, Mapping) else None
    return short_name(str(norm["type"])) if norm else "none"


def _box_losses(tree: Any) -> Iterator[Part]:
    """The configs of all losses of boxes in the config of a model."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from [value] if key == "loss_bbox" and value else _box_losses(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _box_losses(value)


def _loss(loss: Part) -> str:
    """A loss without what is neutral."""
    text = short_name(str(loss["type"]))
    if "beta" in loss:
        text += f" with beta {loss['beta']:g}"
    weight = loss.get("loss_weight", 1)
    return text if weight == 1 else f"{text} with weight {weight:g}"
