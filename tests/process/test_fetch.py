"""A download is complete and correct, or it is an error and leaves no file."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from icd.__main__ import main
from icd.errors import InputError
from icd.experiments import zoo
from icd.process import fetch as fetching
from icd.process.fetch import fetch, verify

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"\n<!DOCTYPE html><html><body>Moved</body></html>"


class Host(BaseHTTPRequestHandler):
    """Serves what the path asks for."""

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
            return
        body = {"/whole": CONTENT, "/page": PAGE, "/cut": CONTENT, "/other": b"other"}[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000] if self.path == "/cut" else body)

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server on this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "some.pth"


@pytest.mark.parametrize("path", ["whole", "moved"])
@pytest.mark.parametrize("digits", [SHA256[:8], SHA256])
def test_a_whole_file_appears(host: str, output: Path, path: str, digits: str) -> None:
    fetch(f"{host}/{path}", digits, output)
    assert output.read_bytes() == CONTENT
    assert [file.name for file in output.parent.iterdir()] == ["some.pth"]
    verify(output, digits)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (
            "page",
            f"returned a web page ({len(PAGE)} bytes, sha256 {hashlib.sha256(PAGE).hexdigest()})",
        ),
        ("cut", "returned other content (1000 bytes, sha256 "),
        ("other", "returned other content (5 bytes, sha256 "),
        ("missing", "(HTTP Error 404: Not Found)"),
    ],
)
@pytest.mark.parametrize("old", [None, b"old"])
def test_anything_else_is_named_and_leaves_nothing(
    host: str, output: Path, path: str, problem: str, old: bytes | None
) -> None:
    if old:
        output.parent.mkdir()
        output.write_bytes(old)
    with pytest.raises(InputError) as raised:
        fetch(f"{host}/{path}", SHA256[:8], output)
    error = raised.value
    assert error.where == str(output)
    assert f"{host}/{path}" in error.problem
    assert problem in error.problem
    assert error.expected == f"a file whose sha256 begins with {SHA256[:8]}"
    assert [file.read_bytes() for file in output.parent.iterdir()] == ([old] if old else [])


def test_a_long_download_says_how_far_it_is(
    host: str, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("icd.progress.SECONDS_BETWEEN_LINES", 0)
    monkeypatch.setattr(fetching, "MEGABYTE", 100_000)
    fetch(f"{host}/whole", SHA256, output)
    assert output.read_bytes() == CONTENT
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"{i} of 3 MB of some.pth downloaded" for i in (1, 2, 3)]


def test_the_whole_hash_counts_if_it_is_known(host: str, output: Path) -> None:
    with pytest.raises(InputError, match="returned other content"):
        fetch(f"{host}/whole", SHA256[:-1] + ("1" if SHA256[-1] == "0" else "0"), output)
    assert not output.exists()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("whole", ""),
        ("other", ""),
        ("page", "returned a web page"),
        ("cut", f"returned 1000 of {len(CONTENT)} bytes"),
    ],
)
def test_without_a_known_hash_a_file_must_be_complete(
    host: str, output: Path, path: str, problem: str
) -> None:
    if not problem:
        fetch(f"{host}/{path}", "", output)
        verify(output, "")
        return
    with pytest.raises(InputError, match=rf"{re.escape(problem)}.*; expected a file of weights"):
        fetch(f"{host}/{path}", "", output)
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("kind", ["refused", "silent", "no file", "no address"])
def test_a_host_that_does_not_answer(
    output: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if kind == "refused":
            server.close()
        urls = {"no file": (output.parent / "none.pth").as_uri(), "no address": "weights.pth"}
        url = urls.get(kind, f"http://127.0.0.1:{port}/some.pth")
        with pytest.raises(InputError, match=re.escape(f"cannot be downloaded from {url} (")):
            fetch(url, SHA256, output)
    assert list(output.parent.iterdir()) == []


def test_a_file_is_verified_however_it_came(output: Path) -> None:
    with pytest.raises(InputError, match=r"some\.pth: does not exist; .* begins with abc"):
        verify(output, "abc")
    output.parent.mkdir()
    output.write_bytes(PAGE)
    with pytest.raises(InputError, match=r"some\.pth: contains a web page"):
        verify(output, SHA256[:8])


def test_the_command_asks_the_metafile_for_the_address(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    source = tmp_path / "their.pth"
    source.write_bytes(CONTENT)
    monkeypatch.setattr(zoo, "model", lambda name: zoo.ZooModel(name, "", source.as_uri(), {}))
    command = ["fetch_model", "some", "--output", str(output), "--sha256"]
    assert main([*command, 8 * "0"]) == 2
    assert not output.exists()
    error = capsys.readouterr().err
    assert error.startswith(f"error: {output}: {source.as_uri()} returned other content")
    assert error.endswith("expected a file whose sha256 begins with 00000000\n")
    assert main([*command, SHA256[:8]]) == 0
    assert output.read_bytes() == CONTENT
