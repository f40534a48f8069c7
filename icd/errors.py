"""The error that users read: where the problem is, what it is, and the remedy."""

from __future__ import annotations

from pathlib import Path


class InputError(Exception):
    """Invalid input, detected before any work starts.

    Args:
        where: the file (or command-line argument) with the problem.
        key: the key in this file, e.g. ``recipe.batch_size``; empty for the whole file.
        problem: what is wrong.
        expected: what would be right.
    """

    status = 2  # exit status of the command; another attempt would fail, too

    def __init__(self, where: str | Path, key: str, problem: str, expected: str) -> None:
        place = f"{where}: {key}" if key else f"{where}"
        super().__init__(f"{place}: {problem}; expected {expected}")
        self.where, self.key, self.problem, self.expected = str(where), key, problem, expected


class NodeError(InputError):
    """A node of a cluster lacks what the job was promised there; another node may have it."""

    status = 126  # as of a program that cannot be executed
