"""A table in LaTeX, with booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import wrap

from icd.experiments.ablation import Ablation

HEAD = 11  # characters of a line in the head of a column
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{NO-BREAK SPACE}": "~",
    "±": r"$\pm$",
    "λ": r"$\lambda$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def typeset(
    ablation: Ablation,
    header: Sequence[str],
    body: Iterable[Sequence[str]],
    paragraphs: Iterable[str],
) -> str:
    r"""The table with its title and notes; made smaller where it is wider than the page.

    The document needs ``\usepackage{booktabs,graphicx}``.
    """
    small = ([escape(label), *map(compact, rest)] for label, *rest in body)
    lines = [" & ".join(row) + r" \\" for row in (map(stacked, header), *small)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs,graphicx}",
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escape(ablation.title)}. {escape(ablation.question)}}}",
            rf"\label{{tab:{ablation.name}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}}",
            r"\raggedright\scriptsize",
            *(rf"\par\smallskip {escape(text)}" for text in paragraphs),
            r"\end{table}",
            "",
        ]
    )


def stacked(text: str) -> str:
    """The head of a column, on several lines where it is long.

    An empty group stands between lines, because a bracket after a line break would be its argument.
    """
    lines = [escape(line) for line in wrap(text.replace(" %", "\N{NO-BREAK SPACE}%"), HEAD)]
    return r"\shortstack[r]{" + r" \\ {}".join(lines) + "}" if len(lines) > 1 else "".join(lines)


def compact(text: str) -> str:
    """A cell, its spread or interval in small letters."""
    spread = re.search(r" (?:±|\[).*", text)
    value, rest = (text[: spread.start()], spread[0]) if spread else (text, "")
    return escape(value) + (rf"{{\tiny\{escape(rest)}}}" if rest else "")


def escape(text: str) -> str:
    """Text as LaTeX prints it; the hyphen before a number is a minus."""
    text = re.sub(r"(?<![\w)\]])-(?=\d)", "\N{MINUS SIGN}", text)
    special = SPECIAL | {"\N{MINUS SIGN}": "$-$"}
    return "".join(special.get(character, character) for character in text)
