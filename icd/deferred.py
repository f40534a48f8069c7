"""Modules that are imported when they are first used, although other packages import them at once.

mmdet imports imgaug for one augmentation of lanes, imagecorruptions for another one, and matplotlib
for a figure of trackers. Together they take as long to import as mmdet itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Union


@contextmanager
def deferring(*names: str) -> Iterator[None]:
    """Let nothing in the block import these modules before it uses them.

    What the block imports gets stand-ins, which import the real module as soon as it is used. The
    stand-ins leave ``sys.modules`` at the end of the block, so later imports are the usual ones.
    Modules that are loaded already, or not installed, are left alone.

    Args:
        names: dotted names of modules; their submodules are deferred with them.
    """
    finder = _Finder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in names:
            finder.release(name)


class Deferred:
    """An attribute of a module that has not been imported; using it imports the module.

    Modules, functions, classes and containers can be used through it: called, looked into,
    inherited from, combined to a type, and tested against. It is not equal to them.
    """

    def __init__(self, module: StandIn, name: str) -> None:
        self._module, self._name = module, name

    def _itself(self) -> Any:
        module = self._module.real()
        if hasattr(module, self._name):
            return getattr(module, self._name)
        return import_module(f"{module.__name__}.{self._name}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ("__name__", "__qualname__"):
            raise AttributeError(name)  # what typing and inspect ask every object for
        return getattr(self._itself(), name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._itself()(*args, **options)

    def __getitem__(self, key: Any) -> Any:
        return self._itself()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._itself())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._itself(),)

    def __or__(self, other: Any) -> Any:
        if other is None or isinstance(other, type):
            return Union[self, other]  # noqa: UP007  (an annotation, which may never be read)
        return self._itself() | other

    def __ror__(self, other: Any) -> Any:
        return self | other if other is None or isinstance(other, type) else other | self._itself()

    def __instancecheck__(self, one: Any) -> bool:
        return isinstance(one, self._itself())

    def __subclasscheck__(self, one: Any) -> bool:
        return issubclass(one, self._itself())


class StandIn(ModuleType):
    """Takes the place of a module until something of it is used."""

    def real(self) -> ModuleType:
        """The module itself, imported now unless it is loaded."""
        loader = self.__loader__
        assert isinstance(loader, _Finder)
        loader.release(self.__name__)
        return import_module(self.__name__)

    def __getattr__(self, name: str) -> Any:
        if name in ("__all__", "__version__"):  # code reads their values
            return getattr(self.real(), name)
        if name.startswith("__"):  # what the import system and inspect ask every module for
            raise AttributeError(name)
        return Deferred(self, name)


class _Finder(MetaPathFinder, Loader):
    """Finds stand-ins for modules that are installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = set(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a stand-in, for one of the names and what lies below it."""
        if not any(_lies_below(fullname, name) for name in self.names):
            return None
        real = PathFinder.find_spec(fullname, path)
        if real is None:
            return None  # not installed: who imports it gets the usual error
        spec = ModuleSpec(fullname, self, origin=real.origin)
        spec.submodule_search_locations = real.submodule_search_locations
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to execute."""

    def release(self, module: str) -> None:
        """Let a module be imported as usual, together with all that is deferred with it."""
        for name in [name for name in self.names if _lies_below(module, name)]:
            self.names.remove(name)
            for loaded in [loaded for loaded in sys.modules if _lies_below(loaded, name)]:
                if isinstance(stand_in := sys.modules[loaded], StandIn):
                    del sys.modules[loaded]
                    _forget(stand_in)


def _forget(stand_in: StandIn) -> None:
    """Remove a stand-in from the package that holds it as an attribute."""
    package, _, name = stand_in.__name__.rpartition(".")
    holder = sys.modules.get(package)
    if holder is not None and vars(holder).get(name) is stand_in:
        delattr(holder, name)


def _lies_below(module: str, name: str) -> bool:
    """True for the module ``name`` and those in it."""
    return module == name or module.startswith(f"{name}.")
