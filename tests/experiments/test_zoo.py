"""The metafiles of the installed mmdet, and their use in tracks and tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from icd.errors import InputError
from icd.experiments import zoo
from icd.experiments.ablation import read_ablation
from icd.experiments.run import ImportedRun
from icd.experiments.yaml_files import ROOT
from tests.experiments.track_files import MINI, changed, described, track, write

HOST = "https://zoo.example/v1"
SHA256 = "abcdef12" + 56 * "0"


def entry(name: str, **change: object) -> dict:
    """A model as mmdet's metafiles describe it."""
    results = [
        {"Task": "Object Detection", "Dataset": "COCO", "Metrics": {"box AP": 38.5}},
        {"Task": "Instance Segmentation", "Dataset": "COCO", "Metrics": {"mask AP": 35.1}},
        {"Task": "Object Detection", "Dataset": "LVIS v1", "Metrics": {"box AP": 20.0}},
    ]
    return {
        "Name": name,
        "In Collection": "Some",
        "Config": "configs/some/some.py",
        "Results": results,
        "Weights": f"{HOST}/{name}/{name}_20210720-abcdef12.pth",
    } | change


MODELS = [
    entry("some"),
    entry("some_boxes", Results=[{"Dataset": "COCO", "Metrics": {"box AP": 41}}]),
    entry("untested", Results=None),
    entry("unhashed", Weights=f"{HOST}/unhashed.pth"),
    entry("untrained", Weights=None),
    entry("in_parts", Weights=[f"{HOST}/a-abcdef12.pth", f"{HOST}/b-abcdef12.pth"]),
    entry("unknown_config", Config="configs/some/other.py"),
]


@pytest.fixture
def small_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small zoo in place of mmdet's, one of whose metafiles is a bare list, as one of mmdet's."""
    folder = tmp_path / "configs"
    collections = [{"Name": "Some"}]
    write(folder / "some/metafile.yml", {"Collections": collections, "Models": MODELS})
    write(folder / "list/metafile.yml", [entry("listed")])
    write(folder / "none/metafile.yml", {"Collections": collections})
    (folder / "some/some.py").touch()
    monkeypatch.setattr(zoo, "configs", lambda: folder)


def teacher(**role: str) -> dict:
    """The mini track with this teacher."""
    return changed(MINI, "roles.teacher", role)


@pytest.mark.parametrize(
    ("name", "ap", "mask_ap", "digits"),
    [  # as in mmdet's documentation
        ("retinanet_r101_fpn_ms-640-800-3x_coco", 41.0, None, "7ee888e0"),
        ("mask-rcnn_r50_fpn_2x_coco", 39.2, 35.4, "3e542a40"),
        ("mask-rcnn_r50_fpn_gn_ws-all_2x_coco", 40.6, 36.6, "16acb762"),  # %2B in its path
    ],
)
def test_models_of_the_installed_mmdet(
    name: str, ap: float, mask_ap: float | None, digits: str
) -> None:
    found = zoo.model(name)
    assert (found.name, found.sha256_prefix) == (name, digits)
    assert (found.published["AP"], found.published.get("mask AP")) == (ap, mask_ap)
    assert found.url.startswith("https://")
    assert found.url.endswith(found.checkpoint.name)
    assert (zoo.configs() / found.config).is_file()


def test_reading_the_zoo_imports_neither_mmdet_nor_torch() -> None:
    code = (
        "import sys; from icd.experiments.zoo import model; model('retinanet_r50_fpn_1x_coco');"
        "print({'mmdet', 'mmengine', 'torch'} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("set()\n", "")


@pytest.mark.usefixtures("small_zoo")
def test_a_model_is_what_its_metafile_says() -> None:
    assert zoo.model("some") == zoo.ZooModel(
        name="some",
        config="some/some.py",
        url=f"{HOST}/some/some_20210720-abcdef12.pth",
        published={"AP": 38.5, "mask AP": 35.1},
    )
    assert zoo.model("some").checkpoint == Path("weights/some_20210720-abcdef12.pth")
    assert zoo.model("listed").name == "listed"
    assert zoo.model("untested").published == {}
    assert zoo.model("unhashed").sha256_prefix == ""


@pytest.mark.usefixtures("small_zoo")
def test_a_teacher_is_named_by_its_content_and_not_by_its_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = described(track(teacher(zoo="some")), {"role": "teacher"}, seed=0)
    assert isinstance(run, ImportedRun)
    assert run.zoo == "some"
    assert run.id.startswith("zoo-some-")
    stated = {key: run.description[key] for key in ("zoo", "config", "checkpoint", "sha256")}
    assert stated == {
        "zoo": "some",
        "config": "some/some.py",
        "checkpoint": "weights/some_20210720-abcdef12.pth",
        "sha256": "abcdef12",
    }
    student = described(track(teacher(zoo="some")), {"method": "icd"}, seed=0)
    assert student.teacher == run
    found = zoo.model("some")
    moved = zoo.ZooModel(**vars(found) | {"url": found.url.replace("zoo.", "other.")})
    monkeypatch.setattr(zoo, "model", lambda name: moved)
    assert described(track(teacher(zoo="some")), {"role": "teacher"}, seed=0) == run


@pytest.mark.parametrize("name", ["some", "unhashed"])
@pytest.mark.usefixtures("small_zoo")
def test_a_stated_hash_is_the_one_to_match(name: str) -> None:
    run = described(track(teacher(zoo=name, sha256=SHA256)), {"role": "teacher"}, seed=0)
    assert run.sha256 == SHA256


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ({"zoo": "sone"}, ["zoo: ", "sone is unknown to the installed mmdet", "'some'"]),
        ({"zoo": "Some"}, ["Some is unknown"]),  # a collection
        ({"zoo": "zzz"}, ["zzz is unknown", "a Name in the metafiles of"]),
        ({"zoo": "untrained"}, ["some/metafile.yml: untrained names no file of weights"]),
        ({"zoo": "in_parts"}, ["in_parts names no file of weights"]),
        ({"zoo": "unknown_config"}, ["names the config some/other.py, which does not exist"]),
        ({"zoo": "unhashed"}, ["sha256: ", "unhashed.pth", "beside the model's name"]),
        ({"zoo": "some", "sha256": 64 * "0"}, ["sha256: ", "expected abcdef12..."]),
    ],
)
@pytest.mark.usefixtures("small_zoo")
def test_a_wrong_teacher_is_named_when_the_track_is_read(role: dict, words: list[str]) -> None:
    with pytest.raises(InputError, match=r"^track\.yaml: roles\.teacher\.") as raised:
        described(track(teacher(**role)), {"method": "icd"}, seed=0)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("name", "iou_type", "stated", "expected"),
    [
        ("some", "bbox", None, {"AP": 38.5, "source": "mmdet's model zoo: some"}),
        ("some", "segm", None, {"AP": 35.1, "source": "mmdet's model zoo: some"}),
        ("some_boxes", "segm", None, None),
        ("some", "bbox", {"AP": 1.0, "source": "paper"}, {"AP": 1.0, "source": "paper"}),
    ],
)
@pytest.mark.usefixtures("small_zoo")
def test_the_published_value_of_a_teachers_row_is_mmdets(
    tmp_path: Path, name: str, iou_type: str, stated: dict | None, expected: dict | None
) -> None:
    rows = [
        {"id": "teacher", "label": "Teacher", "change": {"role": "teacher"}},
        {"id": "icd", "label": "ICD", "change": {"method": "icd"}},
    ]
    if stated:
        rows[0]["published"] = stated
    content = {"title": "T", "question": "?", "baseline": "icd", "iou_type": iou_type, "rows": rows}
    ablation = read_ablation(write(tmp_path / "table.yaml", content), track(teacher(zoo=name)))
    published = [row.published and row.published.stated() for row in ablation.rows]
    assert published == [expected, None]
