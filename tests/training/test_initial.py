"""The weights that networks start from are there before a training, or one line says which."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from icd.__main__ import main
from icd.errors import InputError
from icd.experiments.ablation import load_ablation
from icd.experiments.track import load_track
from icd.files import sha256
from icd.training import initial
from icd.training.initial import downloads, find, initial_names
from tests.experiments.track_files import MINI, changed, write
from tests.lab import Lab

COCO = load_track("coco", {"coco": "coco"})
NAMES = {entry.backbone["init_cfg"]["checkpoint"] for entry in COCO.content.backbones.values()}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder of downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "torch/hub/checkpoints"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a server on this machine, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


def weights(file: Path) -> Path:
    """A file of weights of the lab's student's backbone, as its first layer alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"conv1.weight": torch.full((4, 3, 7, 7), 0.5)}, file)
    return file


@pytest.mark.parametrize("name", sorted(NAMES))
def test_mmengine_finds_the_file_where_it_is_put(name: str, cache: Path) -> None:
    download = find(name)
    assert download
    assert download.file.parent == cache
    weights(download.file)
    content = CheckpointLoader.load_checkpoint(name, map_location="cpu")
    assert content["conv1.weight"].eq(0.5).all()


def test_tables_name_all_weights_that_they_start_from() -> None:
    tables = [load_ablation(name, COCO) for name in ("backbones", "schedules")]
    names = {download.name for download in downloads(run for table in tables for run in table.runs)}
    used = {run.description["backbone"]["name"] for table in tables for run in table.runs}
    entries = COCO.content.backbones
    assert names == {entries[name].backbone["init_cfg"]["checkpoint"] for name in used}
    assert len(names) == 5


def test_a_backbone_of_the_config_itself_and_a_zoo_teacher_count(tmp_path: Path) -> None:
    zoo = "retinanet_r101_fpn_ms-640-800-3x_coco"
    content: dict[str, Any] = {"extends": "coco", "name": "own", "title": "Own"}
    content |= {"data": COCO.content.data.stated()}
    content |= {"backbones": {"theirs": {"backbone": {}}}}
    roles = {"teacher": {"zoo": zoo}, "student": {"backbone": "theirs", "schedule": "1x"}}
    file = write(tmp_path / "own.yaml", content | {"roles": roles})
    found = downloads(load_ablation("main", load_track(str(file), {"coco": "coco"})).runs)
    assert {download.name for download in found} == {zoo, "torchvision://resnet50"}
    (teacher,) = (download for download in found if download.name == zoo)
    assert teacher.file == Path("weights") / teacher.url.rpartition("/")[2]
    assert teacher.file.stem.endswith(teacher.digits)


def test_only_pytorchs_names_are_hashes() -> None:
    """Some of open-mmlab's are not."""
    digits = {name: (find(name) or pytest.fail(name)).digits for name in NAMES}
    assert digits["torchvision://resnet34"] == "b627a593"
    assert all(bool(d) == name.startswith("torchvision://") for name, d in digits.items())


def test_names_in_a_config() -> None:
    def init(name: str) -> dict[str, str]:
        return {"type": "Pretrained", "checkpoint": name}

    config = {"backbone": {"init_cfg": init("a")}, "heads": [{"init_cfg": [init("b"), init("a")]}]}
    config["neck"] = {"init_cfg": {"type": "Xavier"}, "type": "FPN"}
    assert list(initial_names(config)) == ["a", "b", "a"]
    assert list(initial_names(Config({"model": config}).model)) == ["a", "b", "a"]
    assert find("weights/a.pth") is None
    assert find("s3://bucket/a.pth") is None
    with pytest.raises(InputError, match="torchvision://resnet51: is unknown to mmengine"):
        find("torchvision://resnet51")


def starting_from(lab: Lab, name: str) -> Lab:
    """The lab with a student that starts from these weights."""
    init = {"type": "Pretrained", "checkpoint": name}
    return lab.changed({"backbones": {"resnet18-w8": {"backbone": {"init_cfg": init}}}})


@pytest.mark.slow
def test_a_run_downloads_what_it_starts_from(lab: Lab, host: tuple[str, Path], cache: Path) -> None:
    address, folder = host
    file = weights(folder / "first.pth")
    name = f"{address}/first.pth"
    found = starting_from(lab, name).train(starting_from(lab, name).run(method="icd"))
    assert sha256(cache / "first.pth") == sha256(file)
    manifest = json.loads((found / "manifest.json").read_text())
    assert manifest["initial_weights"] == {name: sha256(file)}


def test_a_run_without_them_ends_before_it_starts(lab: Lab, host: tuple[str, Path]) -> None:
    name = f"{host[0]}/none.pth"
    lab = starting_from(lab, name)
    with pytest.raises(InputError) as raised:
        lab.train(lab.run())
    message = str(raised.value)
    for words in (
        "torch/hub/checkpoints/none.pth: ",
        f"{name}: cannot be downloaded from {name} (HTTP Error 404",
        "expected a copy of the file there, e.g. by `python -m icd fetch --track mini` where",
    ):
        assert words in message
    assert "\n" not in message
    assert not (lab.folder(lab.run()) / "work").exists()


def test_a_path_that_is_not_there_is_named_before_it_starts(lab: Lab) -> None:
    lab = starting_from(lab, "~/none/of.pth")
    with pytest.raises(InputError, match=r"none/of\.pth: does not exist; expected weights that"):
        lab.train(lab.run())
    assert not (lab.folder(lab.run()) / "work").exists()


@pytest.mark.parametrize("there", [True, False])
def test_another_content_is_refused(
    host: tuple[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    address, folder = host
    monkeypatch.setattr(initial, "HASHED", address)
    name = f"first-{64 * '0'}.pth"
    weights((cache if there else folder) / name)
    download = find(f"{address}/{name}")
    assert download
    says = "contains other content" if there else "returned other content"
    with pytest.raises(InputError, match=says):
        download.require("x")
    assert download.file.exists() == there


def test_one_command_fetches_all_that_can_be_had(
    host: tuple[str, Path],
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    address, folder = host
    content = changed(MINI, "roles.student.pretrained", None)
    for i, name in enumerate(("resnet18-w16", "resnet18-w8")):
        init = {"type": "Pretrained", "checkpoint": f"{address}/{i}.pth"}
        content = changed(content, f"backbones.{name}.backbone.init_cfg", init)
    file = write(tmp_path / "track.yaml", content | {"name": "own"})
    command = ["fetch", "main", "--track", str(file)]
    weights(folder / "1.pth")
    assert main(command) == 2
    assert [path.name for path in cache.iterdir()] == ["1.pth"]
    error = capsys.readouterr().err
    assert f"1 of 2 files are missing: {address}/0.pth" in error
    digits = hashlib.sha256(weights(folder / "0.pth").read_bytes()).hexdigest()
    assert main(command) == 0
    assert f"{cache}/0.pth: complete, sha256 {digits}" in capsys.readouterr().out
    (folder / "0.pth").unlink()
    (folder / "1.pth").unlink()
    assert main(command) == 0, "nothing is downloaded twice"
