"""The command that writes the JSON schemas, for developers."""

from __future__ import annotations

import argparse
from typing import Any

from icd.commands.arguments import Commands


def schemas(args: argparse.Namespace) -> None:
    """Write the JSON schemas of tracks, ablations and cost.yaml, for editors and the docs."""
    from icd.experiments.json_schema import FOLDER
    from icd.files import write_json

    for name, schema in SCHEMAS.items():
        write_json(FOLDER / f"{name}.schema.json", schema())


def _track_schema() -> dict[str, Any]:
    from icd.experiments.json_schema import track_schema

    return track_schema()


def _ablation_schema() -> dict[str, Any]:
    from icd.experiments.json_schema import ablation_schema

    return ablation_schema()


def _cost_schema() -> dict[str, Any]:
    from icd.cost.cases import CostContent
    from icd.experiments.json_schema import json_schema

    return json_schema(CostContent, "The measurements of the table of costs")


SCHEMAS = {"track": _track_schema, "ablation": _ablation_schema, "cost": _cost_schema}

COMMANDS: Commands = {schemas: []}
