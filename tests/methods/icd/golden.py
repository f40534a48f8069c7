"""Reference values of the published implementation, and how its names map to ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icd.methods.icd.method import ICD
from icd.methods.icd.sampling import QuerySamples
from icd.methods.tokens import Targets

FOLDER = Path(__file__).parents[2] / "golden"
CASES = sorted(path.stem for path in FOLDER.glob("small.*.npz"))
CLASSES = 80
UNIFORM_PRIORS = {
    "frequency": [1 / CLASSES] * CLASSES,
    "size_mean": [[0.2, 0.2]] * CLASSES,
    "size_std": [[0.1, 0.1]] * CLASSES,
}


@dataclass
class GoldenCase:
    """One stored case: inputs, parameters, draws and what the published code made of them."""

    name: str

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        return dict(np.load(FOLDER / f"{self.name}.npz"))

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        stem = Path(str(self.values["meta/inputs"]).strip('"')).stem
        return dict(np.load(FOLDER / f"{stem}.npz"))

    @cached_property
    def options(self) -> dict[str, Any]:
        flat = json.loads(str(self.values["meta/opts"]))
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {key.rsplit(".", 1)[1]: value for key, value in pairs}

    def out(self, key: str) -> Tensor:
        return torch.from_numpy(self.values[f"out/{key}"])

    def has(self, key: str) -> bool:
        return f"out/{key}" in self.values

    @property
    def layers(self) -> int:
        return int(self.options.get("ATT_LAYERS", 1))

    @property
    def heads(self) -> int:
        return int(self.options["ATT_HEADS"])

    def method(self) -> ICD:
        """Our ICD with the stored parameters."""
        icd = ICD(
            UNIFORM_PRIORS,
            channels=32,
            heads=self.heads,
            layers=self.layers,
            weight=float(self.options.get("WEIGHT_VALUE", 8.0)),
            query_cap=int(self.options.get("MAX_LABELS", 300)),
            temperature=float(self.options.get("TEMP_VALUE", 1.0)),
            normalise=self.options.get("DISTILL_NORM", "ln") != "none",
        )
        stored = {
            name: self.values[f"state_dict/{theirs}"][rows] for name, theirs, rows in self.names()
        }
        icd.load_state_dict({name: torch.from_numpy(array) for name, array in stored.items()})
        return icd

    def names(self) -> list[tuple[str, str, slice]]:
        """(our parameter, theirs, the rows of theirs) for every parameter of ours."""
        rows = {"query": slice(0, 32), "key": slice(32, 64), "value": slice(64, 96)}
        every = slice(None)
        found = []
        for kind in ("weight", "bias"):
            for i in range(3):
                for ours, theirs in (
                    ("encoder.mlp", "encoder"),
                    ("auxiliary.predictor", "predictor"),
                ):
                    stored = f"teacher.ins_encoder.{theirs}.layers.{i}.{kind}"
                    found.append((f"{ours}.{2 * i}.{kind}", stored, every))
            for layer in range(max(self.layers, 1)):
                inner = f"{layer}." if self.layers else ""
                teacher = f"teacher.attention_module.matt.{inner}"
                student = f"distillers.0.attention_module.matt.{inner}"
                position = teacher if self.layers else "teacher.attention_module."
                matt = "matt." if self.layers else ""
                ours = f"decoder.layers.{layer}."
                attention = f"{ours}attention." if self.layers else ours
                for name, part in rows.items():
                    stored = f"{teacher}{matt}in_proj_{kind}"
                    found.append((f"{attention}{name}.{kind}", stored, part))
                stored = f"{student}{matt}in_proj_{kind}"
                found.append((f"student_values.{layer}.{kind}", stored, rows["value"]))
                found.append((f"{attention}out.{kind}", f"{teacher}{matt}out_proj.{kind}", every))
                stored = f"{position}pos_projector.{kind}"
                found.append((f"{attention}position.{kind}", stored, every))
                if self.layers:
                    for name, theirs in (
                        ("norm1", "norm1"),
                        ("ffn.0", "linear_in"),
                        ("ffn.2", "linear_out"),
                        ("norm2", "norm2"),
                    ):
                        found.append((f"{ours}{name}.{kind}", f"{teacher}{theirs}.{kind}", every))
        return found

    def levels(self, who: str) -> list[Tensor]:
        keys = json.loads(str(self.inputs["keys"]))
        return [torch.from_numpy(self.inputs[f"{who}/{key}"]) for key in keys]

    @property
    def targets(self) -> Targets:
        counts = range(len(json.loads(str(self.inputs["counts"]))))
        return Targets(
            boxes=[torch.from_numpy(self.inputs[f"boxes/{i}"]) for i in counts],
            labels=[torch.from_numpy(self.inputs[f"classes/{i}"]) for i in counts],
            image_sizes=[tuple(size) for size in json.loads(str(self.inputs["sizes"]))],
            padded_size=tuple(json.loads(str(self.inputs["padded"]))),
            strides=[],  # ICD does not need them
        )

    def draws(self) -> list[QuerySamples]:
        return [
            QuerySamples(
                labels=self.out(f"sample.fake_cls.{i}"),
                boxes=self.out(f"sample.fake_box_xyxy_norm.{i}"),
                jitter=self.out(f"sample.jitter_rand.{i}") * 2 - 1,
            )
            for i in range(len(self.targets.boxes))
        ]
