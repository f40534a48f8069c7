"""Tables in LaTeX."""

from __future__ import annotations

import re

import pytest

from icd.report.latex import compact, escape
from icd.report.summary import summarise
from icd.report.tables import latex
from tests.report.small_table import known, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R&D 50 % a_b #1 $2", r"R\&D 50 \% a\_b \#1 \$2"),
        ("{x}", r"\{x\}"),
        ("a\\b~c^d", r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d"),
        ("12.3 ± 0.4", r"12.3 $\pm$ 0.4"),
        ("-0.3 [-0.8, +0.2]", "$-$0.3 [$-$0.8, +0.2]"),
        ("resnet-50, 640-800, cut-off", "resnet-50, 640-800, cut-off"),
    ],
)
def test_latex_escapes(text, expected):
    assert escape(text) == expected


def test_latex_is_a_booktabs_table_of_the_same_cells(broken):
    ablation, results = broken
    text = latex(summarise(ablation, results))
    rules = ["toprule", "midrule", "bottomrule", "begin{tabular}", "end{tabular}", "end{table}"]
    assert [text.count(f"\\{rule}") for rule in rules] == [1] * 6
    columns = known(re.search(r"\\begin\{tabular\}\{(l+r+)\}", text))[1]
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")].splitlines()
    lines = [line for line in body if line.endswith(r"\\")]
    assert len(lines) == 1 + len(ablation.rows)
    for line in lines:
        assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
    cells = shown(ablation, results)
    assert compact(cells["Student"]["AP"]) in text
    assert r"\shortstack[r]{gain over \\ {}Student \\ {}[95~\%]}" in text
    assert not re.search(r"\\\\\s*\[", text), "which LaTeX takes for a length"
    assert text.isascii()
    assert not re.search(r"(?<!\\)[%#_](?!\n| needs)", text)
    assert text.replace(r"\{", "").count("{") == text.replace(r"\}", "").count("}")
