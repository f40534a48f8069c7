"""What the trainings of a table measured beside their losses, from their manifests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from icd.experiments.ablation import Ablation, Row
from icd.files import read_json

DIAGNOSIS_CSV = "diagnosis.csv"
COLUMNS = ["row", "run", "seed"]
LAYER = re.compile(r"layer\d+/")


@dataclass(frozen=True)
class DecoderDiagnosis:
    """What a row's decoder has learnt and where it looks: means over layers and seeds.

    effective_tokens, effective: how many tokens have the attention, and their share of all.
    inside, boxes: share of the attention in annotated boxes, and of the tokens that lie there.
    recognised, mistaken: shares of annotated and of fake instances with an objectness above 0.5;
        NaN where there were none.
    """

    effective_tokens: float
    effective: float
    inside: float
    boxes: float
    recognised: float
    mistaken: float


def diagnoses(ablation: Ablation, manifests: Path) -> pd.DataFrame:
    """The summary of each run's diagnosis: a record for each row and run, a column for each value.

    Runs whose manifest has none, because they come from elsewhere or from an earlier version, are
    left out. The values are those of :mod:`icd.training.diagnosis`.
    """
    records = []
    for row in ablation.rows:
        for run in row.runs:
            file = manifests / f"{run.id}.json"
            manifest = read_json(file, "the provenance of a run") if file.is_file() else {}
            if values := manifest.get("diagnosis", {}).get("values"):
                key = {"row": row.id, "run": run.id, "seed": run.training_seed}
                records.append(key | values)
    return pd.DataFrame(records, columns=None if records else COLUMNS, dtype=object)


def decoder_diagnosis(table: pd.DataFrame, row: Row) -> DecoderDiagnosis | None:
    """The means of a row from a table of :func:`diagnoses`; None without a decoder in it."""
    values = table[table["row"] == row.id].drop(columns=COLUMNS).astype(float)
    means: pd.Series = values.rename(columns=lambda name: LAYER.sub("", name)).mean()
    named = means.groupby(level=0).mean()
    if pd.isna(named.get("effective")):
        return None
    fields = DecoderDiagnosis.__dataclass_fields__
    return DecoderDiagnosis(**{name: float(named.get(name, float("nan"))) for name in fields})
