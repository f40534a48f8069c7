"""The one error a user is meant to read: what is wrong, where, and what would be right."""

from __future__ import annotations

from pathlib import Path


class InputError(Exception):
    """Bad input, found before any work was done.

    Args:
        where: the file (or command-line argument) that is wrong.
        key: the place inside it, e.g. ``recipe.batch_size``; empty if the whole file is meant.
        problem: what was found.
        expected: what would be right.
    """

    def __init__(self, where: str | Path, key: str, problem: str, expected: str) -> None:
        place = f"{where}: {key}" if key else f"{where}"
        super().__init__(f"{place}: {problem}; expected {expected}")
        self.where, self.key, self.problem, self.expected = str(where), key, problem, expected
