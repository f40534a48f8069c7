"""Render the methods and their options, in place of ``<!-- methods -->`` in a page.

A method's options, their bounds, defaults and meanings come from its constructor and its docstring,
as for the checks of YAML files.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from schema_reference import reference

from icd.experiments.options import shipped_methods

ROOT = Path(__file__).resolve().parents[2]
PLACE = "<!-- methods -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the place of a page by the sections of all methods, ICD first."""
    if PLACE not in markdown:
        return markdown
    names = sorted(shipped_methods(), key=lambda name: (name != "icd", name))
    return markdown.replace(PLACE, "\n\n".join(map(section, names)))


def section(name: str) -> str:
    """The text of one method."""
    method = shipped_methods()[name]
    module, _, title = method.path.rpartition(".")
    file = f"{module.replace('.', '/')}.py"
    optimizer = "It has parameters of its own, so its entry in a track needs an `optimizer`."
    where = f"Name in YAML: `{name}`. Source and equations: `{file}`."
    return "\n\n".join(
        [
            f"## {title}",
            text(ROOT / file, title),
            where + f" {optimizer}" * method.learns,
            reference(method.options.model_json_schema()),
        ]
    )


def text(file: Path, name: str) -> str:
    """The docstring of a class as Markdown, without its arguments."""
    classes = (node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef))
    docstring = next(ast.get_docstring(node) or "" for node in classes if node.name == name)
    docstring = re.sub(r"^Args:\n(?:[ ]+.*\n?|\n(?=[ ]))*", "", docstring, flags=re.M)
    docstring = re.sub(r"\n{3,}", "\n\n", docstring)
    docstring = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", docstring)
    return docstring.replace("``", "`").strip()
