"""A hash of the names and sizes of images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from icd.data.listing import images_sha256
from icd.errors import InputError


def test_names_and_sizes_count_and_times_do_not(tmp_path: Path) -> None:
    file = tmp_path / "train.json"

    def listed(*names: str) -> str:
        file.write_text(json.dumps({"images": [{"file_name": name} for name in names]}))
        return images_sha256(file, tmp_path)

    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"1234")
    before = listed("a.png", "b.png")
    assert listed("b.png", "a.png") == before
    assert listed("a.png", "c.png") != before
    os.utime(tmp_path / "a.png", (1, 1))
    (tmp_path / "not listed.png").touch()
    assert listed("a.png", "b.png") == before
    (tmp_path / "a.png").write_bytes(b"12345")
    assert listed("a.png", "b.png") != before
    with pytest.raises(InputError, match=r"no\.png: cannot be read .*expected an image of"):
        listed("no.png")
