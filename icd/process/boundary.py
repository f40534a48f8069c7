"""Where every error of a command ends: one line for the user, the traceback where it is wanted.

Modules raise InputError where they know file, key and remedy. Here everything else that a user can
cause gets a line too, whichever library raises it. What is left is called a bug.
"""

from __future__ import annotations

import os
import stat
import sys
import traceback
from contextlib import suppress
from json import JSONDecodeError
from pathlib import Path

from icd.errors import InputError
from icd.files import UNWRITABLE

DEBUG = "ICD_DEBUG"  # environment variable: show the traceback on the terminal
# mmengine builds models, optimisers and pipelines in this file, from configs that users write.
BUILDER = "mmengine/registry/build_functions.py"


def report(error: Exception) -> int:
    """Print the line of an error and keep its traceback.

    Returns:
        The exit status: of an InputError its own, 1 for a bug.
    """
    known = explain(error)
    place = keep_traceback(error, is_bug=known is None)
    line = str(known) if known else f"{in_one_line(error)} (a bug: please report it; {place})"
    with suppress(OSError):  # a closed stderr
        print(f"error: {' '.join(line.splitlines())}", file=sys.stderr, flush=True)
    return known.status if known else 1


def explain(error: Exception) -> InputError | None:
    """What the user can do about an error; None for a bug."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, OSError):
        return _of_file(error)
    if isinstance(error, JSONDecodeError | UnicodeDecodeError):
        return InputError(
            "a file", "", in_one_line(error), f"valid JSON or text; {DEBUG}=1 says where"
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        expected = "a smaller recipe.batch_size or images.scale, or more machine.gpus or memory"
        return InputError("this machine", "memory", in_one_line(error), expected)
    if any(frame.filename.endswith(BUILDER) for frame in traceback.extract_tb(error.__traceback__)):
        expected = (
            "models, optimizers and pipelines that mmdet can build: see the track and its configs"
        )
        return InputError("the run's config", "", in_one_line(error), expected)
    return None


def _of_file(error: OSError) -> InputError | None:
    """The line of an error that the operating system reports about a file."""
    if error.errno in UNWRITABLE:
        problem = f"cannot be written ({error.strerror})"
        expected = "room and permission to write there"
        return InputError(error.filename or "results", "", problem, expected)
    if error.filename is None:
        return None
    problem = f"cannot be used ({error.strerror})"
    return InputError(error.filename, "", problem, "another path, or what writes this file first")


def in_one_line(error: Exception) -> str:
    """Type and message of an error."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def keep_traceback(error: Exception, is_bug: bool) -> str:
    """Write the traceback where it hides nothing; returns where it is, in words.

    The standard output of a training or an evaluation is its log. That of other commands is a pipe
    to a log and the terminal, or the terminal itself.
    """
    text = "".join(traceback.format_exception(error))
    if os.environ.get(DEBUG):
        print(text, file=sys.stderr)
        return "the traceback is above"
    if _is_file(sys.stdout) or (is_bug and not sys.stdout.isatty()):
        with suppress(OSError):
            print(text, flush=True)
            return "the traceback is in the log"
    return f"{DEBUG}=1 shows the traceback"


def _is_file(stream: object) -> bool:
    """True for a stream that is redirected to a file."""
    with suppress(OSError, AttributeError, ValueError):
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)  # type: ignore[attr-defined]
    return False


def require_run(folder: Path) -> None:
    """Raise InputError unless this is the folder of a run, so that no new one is made."""
    if not (folder / "run.json").is_file():
        problem = "does not exist"
        expected = "the description of a run: a folder in results/<track>/runs"
        raise InputError(folder / "run.json", "", problem, expected)
