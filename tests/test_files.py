"""Files are either complete or absent."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from icd.experiments.yaml_files import ROOT
from icd.files import atomic, compact_json, write_json, write_text


@pytest.mark.parametrize("old", [None, "old"], ids=["new file", "existing file"])
def test_a_failure_leaves_what_was_there(tmp_path, old):
    path = tmp_path / "file.txt"
    if old is not None:
        path.write_text(old)

    def fail_half_way() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert [file.name for file in tmp_path.iterdir()] == (["file.txt"] if old else [])
    assert not old or path.read_text() == old


def test_the_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "folder" / "file.json"
    with atomic(path) as temporary:
        temporary.write_text("[1]")
        assert not path.exists()
        assert (temporary.parent, temporary.suffix) == (path.parent, ".json")
    assert path.read_text() == "[1]"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_the_umask_decides_who_may_read_and_write(tmp_path, umask):
    """mkstemp's files are private to their owner."""
    write = "from pathlib import Path; from icd.files import write_text; write_text(Path('a'), '')"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {write}"]
    subprocess.run(command, cwd=tmp_path, umask=umask, check=True)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


def test_text_and_json_replace_what_was_there(tmp_path):
    path = tmp_path / "file.json"
    write_text(path, "old ± text")
    assert path.read_text() == "old ± text"
    content = {"b": [1, 2.5, None, True], "a": {"ä": 0.1 + 0.2}}
    write_json(path, content)
    assert json.loads(path.read_text()) == content
    assert path.read_text().endswith("}\n")


def test_compact_json_breaks_only_what_is_too_long_for_a_line():
    content = {"id": "a", "sizes": [1, 2, 3], "long": {"first": "x" * 12, "second": [None, {}]}}
    expected = """{
 "id": "a",
 "sizes": [1, 2, 3],
 "long": {
  "first": "xxxxxxxxxxxx",
  "second": [null, {}]
 }
}"""
    assert compact_json(content, width=30) == expected
    assert compact_json(content, width=200) == json.dumps(content)


def test_compact_json_breaks_only_the_outer_levels():
    content = [[[1, 2], [3, 4]], {"a": {"b": 5}}]
    assert compact_json(content, 0, levels=1) == '[\n [[1, 2], [3, 4]],\n {"a": {"b": 5}}\n]'


@pytest.mark.parametrize("width", range(1, 60, 7))
def test_compact_json_holds_the_same_and_keeps_the_width(width):
    content = [{"ä": [[], {}, [1.5, {"b": True}]]}, None, "text, with ] and }"]
    text = compact_json(content, width, levels=9)
    assert json.loads(text) == content
    longest = len(json.dumps("text, with ] and }")) + 1 + len(",")
    assert max(map(len, text.splitlines())) <= max(width, longest)


def test_compact_json_is_written_with_a_line_break_at_its_end(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"a": [1, 2]}, compact=True)
    assert path.read_text() == '{"a": [1, 2]}\n'


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_nan(tmp_path, value, compact):
    path = tmp_path / "file.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": [value]}, compact)
    assert path.read_text() == "1\n"
    assert list(tmp_path.iterdir()) == [path]
