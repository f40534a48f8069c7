"""MLflow: a server, or a database in a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.visualization.vis_backend import MLflowVisBackend

from icd.tracking.alone import alone
from icd.tracking.entry import Entry

# A training waits for its server, but not long. MLflow reports its use unless it is told not to.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
PARAMETERS_AT_ONCE = 100  # as many as a server takes in one request
LONGEST_PARAMETER = 500  # characters that all of its stores take


class MLflowEntry(MLflowVisBackend):
    """mmengine's backend, which continues an entry and raises instead of printing each error."""

    def __init__(self, entry: Entry, start: int | None) -> None:
        del start  # iterations that are done again are shown at their iteration
        super().__init__(entry.folder)
        self.entry, self.is_open = entry, False

    def _init_env(self) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import mlflow

        self._mlflow = mlflow
        database = Path(self.entry.folder, "mlflow.db")
        file = f"sqlite:///{database}"
        store = os.environ.get("MLFLOW_TRACKING_URI", file)
        mlflow.set_tracking_uri(store)
        if store == file:
            with alone(database):  # two processes that lay out one database break it
                self._choose_experiment(database.with_suffix("").as_uri())
        else:
            self._choose_experiment(None)
        known = self._known()
        run = mlflow.start_run(run_id=known, run_name=self.entry.name, tags=self._searchable())
        self.is_open = True
        if known is None:
            self.entry.remember("mlflow", run.info.run_id)
            self._describe()
        place = f"`mlflow ui --backend-store-uri {file}` shows it" if store == file else store
        MMLogger.get_current_instance().info(f"mlflow: run {run.info.run_id}; {place}")

    def _choose_experiment(self, artifacts: str | None) -> None:
        """Use the experiment of this entry; ``artifacts``: where a new one keeps its files."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", self.entry.project)
        if self._mlflow.get_experiment_by_name(name) is None:
            try:
                self._mlflow.create_experiment(name, artifact_location=artifacts)
            except self._mlflow.MlflowException:
                if self._mlflow.get_experiment_by_name(name) is None:
                    raise  # otherwise, another run has just made it
        self._mlflow.set_experiment(name)

    def _known(self) -> str | None:
        """The run to continue; None if there is none, or none any more."""
        identity = self.entry.known("mlflow")
        if identity:
            try:
                self._mlflow.get_run(identity)
            except self._mlflow.MlflowException:
                return None
        return identity

    def _searchable(self) -> dict[str, str]:
        """The tags, and one for each table."""
        return self.entry.tags | {f"table.{name}": "true" for name in self.entry.tables}

    def _describe(self) -> None:
        """Store what describes the run; MLflow refuses to change it later."""
        parameters = [*flat(self.entry.parameters)]
        for first in range(0, len(parameters), PARAMETERS_AT_ONCE):
            self._mlflow.log_params(dict(parameters[first : first + PARAMETERS_AT_ONCE]))

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Store the config of a training as a file."""
        self.experiment.log_text(config.pretty_text, "config.py")

    def add_image(self, name: str, image: Any, step: int = 0, **kwargs: Any) -> None:
        """Store an image [h, w, 3]."""
        self.experiment.log_image(image, f"{name}.png")

    def add_scalars(
        self, scalar_dict: dict[str, Any], step: int = 0, file_path: object = None, **kwargs: Any
    ) -> None:
        """Store numbers by name."""
        self.experiment.log_metrics(scalar_dict, step)

    def close(self) -> None:
        """Mark the run as finished."""
        self._end("FINISHED")

    def abort(self) -> None:
        """Mark the run as stopped."""
        self._end("KILLED")

    def _end(self, status: str) -> None:
        if self.is_open:
            self.is_open = False
            self._mlflow.end_run(status)


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested mappings by dotted key, as texts of limited length."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)[:LONGEST_PARAMETER]
