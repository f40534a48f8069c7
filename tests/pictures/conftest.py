"""The helpers of the tests of icd.suite are of use here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "suite"))
