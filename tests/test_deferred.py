"""Stand-ins for modules that nothing needs yet behave like the modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest

from icd.deferred import Deferred, StandIn, deferring

# A package that notes when it is imported, and one that imports all of it at once.
FILES = {
    "heavy_package/__init__.py": "import notes; notes.append('package'); __version__ = '2.1'",
    "heavy_package/shapes.py": """
import notes
notes.append('shapes')
class Shape:
    sides = 0
    def __init__(self, sides): self.sides = sides
def count(shape, more=0): return shape.sides + more
LIMITS = {'a': 1}
""",
    "eager_package/__init__.py": """
import heavy_package.shapes as shapes
import heavy_package
from heavy_package.shapes import Shape, count
try:
    from heavy_package import absent_module
    import missing_package
except ImportError:
    missing_package = None
def area(shape: Shape | None, other: 'int' = 0) -> None: ...
""",
}


@pytest.fixture
def eager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The package that imports at once, imported with the heavy one deferred."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    notes: Any = ModuleType("notes")
    notes.list = []
    notes.append = notes.list.append
    monkeypatch.setitem(sys.modules, "notes", notes)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = [*sys.meta_path]
    with deferring("heavy_package", "missing_package"):
        module = import_module("eager_package")
    assert sys.meta_path == before
    assert not any(name.startswith("heavy_package") for name in sys.modules)
    yield module
    for name in [name for name in sys.modules if name.startswith(("heavy_pack", "eager_pack"))]:
        del sys.modules[name]


def imports() -> list[str]:
    """What has been imported of the heavy package, in order."""
    done: list[str] = sys.modules["notes"].list
    return done


def test_nothing_is_imported_before_it_is_used(eager: Any) -> None:
    assert isinstance(eager.heavy_package, StandIn)
    assert isinstance(eager.Shape, Deferred)
    assert not imports()
    assert eager.count(eager.Shape(4), more=1) == 5
    assert imports() == ["package", "shapes"]
    assert eager.shapes.LIMITS["a"] == 1, "a submodule that was bound as a name"
    assert eager.heavy_package.shapes.count(eager.Shape(3)) == 3
    assert imports() == ["package", "shapes"], "each once"


def test_a_later_import_is_the_usual_one(eager: Any) -> None:
    shapes = import_module("heavy_package.shapes")
    assert type(shapes) is ModuleType
    assert eager.Shape(3).__class__ is shapes.Shape
    assert imports() == ["package", "shapes"]


def test_what_is_not_installed_is_missing(eager: Any) -> None:
    assert eager.missing_package is None


def test_a_class_can_be_inherited_from_and_tested_against(eager: Any) -> None:
    class Square(eager.Shape):
        """Of four sides."""

    square = Square(4)
    assert Square.__bases__[0] is import_module("heavy_package.shapes").Shape
    assert isinstance(square, eager.Shape)
    assert issubclass(Square, eager.Shape)
    assert not isinstance(4, eager.Shape)
    assert eager.Shape.__name__ == "Shape"


def test_an_annotation_imports_nothing(eager: Any) -> None:
    assert get_type_hints(eager.area)["shape"].__args__[1] is type(None)
    assert not imports()


def test_a_version_is_the_real_one(eager: Any) -> None:
    assert eager.heavy_package.__version__ == "2.1"
    assert imports() == ["package"]


def test_what_is_used_in_the_block_is_imported_there(eager: Any) -> None:
    del sys.modules["eager_package"]
    with deferring("heavy_package"):
        again: Any = import_module("eager_package")
        assert again.Shape(2).sides == 2
        assert type(import_module("heavy_package")) is ModuleType
    assert imports() == ["package", "shapes"]


def test_loaded_modules_are_left_alone() -> None:
    with deferring("json"):
        assert import_module("json") is sys.modules["json"]
    assert not isinstance(sys.modules["json"], StandIn)
