"""Numbers of renamed runs stay with their rows and seeds, and the table says so."""

from __future__ import annotations

from icd.experiments.ablation import Ablation
from icd.report.earlier import as_planned
from icd.report.notes import EARLIER
from icd.report.results import Results
from icd.report.summary import summarise
from icd.report.tables import markdown


def renamed(results: Results) -> Results:
    """The same numbers, as an earlier version of the runs left them."""
    for frame in (results.records, results.bootstrap):
        frame["run"] = "earlier-" + frame["run"]
    return results


def test_todays_numbers_are_left_alone(ablation: Ablation, results: Results) -> None:
    assert as_planned(ablation, results) is results
    assert EARLIER not in markdown(summarise(ablation, results))


def test_a_table_of_renamed_runs_shows_the_same_numbers(
    ablation: Ablation, results: Results
) -> None:
    before = markdown(summarise(ablation, results))
    after = markdown(summarise(ablation, renamed(results)))
    assert after.replace(EARLIER + "\n\n", "") == before
    assert EARLIER in after


def test_rows_that_are_new_since_were_not_run(ablation: Ablation, results: Results) -> None:
    less = renamed(results)
    less = Results(less.records[less.records.row != "icd"], less.bootstrap)
    assert summarise(ablation, less).entry("icd").state == "not run"
