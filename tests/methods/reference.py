"""The method's equations in float64: one image, layer, head and instance at a time.

Written from the description of the method, for readability instead of speed. It shares no code with
``icd.methods``. Tokens in the padding and unused query slots are never built, instead of masked. An
image is a dictionary. Values without gradient are computed with ``math`` and NumPy.

Parameters are a dictionary of tensors, named as in the state dictionary of ``ICD``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Settings:
    """The options of the method that enter its losses; defaults as published."""

    classes: int
    heads: int = 8
    depth: int = 1
    weight: float = 8.0
    fake_ratio: float = 5.0
    cap: int = 300
    jitter: float = 0.3
    temperature: float = 1.0
    scale_offset: float = 5.0
    normalise: bool = True


@dataclass(frozen=True)
class Image:
    """One image of a batch; levels are [C, h, w] arrays or tensors, boxes corners in pixels."""

    teacher: Sequence[Tensor]
    student: Sequence[Tensor]
    boxes: Sequence[Sequence[float]]
    labels: Sequence[int]
    size: tuple[int, int]
    padded: tuple[int, int]
    fake_labels: Sequence[int]
    fake_boxes: Sequence[Sequence[float]]
    jitter: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Question:
    """One query: is there an instance of this class at this place, and where are its sides?"""

    label: int
    centre: tuple[float, float]
    size: tuple[float, float]
    pixels: tuple[float, float]
    sides: tuple[float, float, float, float]
    real: bool


# --- Queries ---------------------------------------------------------------------------------


def count_queries(real: int, fake_ratio: float, cap: int) -> int:
    """K = min(max(1, int(n (1 + ratio))), max(cap, n))."""
    wanted = int(real * (1 + fake_ratio))
    if wanted < 1:
        wanted = 1
    limit = real if real > cap else cap
    return limit if wanted > limit else wanted


def ask(image: Image, settings: Settings) -> list[Question]:
    """The questions of one image: K boxes are drawn, the first n replaced by the ground truth."""
    height, width = image.size
    questions = []
    for i in range(count_queries(len(image.boxes), settings.fake_ratio, settings.cap)):
        real = i < len(image.boxes)
        if real:
            x1, y1, x2, y2 = image.boxes[i]
            x1, y1, x2, y2 = x1 / width, y1 / height, x2 / width, y2 / height
        else:
            x1, y1, x2, y2 = (min(max(side, 0.0), 1.0) for side in image.fake_boxes[i])
        w, h = x2 - x1, y2 - y1
        x = (x1 + x2) / 2 + image.jitter[i][0] * settings.jitter * w
        y = (y1 + y2) / 2 + image.jitter[i][1] * settings.jitter * h
        questions.append(
            Question(
                label=image.labels[i] if real else image.fake_labels[i],
                centre=(x, y),
                size=(w, h),
                pixels=(w * width, h * height),
                sides=(x - x1, y - y1, x2 - x, y2 - y),
                real=real,
            )
        )
    return questions


def scale_bin(pixels: float, offset: float) -> int:
    """floor(clamp(1.44 ln(pixels) - offset, 0, 4))."""
    return math.floor(min(max(1.44 * math.log(max(pixels, 1e-6)) - offset, 0.0), 4.0))


def encode(question: Question, settings: Settings) -> np.ndarray:
    """One-hot class | sin x | cos x | sin y | cos y | one-hot bin of width | of height."""
    code = [1.0 if c == question.label else 0.0 for c in range(settings.classes)]
    for coordinate in question.centre:
        angles = [2 * math.pi * coordinate / 10000 ** (k / 64) for k in range(64)]
        code += [math.sin(angle) for angle in angles]
        code += [math.cos(angle) for angle in angles]
    for pixels in question.pixels:
        code += [float(b == scale_bin(pixels, settings.scale_offset)) for b in range(5)]
    return np.array(code)


# --- Tokens ----------------------------------------------------------------------------------


def valid_rows_and_columns(
    size: tuple[int, int], padded: tuple[int, int], level: tuple[int, int]
) -> tuple[int, int]:
    """Rows and columns of a level that start inside the true image."""
    stride = (padded[0] / level[0] + padded[1] / level[1]) / 2
    rows = sum(1 for row in range(level[0]) if row < math.ceil(size[0] / stride))
    columns = sum(1 for column in range(level[1]) if column < math.ceil(size[1] / stride))
    return rows, columns


def sine(cell: int, cells: int, channels: int) -> list[float]:
    """DETR's embedding of the ``cell``-th of ``cells`` valid ones, from 1, on one axis."""
    angle = cell / (cells + 1e-6) * 2 * math.pi
    code = []
    for i in range(channels):
        wave = angle / 10000 ** (2 * (i // 2) / channels)
        code.append(math.sin(wave) if i % 2 == 0 else math.cos(wave))
    return code


def position_embedding(rows: int, columns: int, channels: int) -> np.ndarray:
    """[rows, columns, C] of the valid cells of one level, the y half first."""
    code = np.zeros((rows, columns, channels))
    for row in range(rows):
        for column in range(columns):
            code[row, column] = sine(row + 1, rows, channels // 2) + sine(
                column + 1, columns, channels // 2
            )
    return code


def valid_tokens(levels: Sequence[Tensor], image: Image) -> tuple[Tensor, Tensor]:
    """Features and positions [L, C] of the image's own tokens, level after level."""
    features, positions = [], []
    for level in levels:
        channels, height, width = level.shape
        rows, columns = valid_rows_and_columns(image.size, image.padded, (height, width))
        position = position_embedding(rows, columns, channels)
        for row in range(rows):
            for column in range(columns):
                features.append(level[:, row, column])
                positions.append(torch.from_numpy(position[row, column]))
    return torch.stack(features), torch.stack(positions)


# --- Decoder ---------------------------------------------------------------------------------


def linear(p: Parameters, name: str, x: Tensor) -> Tensor:
    """W x + b."""
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def head(p: Parameters, name: str, x: Tensor, j: int, heads: int) -> Tensor:
    """F_j: the rows of a projection that belong to head ``j``."""
    d = p[f"{name}.weight"].shape[0] // heads
    rows = slice(j * d, (j + 1) * d)
    return x @ p[f"{name}.weight"][rows].T + p[f"{name}.bias"][rows]


def relu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.zeros_like(x))


def perceptron(p: Parameters, name: str, x: Tensor) -> Tensor:
    """Three linear layers, ReLU after the first two."""
    return linear(p, f"{name}.4", relu(linear(p, f"{name}.2", relu(linear(p, f"{name}.0", x)))))


def standardise(x: Tensor) -> Tensor:
    """Zero mean and unit variance over the last axis, epsilon 1e-5."""
    centred = x - x.sum(-1, keepdim=True) / x.shape[-1]
    variance = (centred**2).sum(-1, keepdim=True) / x.shape[-1]
    return centred / (variance + 1e-5) ** 0.5


def softmax(x: Tensor) -> Tensor:
    powers = (x - x.max().detach()).exp()
    return powers / powers.sum()


@dataclass(frozen=True)
class Attended:
    """Per head: logits of each query [L] and values [L, d]; and the layer's output per query."""

    logits: list[list[Tensor]]
    values: list[Tensor]
    outputs: list[Tensor]


def attend(p: Parameters, name: str, queries: list[Tensor], image: Image, heads: int) -> Attended:
    """Multi-head attention of each query over the teacher's tokens."""
    features, position = valid_tokens(image.teacher, image)
    key_input = features + linear(p, f"{name}.position", position)
    logits, values = [], []
    for j in range(heads):
        keys = head(p, f"{name}.key", key_input, j, heads)
        values.append(head(p, f"{name}.value", features, j, heads))
        scale = math.sqrt(keys.shape[1])
        logits.append([keys @ head(p, f"{name}.query", q, j, heads) / scale for q in queries])
    outputs = []
    for i in range(len(queries)):
        found = [softmax(logits[j][i]) @ values[j] for j in range(heads)]
        outputs.append(linear(p, f"{name}.out", torch.cat(found)))
    return Attended(logits, values, outputs)


def layer_norm(p: Parameters, name: str, x: Tensor) -> Tensor:
    return standardise(x) * p[f"{name}.weight"] + p[f"{name}.bias"]


def decode(
    p: Parameters, queries: list[Tensor], image: Image, settings: Settings
) -> list[Attended]:
    """All layers; depth 0 is one bare attention."""
    if settings.depth == 0:
        return [attend(p, "decoder.layers.0", queries, image, settings.heads)]
    layers = []
    for i in range(settings.depth):
        name = f"decoder.layers.{i}"
        found = attend(p, f"{name}.attention", queries, image, settings.heads)
        outputs = []
        for query, attended in zip(queries, found.outputs, strict=True):
            x = layer_norm(p, f"{name}.norm1", query + attended)
            wide = relu(linear(p, f"{name}.ffn.0", x))
            outputs.append(layer_norm(p, f"{name}.norm2", x + linear(p, f"{name}.ffn.2", wide)))
        layers.append(Attended(found.logits, found.values, outputs))
        queries = outputs
    return layers


# --- Losses ----------------------------------------------------------------------------------


def cross_entropy(logit: Tensor, real: bool) -> Tensor:
    """Binary cross-entropy of one logit: -log p if real, else -log(1 - p), p = 1 / (1 + e^-x)."""
    return torch.log1p((-logit if real else logit).exp())


def side_error(prediction: Tensor, question: Question) -> Tensor:
    """Sum over four sides of |sigmoid(p) - t| / (w, h, w, h)."""
    error = torch.zeros((), dtype=torch.float64)
    for k in range(4):
        side = 1 / (1 + (-prediction[k]).exp())
        error = error + (side - question.sides[k]).abs() / question.size[k % 2]
    return error


def imitation(
    p: Parameters, layer: int, found: Attended, questions: list[Question], image: Image, s: Settings
) -> Tensor:
    """Mean over heads and channels of sum_s m (v_s - v_t)^2 / sum_s m; 0 without instances."""
    student, _ = valid_tokens(image.student, image)
    total = torch.zeros((), dtype=torch.float64)
    for j in range(s.heads):
        ours = head(p, f"student_values.{layer}", student, j, s.heads)
        theirs = found.values[j].detach()
        if s.normalise:
            ours, theirs = standardise(ours), standardise(theirs)
        m = torch.zeros(len(theirs), dtype=torch.float64)
        for i, question in enumerate(questions):
            if question.real:
                m = m + softmax(found.logits[j][i].detach() / s.temperature)
        if m.sum() > 0:
            error = ((ours - theirs) ** 2).sum(1) / ours.shape[1]
            total = total + (m * error).sum() / m.sum()
    return total / s.heads


def losses(p: Parameters, images: Sequence[Image], settings: Settings) -> dict[str, Tensor]:
    """The three losses of a batch."""
    asked, real = 0, 0
    identification = localisation = distillation = torch.zeros((), dtype=torch.float64)
    layers = max(settings.depth, 1)
    for image in images:
        questions = ask(image, settings)
        asked += len(questions)
        real += sum(question.real for question in questions)
        codes = [torch.from_numpy(encode(question, settings)) for question in questions]
        queries = [perceptron(p, "encoder.mlp", code) for code in codes]
        for i, found in enumerate(decode(p, queries, image, settings)):
            for question, output in zip(questions, found.outputs, strict=True):
                prediction = perceptron(p, "auxiliary.predictor", output)
                identification = identification + cross_entropy(prediction[0], question.real)
                if question.real:
                    localisation = localisation + side_error(prediction[1:], question)
            distillation = distillation + imitation(p, i, found, questions, image, settings)
    return {
        "loss_identification": identification / asked,
        "loss_localisation": localisation / max(real, 1),
        "loss_distillation": settings.weight * distillation / (layers * len(images)),
    }
