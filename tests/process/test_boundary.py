"""Every error ends in one line that says what the user can do, or that it is a bug."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS

from icd.errors import InputError
from icd.process.boundary import explain, report, require_run


def raised(call: object, *arguments: object) -> Exception:
    """The exception of a call, with its traceback."""
    try:
        call(*arguments)  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("raises nothing")


def test_what_users_cause_is_explained_whichever_module_raises_it(tmp_path: Path) -> None:
    known = InputError("a", "b", "c", "d")
    assert explain(known) is known
    assert "absent: cannot be used (No such file" in str(explain(raised(open, tmp_path / "absent")))
    assert "cannot be used (Is a directory" in str(explain(raised(open, tmp_path)))
    full = explain(OSError(errno.ENOSPC, "No space left on device", "file"))
    assert str(full).startswith("file: cannot be written (No space left on device); expected room")
    assert "JSONDecodeError" in str(explain(raised(json.loads, "{")))
    memory = str(explain(torch.OutOfMemoryError("Tried to allocate 2 GiB")))
    assert "Tried to allocate 2 GiB" in memory
    assert "recipe.batch_size" in memory


@pytest.mark.parametrize(
    "config", [{"type": "Nope"}, {"type": "mmdet.FPN", "in_channel": [1], "out_channels": 1}]
)
def test_a_config_that_mmdet_cannot_build_is_not_a_bug(config: dict) -> None:
    error = explain(raised(MODELS.build, config))
    assert error is not None
    assert config["type"].removeprefix("mmdet.") in str(error)
    assert "\n" not in str(error)


def test_other_errors_are_bugs(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(KeyError("x")) is None
    assert explain(OSError("a reason without a file")) is None
    assert report(ValueError("two\nlines")) == 1
    assert capsys.readouterr().err.startswith("error: ValueError: two lines (a bug: ")


def test_a_folder_without_a_description_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json: does not exist"):
        require_run(tmp_path)
    (tmp_path / "run.json").touch()
    require_run(tmp_path)
