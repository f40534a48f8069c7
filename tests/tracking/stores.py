"""What trackers have stored on this machine, read back by other means than those that wrote it."""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Curves = dict[str, dict[int, float]]  # name -> step -> value; the last value of a step counts

BLOCK, HEADER = 32768, 7  # bytes, of the log format that wandb has from LevelDB
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def tensorboard(folder: Path) -> Any:
    """TensorBoard's own reader of the event files in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def tensorboard_curves(folder: Path) -> Curves:
    """The scalars in a folder; raises unless each step has one value."""
    reader, curves = tensorboard(folder), {}
    for name in reader.Tags()["scalars"]:
        events = reader.Scalars(name)
        curves[name] = {event.step: event.value for event in events}
        assert len(curves[name]) == len(events), f"{name} has steps twice"
    return curves


def wandb_records(session: Path) -> Iterator[Any]:
    """The records of an offline session of wandb."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    (file,) = session.glob("*.wandb")
    data, place, parts = file.read_bytes(), HEADER, b""  # the file has a header of the same size
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:  # a block ends with zeros
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        piece = data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        parts = piece if kind in (FULL, FIRST) else parts + piece
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(parts)
            yield record


def wandb_curves(folder: Path) -> Curves:
    """What all offline sessions in a folder have logged, in their order."""
    curves: Curves = defaultdict(dict)
    for session in sorted(folder.glob("offline-run-*")):
        for record in wandb_records(session):
            if record.HasField("history"):
                items = {name_of(item): json.loads(item.value_json) for item in record.history.item}
                for name, value in items.items():
                    curves[name][items["iter"]] = value
    return dict(curves)


def name_of(item: Any) -> str:
    """The name of an item of wandb's history."""
    return item.key or "/".join(item.nested_key)


def mlflow_runs(store: str) -> list[Any]:
    """All runs in a store of MLflow."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store)
    experiments = [one.experiment_id for one in client.search_experiments()]
    return list(client.search_runs(experiments))


def mlflow_curves(store: str, run: str) -> Curves:
    """The metrics of a run in a store of MLflow."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store)
    names = client.get_run(run).data.metrics
    histories = {name: client.get_metric_history(run, name) for name in names}
    return {
        name: {metric.step: metric.value for metric in sorted(history, key=lambda m: m.timestamp)}
        for name, history in histories.items()
    }
