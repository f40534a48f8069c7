"""Raw numbers as tidy CSV files: one line a number, unrounded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from icd.errors import InputError
from icd.files import atomic


def write_table(lines: Iterable[dict[str, Any]], output: Path) -> None:
    """Write lines of the same keys as CSV."""
    with atomic(output) as temporary:
        pd.DataFrame(list(lines)).to_csv(temporary, index=False)


def require(file: Path, how: str) -> Path:
    """The file itself.

    Args:
        how: what would make it.

    Raises:
        InputError: it is missing.
    """
    if not file.exists():
        raise InputError(file, "", "does not exist", how)
    return file
