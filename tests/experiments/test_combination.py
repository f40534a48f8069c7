"""Rows with several methods: their options, recipes, names and decoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from icd.errors import InputError
from icd.experiments.kind import kinds
from icd.experiments.options import Combination
from icd.experiments.run import read_run
from tests.experiments.track_files import MINI, changed, described, track

BOTH = ["icd", "fitnet"]


def run(method: str | list[str], content: dict[str, Any] = MINI, **change: Any) -> Any:
    return described(track(content), {"method": method, **change})


def test_a_combination_of_one_is_that_method() -> None:
    assert run(["icd"]).description == run("icd").description
    flat, named = {"weight": 3.0, "heads": 4}, {"icd": {"weight": 3.0, "heads": 4}}
    assert run(["icd"], options=named).id == run("icd", options=flat).id != run("icd").id


def test_each_method_is_as_it_is_alone() -> None:
    options = {"icd": {"weight": 3.0}, "fitnet": {"levels": [8, 16]}}
    both = run(BOTH, options=options)
    assert isinstance(both.method, Combination)
    assert both.method.parts == [run(name, options=options[name]).method for name in sorted(BOTH)]


def test_the_order_does_not_matter() -> None:
    assert run(BOTH).id == run(BOTH[::-1]).id


def test_names_show_all_methods() -> None:
    both = run(BOTH, options={"icd": {"heads": 4}})
    assert both.id.startswith("retinanet-resnet18-w8-1x-fitnet+icd-seed0-")
    assert both.summary["method"] == "fitnet+icd"
    assert both.cost_group == ("retinanet", "resnet18-w8", "fitnet+icd")
    assert both.step_key != run(BOTH).step_key
    (kind,) = kinds([both])
    assert "fitnet + icd heads=4" in kind.label


def test_weights_and_rates_do_not_make_another_kind() -> None:
    other = run(BOTH, options={"icd": {"weight": 3.0, "warmup": 7}, "fitnet": {"weight": 2.0}})
    assert len(kinds([run(BOTH), other])) == 1
    assert len(kinds([run(BOTH), run("icd"), run("fitnet")])) == 3


def test_a_description_can_be_read_back() -> None:
    both = run(BOTH, options={"fitnet": {"levels": [8]}})
    again = read_run(both.description, Path("run.json"))
    assert again == both
    assert again.id == both.id


def test_students_share_the_decoder_of_a_method_alone() -> None:
    warm = {"warm": 40}
    both, alone = (run(method, decoder=warm) for method in (BOTH, "icd"))
    assert both.decoder.id == alone.decoder.id
    assert both.id != run(BOTH).id


def with_recipes(icd: dict[str, Any], fitnet: dict[str, Any]) -> dict[str, Any]:
    content = changed(MINI, "methods.icd.recipe", icd)
    return changed(content, "methods.fitnet.recipe", fitnet)


def test_recipes_of_all_methods_are_merged() -> None:
    sgd = {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}}
    content = with_recipes({"optimizer": {"clip_value": 1.0}}, sgd | {"ramp": 7})
    recipe = run(BOTH, content).recipe
    expected = {"type": "SGD", "lr": 0.1, "momentum": 0.9, "clip_value": 1.0}
    assert recipe.optimizer.stated() == expected
    assert recipe.ramp == 7
    assert run("icd", content).recipe.ramp == 50
    same = with_recipes({"ramp": 7}, {"ramp": 7})
    assert run(BOTH, same).recipe.ramp == 7


@pytest.mark.parametrize(
    ("icd", "fitnet", "words"),
    [
        ({"optimizer": {"clip": 1.0}}, {"optimizer": {"clip": 35.0}}, ("clip: is 1.0", "35.0")),
        ({"optimizer": {"clip": None}}, {"optimizer": {"clip": 35.0}}, ("clip: is None", "35.0")),
        ({"decay": [0.5]}, {"decay": "cosine"}, ("decay: is [0.5]", "cosine")),
    ],
    ids=str,
)
def test_recipes_may_not_contradict_each_other(
    icd: dict[str, Any], fitnet: dict[str, Any], words: tuple[str, ...]
) -> None:
    content = with_recipes(icd, fitnet)
    with pytest.raises(InputError) as caught:
        run(BOTH, content)
    message = str(caught.value)
    assert message.startswith("track.yaml: methods.icd.recipe.")
    assert all(word in message for word in (*words, "in methods.fitnet", "a row has both"))
    assert run("icd", content).method.name == "icd"  # alone, each is fine
    assert run("fitnet", content).method.name == "fitnet"


def test_an_adapter_is_for_all_methods() -> None:
    both = run(BOTH, adapter=True)
    assert [part.adapter for part in both.method.parts] == [True, True]
    narrow = changed(MINI, "backbones.resnet18-w8.neck.out_channels", 64)
    assert run(BOTH, narrow, adapter=True)
    with pytest.raises(InputError, match="out_channels"):
        run(BOTH, narrow)
    with pytest.raises(InputError, match=r"methods\.cwd\.optimizer: is missing"):
        run(["icd", "cwd"], adapter=True)  # mini's has no optimizer
