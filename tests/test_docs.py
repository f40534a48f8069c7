"""The documentation: the navigation has every page, the reference every key and option."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from icd.experiments.ablation import load_ablation
from icd.experiments.options import shipped_methods
from icd.experiments.splits import OwnData
from icd.experiments.track import load_track, shipped_tracks
from icd.experiments.yaml_files import ROOT

DOCS = ROOT / "docs"


class Clip(BaseModel):
    """How gradients are clipped."""

    norm: Annotated[float, Field(gt=0, description="Largest norm.")] = 10.0


class Step(BaseModel):
    """A step of the schedule."""

    at: Annotated[int, Field(ge=1, description="Iteration | of the step.")]
    clip: Clip | None = Field(None, description="No clipping without it.")


class Recipe(BaseModel):
    """A recipe."""

    model_config = ConfigDict(extra="forbid")

    decay: Literal["cosine"] | list[Step] = Field("cosine", description="Learning-rate schedule.")
    names: dict[str, Step] = Field(default_factory=dict, description="Steps by name.")
    seeds: list[int] = Field(min_length=1, description="One run each.")
    verbose: bool = Field(False, description="Print more.")


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a hook of the site by its name."""
    monkeypatch.syspath_prepend(str(DOCS / "hooks"))

    def load(name: str) -> ModuleType:
        return __import__(name)

    return load


def test_the_reference_of_a_schema_shows_keys_values_defaults_and_meanings(hook: Any) -> None:
    text = hook("schema_reference").reference(Recipe.model_json_schema())
    assert text == (
        "| key | value | default | meaning |\n"
        "|:--|:--|:--|:--|\n"
        "| `decay` | `cosine` or list of [Step](#step) | `cosine` | Learning-rate schedule. |\n"
        "| `names` | map of names to [Step](#step) |  | Steps by name. |\n"
        "| `seeds` | list of whole number, 1 or more items | required | One run each. |\n"
        "| `verbose` | `true` or `false` | `false` | Print more. |\n"
        "\n"
        "## Clip\n"
        "\n"
        "How gradients are clipped.\n"
        "\n"
        "| key | value | default | meaning |\n"
        "|:--|:--|:--|:--|\n"
        "| `norm` | number, > 0 | `10.0` | Largest norm. |\n"
        "\n"
        "## Step\n"
        "\n"
        "A step of the schedule.\n"
        "\n"
        "| key | value | default | meaning |\n"
        "|:--|:--|:--|:--|\n"
        "| `at` | whole number, ≥ 1 | required | Iteration \\| of the step. |\n"
        "| `clip` | [Clip](#clip) |  | No clipping without it. |"
    )


def keys(schema: Any) -> set[str]:
    """All property names of a schema, at any depth."""
    if isinstance(schema, list):
        return set().union(*map(keys, schema))
    if not isinstance(schema, dict):
        return set()
    own = schema.get("properties", {})
    deeper = [keys(value) for key, value in schema.items() if key not in ("properties", "if")]
    return set(own) | set().union(*deeper, *map(keys, own.values()))


@pytest.mark.parametrize("name", ["track", "ablation", "cost"])
def test_the_reference_shows_every_key(hook: Any, name: str) -> None:
    module = hook("schema_reference")
    schema = module.read_schema(name)
    page = module.on_page_markdown((DOCS / f"reference/{name}.md").read_text())
    shown = re.findall(r"^\| `(\w+)` \|", page, re.M)
    assert keys(schema)
    assert set(shown) == keys(schema)
    headings = re.findall(r"^#+ (.+)$", page, re.M)
    assert len(set(headings)) == len(headings)


def test_links_of_the_reference_lead_to_its_sections(hook: Any) -> None:
    module = hook("schema_reference")
    for name in ("track", "ablation", "cost"):
        page = module.on_page_markdown((DOCS / f"reference/{name}.md").read_text())
        sections = {heading.lower() for heading in re.findall(r"^#+ (.+)$", page, re.M)}
        assert set(re.findall(r"\]\(#(\w+)\)", page)) <= sections


def test_hours_and_epochs_of_the_scales_are_those_of_their_tracks() -> None:
    """Of the main table: iterations times the assumed seconds of each."""
    text = (DOCS / "scales.md").read_text()
    lines = re.findall(
        r"^\| `([\w-]+)` \| ([\d,]+) \|.*\| ([\d,]+) \((\d+)\) \| (\d+) h", text, re.M
    )
    tracks = {name: load_track(name, {"coco": "coco", "voc": "voc"}) for name in shipped_tracks()}
    own = {name for name, track in tracks.items() if isinstance(track.content.data, OwnData)}
    assert {line[0] for line in lines} == own
    for name, images, iterations, epochs, hours in lines:
        track = tracks[name]
        recipe, seconds = track.content.recipe, track.machine.seconds_per_iteration or 0
        assert int(iterations.replace(",", "")) == recipe.unit
        seen = recipe.unit * recipe.batch_size / int(images.replace(",", ""))
        assert int(epochs) == round(seen)
        total = sum(run.iterations for run in load_ablation("main", track).runs)
        assert int(hours) == pytest.approx(total * seconds / 3600, abs=0.5)


def test_the_reference_shows_every_option_of_every_method(hook: Any) -> None:
    page = hook("method_reference").on_page_markdown((DOCS / "reference/methods.md").read_text())
    _, *sections = re.split(r"^## ", page, flags=re.M)
    assert sections[0].startswith("ICD\n")
    assert len(sections) == len(shipped_methods())
    for section in sections:
        named = re.search(r"Name in YAML: `(\w+)`. Source and equations: `([\w/.]+)`", section)
        assert named
        name, file = named.groups()
        assert (ROOT / file).is_file()
        method = shipped_methods()[name]
        assert re.findall(r"^\| `(\w+)` \|", section, re.M) == [*method.options.model_fields]
        assert ("needs an `optimizer`" in section) == method.learns
        assert "Args:" not in section
        assert ":class:" not in section


def test_the_reference_shows_bounds_and_defaults_of_options(hook: Any) -> None:
    section = hook("method_reference").section("cwd")
    assert "| `weight` | number, ≥ 0 | `5.0` |" in section
    assert "| `temperature` | number, > 0 | `1.0` |" in section


def pages_of(navigation: Any) -> set[str]:
    """The files that a part of the site's navigation names."""
    if isinstance(navigation, str):
        return {navigation}
    parts = navigation.values() if isinstance(navigation, dict) else navigation
    return set().union(*map(pages_of, parts))


def test_every_page_stands_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    lines = text[text.index("\nnav:") :]
    pages = pages_of(yaml.safe_load(lines)["nav"])
    written = {file.relative_to(ROOT).as_posix() for file in DOCS.rglob("*.md")}
    assert written <= pages
    assert all((ROOT / page).is_file() for page in pages)


GROUND = ("errors", "files", "mappings", "markdown", "seeds", "deferred", "progress", "mmcv_ext")


def package(module: str) -> str:
    """The part of icd that a module belongs to, as the picture names it."""
    name = module.split(".")[1]
    return "ground" if name in GROUND else name.strip("_")


def imports() -> set[tuple[str, str]]:
    """Which part of icd imports which."""
    edges = set()
    for file in (ROOT / "icd").rglob("*.py"):
        importing = package(".".join(file.relative_to(ROOT).with_suffix("").parts))
        text = file.read_text()
        found = re.findall(r"^\s*(?:from|import) (icd\.\w+)", text, re.M)
        found += [f"icd.{name}" for name in re.findall(r"^\s*from icd import (\w+)", text, re.M)]
        edges |= {(importing, package(module)) for module in found}
    return {(here, there) for here, there in edges if here != there}


def reachable(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Pairs of which arrows lead from the first to the second."""
    pairs = set(arrows)
    while more := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
        pairs |= more
    return pairs


def test_the_picture_of_the_packages_shows_what_they_import() -> None:
    """What goes against its arrows is a circle, which tests/test_imports.py looks for."""
    page = (DOCS / "architecture.md").read_text()
    picture = page[page.index("flowchart BT") : page.index("An arrow points")]
    arrows = set(re.findall(r"^ +(\w+)(?:\[.*\])? --> (\w+)$", picture, re.M))
    assert arrows
    assert arrows <= imports()
    follow = reachable(arrows)
    backwards = {(there, here) for here, there in follow}
    assert imports() <= follow | backwards


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs the extra docs")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True)
    index = (tmp_path / "index.html").read_text()
    assert not re.findall(r'<(?:script|link)[^>]+(?:src|href)="https?://', index), "nothing remote"
    assert (tmp_path / "results/mini/main/figure.png").is_file()
    for page in ("docs/reference/track", "docs/reference/methods", "CONTRIBUTING"):
        assert (tmp_path / page / "index.html").is_file()


def test_hooks_of_pre_commit_are_the_linters_of_make() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.M)
    assert recipe
    linters = [line.replace("$(BIN)/", "") for line in recipe[1].split("\n\t")]
    assert [hook["entry"] for hook in hooks] == [line.strip() for line in linters]


def test_help_lists_every_target_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.M)
    assert phony
    assert re.findall(r"^([a-z]+):.*  ## ", makefile, re.M) == phony[1].split()


def test_the_workflow_of_ci_calls_targets_of_make() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    makefile = (ROOT / "Makefile").read_text()
    commands = [
        step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
    ]
    called = {name for command in commands for name in re.findall(r"\bmake (\w+)", command)}
    assert {"test", "lint", "docs", "smoke"} <= called
    assert called <= set(re.findall(r"^([a-z]+):", makefile, re.M))
