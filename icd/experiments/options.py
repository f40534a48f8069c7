"""The methods of the package and their options, parsed from the source without importing it.

The method ``cwd`` is the class of that name (in any case) in ``icd/methods/cwd.py`` or
``icd/methods/cwd/method.py``. Its options are the constructor's arguments, except those that the
trainer passes. Type, bounds and default come from the signature, the meaning from the docstring.
Parsing avoids the import of torch, so a plan appears at once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import annotated_types
from pydantic import Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from icd.errors import InputError
from icd.experiments.base import DIFFERENT, Model, validate
from icd.experiments.recipe import Optimizer, OptimizerChange, RecipeChange
from icd.experiments.yaml_files import ROOT
from icd.methods import Distinct, Requires

METHODS = ROOT / "icd/methods"
# Arguments that the trainer passes. They depend on the data, the pyramids and the run.
GIVEN = {"priors", "channels", "student_channels", "strides", "seed"}
OPTIMIZER = "student, or type, lr, clip and further arguments of a torch.optim class"

Levels = (
    Literal["all", "all_but_coarsest"]
    | Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1), *DIFFERENT]
)


class CommonOptions(Model):
    """The options that every method has, your own as well. The trainer reads them."""

    levels: Levels = Field(
        "all",
        description="levels to distil: all or all_but_coarsest of those that both pyramids have, "
        "or a list of strides in pixels, e.g. [8, 16, 32, 64]",
    )


class DecoderTraining(Model):
    """training of the method's decoder alone, before students learn with it"""

    warm: int | None = Field(
        None, ge=0, description="iterations; 0: the decoder learns with each student from the start"
    )
    optimizer: OptimizerChange | None = Field(
        None, description="what differs from the optimizer of the method"
    )


class _MethodFields(Model):
    """What a track and the description of a run state of a method."""

    class_: str | None = Field(
        None,
        alias="class",
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        description="module.Class of your own method, which Python must be able to import",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the method")
    optimizer: Literal["student"] | Optimizer | None = Field(
        None,
        description="the optimizer of the method's own parameters: student for that of the "
        "student, with its schedule and clipping, or type, lr and more of another, which follows "
        "half a cosine",
    )
    adapter: bool = Field(
        False, description="true allows pyramids of different widths in student and teacher"
    )


class MethodEntry(_MethodFields):
    """A distillation method in a track, with the options that differ from its defaults."""

    recipe: RecipeChange | None = Field(
        None,
        description="what the method's authors change in the student's recipe; merged into the "
        "recipe of students that have the method",
    )
    decoder: DecoderTraining | None = None


class Method(_MethodFields):
    """A distillation method in the description of a run."""

    name: str

    @property
    def parts(self) -> list[Method]:
        """The methods whose losses are added: this one."""
        return [self]

    @property
    def path(self) -> str:
        """module.Class.

        Raises:
            InputError: the package has no such method and no class is given.
        """
        if self.class_:
            return self.class_
        return shipped(self.name, "methods", "").path


class Combination(Model):
    """Several distillation methods, whose losses are added, in the description of a run.

    methods: by name in alphabetical order, so that the order in a row does not matter.
    """

    methods: list[Method] = Field(min_length=2)

    @property
    def name(self) -> str:
        """The names of the methods."""
        return "+".join(part.name for part in self.methods)

    @property
    def parts(self) -> list[Method]:
        """The methods whose losses are added."""
        return self.methods


class Signature(Model):
    """The interface of a method, read from its class.

    path: module.Class.
    learns: whether the method has parameters of its own.
    options: a model of the options, each with its default.
    student_options: names of the options that do not concern the method's decoder; None if it has
        no decoder that can be trained without a student.
    """

    path: str
    learns: bool
    options: type[Model]
    student_options: list[str] | None = None


@cache
def shipped_methods() -> dict[str, Signature]:
    """The methods of the package, by name."""
    files = [*METHODS.glob("*.py"), *METHODS.glob("*/method.py")]
    methods = {}
    for file in sorted(files):
        name = file.parent.name if file.stem == "method" else file.stem
        classes = [
            node
            for node in ast.parse(file.read_text()).body
            if isinstance(node, ast.ClassDef)
            and node.name.lower() == name
            and "nn.Module" in map(ast.unparse, node.bases)
        ]
        for node in classes:
            module = ".".join(file.with_suffix("").relative_to(ROOT).parts)
            methods[name] = _signature(node, module, file)
    return methods


def shipped(name: str, where: str | Path, key: str) -> Signature:
    """A method of the package.

    Args:
        name: of the method.
        where: file that names it, for the error message.
        key: key under which it does.

    Raises:
        InputError: the package has no such method.
    """
    if name not in shipped_methods():
        expected = f"one of {sorted(shipped_methods())}, or your own with class: module.Class"
        raise InputError(where, key or name, "is not a known method", expected)
    return shipped_methods()[name]


NAMES = {
    "Annotated": Annotated,
    "Any": Any,
    "Distinct": Distinct,
    "Literal": Literal,
    "Mapping": Mapping,
    "Requires": Requires,
    "Sequence": Sequence,
    "get_args": get_args,
    **{name: getattr(annotated_types, name) for name in ("Ge", "Gt", "Le", "Lt", "MinLen")},
    **{kind.__name__: kind for kind in (bool, dict, float, int, list, str)},
}


def _signature(node: ast.ClassDef, module: str, file: Path) -> Signature:
    """Read the signature of a method's class."""
    names = NAMES | _constants(file)
    meanings = argument_meanings(ast.get_docstring(node) or "")
    (init,) = (
        part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"
    )
    arguments = init.args.args[1:] + init.args.kwonlyargs
    stated = [*init.args.defaults, *init.args.kw_defaults]
    defaults = [*[None] * (len(arguments) - len(stated)), *stated]
    stated_by_class, levels = _class_constants(node), CommonOptions.model_fields["levels"]
    chosen = Field(stated_by_class.get("distils", "all"), description=levels.description)
    fields: dict[str, Any] = {"levels": (Levels, chosen)}
    requirements: dict[str, dict[str, Any]] = {}
    for argument, default in zip(arguments, defaults, strict=True):
        if argument.arg in GIVEN:
            continue
        annotation = _evaluate(argument.annotation, names)
        for bound in getattr(annotation, "__metadata__", ()):
            if isinstance(bound, Requires):
                requirements[argument.arg] = bound.conditions
            if isinstance(bound, Distinct):
                annotation = Annotated[annotation, *DIFFERENT]
        value = ... if default is None else _plain(_evaluate(default, names))
        description = meanings.get(argument.arg, "")
        fields[argument.arg] = (annotation, Field(value, description=description))
    options = create_model(
        node.name,
        __base__=CommonOptions,
        __doc__=f"arguments of {module}.{node.name}",
        __validators__={"requirements": _requirements(requirements)},
        **fields,
    )
    return Signature(
        path=f"{module}.{node.name}",
        learns=bool(stated_by_class.get("learns", False)),
        options=options,
        student_options=_student_options(node),
    )


def _student_options(node: ast.ClassDef) -> list[str] | None:
    """The ``student_options`` that a class states, if it does."""
    for part in node.body:
        if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "student_options":
            return list(ast.literal_eval(part.value))
    return None


def _class_constants(node: ast.ClassDef) -> dict[str, Any]:
    """The constants in the body of a class, by name."""
    return {
        part.targets[0].id: part.value.value
        for part in node.body
        if isinstance(part, ast.Assign)
        and isinstance(part.targets[0], ast.Name)
        and isinstance(part.value, ast.Constant)
    }


def _requirements(requirements: Mapping[str, Mapping[str, Any]]) -> Any:
    """A validator for options that require other options to have certain values."""

    def check(self: Model) -> Model:
        for option, conditions in requirements.items():
            for key, needed in conditions.items():
                value = getattr(self, key)
                if getattr(self, option) and value != needed:
                    context = {"key": key, "value": value}
                    context["expected"] = f"{needed}, because {option} is true"
                    raise PydanticCustomError("requires", "{key}", context)
        return self

    return model_validator(mode="after")(check)


@cache
def _constants(file: Path) -> dict[str, Any]:
    """Constants and type aliases at the top of a file of the package, where they can be read."""
    constants: dict[str, Any] = {}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("icd."):
            source = ROOT.joinpath(*str(node.module).split(".")).with_suffix(".py")
            other = _constants(source) if source.is_file() else {}
            constants |= {name.name: other[name.name] for name in node.names if name.name in other}
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.expr):
            with suppress(NameError, TypeError, AttributeError):
                constants[target.id] = _evaluate(value, NAMES | constants)
    return constants


def _evaluate(node: ast.expr | None, names: Mapping[str, Any]) -> Any:
    """Evaluate an annotation or default of the package's own code; it may use only ``names``."""
    assert node is not None, "every argument of a method has a type"
    code = compile(ast.Expression(node), "<signature>", "eval")
    return eval(code, {"__builtins__": {}}, dict(names))


def _plain(value: Any) -> Any:
    """A default value as YAML represents it."""
    return list(value) if isinstance(value, tuple) else value


def argument_meanings(docstring: str) -> dict[str, str]:
    """The description of each argument in the ``Args:`` section of a docstring."""
    _, _, section = cleandoc(docstring).partition("\nArgs:\n")
    entries = re.findall(r"^    (\w[\w, ]*): (.*(?:\n        .*)*)", section, re.M)
    return {
        name.strip(): " ".join(text.split()).rstrip(".")
        for names, text in entries
        for name in names.split(",")
    }


def check_options(
    name: str, options: Mapping[str, Any], file: str | Path, key: Sequence[str]
) -> dict[str, Any]:
    """Validate the options of a method and return those that differ from its defaults.

    Of your own methods, only the options that every method has are checked.

    Args:
        name: of the method.
        options: the options by name.
        file: file that states them, for error messages.
        key: path of the options in ``file``.

    Raises:
        InputError: the method has no such option, or a value is invalid.
    """
    if name not in shipped_methods():
        common = {name: options[name] for name in CommonOptions.model_fields if name in options}
        validate(CommonOptions, common, file, key)
        return dict(options)
    valid = validate(shipped_methods()[name].options, options, file, key)
    return valid.model_dump(mode="json", exclude_defaults=True)


def check_method(name: str, method: MethodEntry, file: Path) -> None:
    """Raise InputError unless a track's entry of a method is usable."""
    key = f"methods.{name}"
    if name == "none":
        raise InputError(file, key, "is what rows without a method name", "another name")
    if method.class_:
        if name in shipped_methods():
            problem = "is the name of a method of the package"
            raise InputError(file, key, problem, "another name for your own")
        _require_module(method.class_, f"{key}.class", file)
    elif shipped(name, file, key).learns and method.optimizer is None:
        raise InputError(file, f"{key}.optimizer", "is missing", OPTIMIZER)
    check_options(name, method.options, file, ("methods", name, "options"))
    if method.decoder:
        options_of_decoder(name, method.options, file)


def has_decoder(name: str) -> bool:
    """Whether a method has a decoder that can be trained without a student."""
    return name in shipped_methods() and shipped_methods()[name].student_options is not None


def options_of_decoder(name: str, options: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Those of a method's options that concern its decoder.

    Raises:
        InputError: the method has no decoder that can be trained without a student.
    """
    students = shipped_methods()[name].student_options if name in shipped_methods() else None
    if students is None:
        others = [other for other, one in shipped_methods().items() if one.student_options]
        problem = "is stated, but this method has no decoder that can be trained alone"
        raise InputError(file, f"methods.{name}.decoder", problem, f"one of {others}, which have")
    return {key: value for key, value in options.items() if key not in students}


def _require_module(path: str, key: str, file: Path) -> None:
    """Raise InputError unless Python finds the module of a class; nothing is imported."""
    first, *rest = path.split(".")[:-1]
    # Training processes search the working directory first. Snakemake itself does not.
    spec, name = PathFinder.find_spec(first, [str(Path.cwd())]) or find_spec(first), first
    for part in rest:
        places, name = (spec and spec.submodule_search_locations) or [], f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(places))
    if not spec:
        problem = f"there is no module {name!r}"
        expected = "module.Class in the working directory, or of an installed package"
        raise InputError(file, key, problem, expected)
