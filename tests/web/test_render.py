"""The page is one file without network, of a limited size, whatever the track."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from icd.report.existing import Tables, existing
from icd.report.page import page as results_page
from icd.web import gathered
from icd.web.attention import CELLS, OBJECTS
from icd.web.content import CLASS_CURVES, Content, content
from icd.web.curves import POINTS
from icd.web.detections import MOST, RUNS
from icd.web.images import COUNT
from icd.web.parts import Part
from icd.web.render import LIMIT, NOT_GATHERED, PARTS, TOO_LARGE, page, unpack_text
from tests.web.site import Site

VOID = {"meta", "link", "input", "br", "img"}


class Parsed(HTMLParser):
    """The elements of a page, with their attributes; texts by the id of the element around them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id") or ""))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self.open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data: str) -> None:
        for _, name in self.open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data


@pytest.fixture(scope="module")
def shown(site: Site) -> Content:
    with chdir(site.folder):
        return content(site.track, existing(site.track, site.ablations))


@pytest.fixture(scope="module")
def parsed(site: Site) -> Parsed:
    return Parsed(site.page.read_text())


def test_elements_are_closed_and_ids_are_unique(parsed: Parsed) -> None:
    assert parsed.open == []
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in parsed.elements:
        for key in ("aria-labelledby", "aria-describedby", "for"):
            for name in (attributes.get(key) or "").split():
                assert name in ids, name


def test_nothing_is_loaded_from_elsewhere(site: Site, parsed: Parsed) -> None:
    """Links may lead elsewhere; whatever the browser loads itself is in the file."""
    for tag, attributes in parsed.elements:
        assert not (tag == "script" and "src" in attributes)
        assert (attributes.get("src") or "data:").startswith("data:")
        assert tag != "link" or (attributes["href"] or "").startswith("data:")
        assert (
            tag not in {"iframe", "object", "embed", "base", "form"} or "action" not in attributes
        )
    (style,) = re.findall(r"<style>(.*?)</style>", site.page.read_text(), re.S)
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] or "" for tag, a in parsed.elements if "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_files_that_the_page_links_to_exist(site: Site, parsed: Parsed) -> None:
    links = [attributes["href"] or "" for tag, attributes in parsed.elements if tag == "a"]
    ids = {attributes.get("id") for _, attributes in parsed.elements}
    files = [link for link in links if not link.startswith(("#", "https://"))]
    assert "main/results.csv" in files
    for link in links:
        assert not link.startswith("#") or link[1:] in ids
    for file in files:
        assert (site.page.parent / file).is_file(), file


def test_data_of_the_page_are_its_content(shown: Content, parsed: Parsed) -> None:
    core = json.loads(unpack_text(parsed.texts["packed-core"]))
    assert [table["name"] for table in core["tables"]] == ["main", "table1"]
    assert core["runs"].keys() == shown.runs.keys()
    for part in PARTS:
        assert json.loads(unpack_text(parsed.texts[f"packed-{part}"])) == shown.parts[part]
    assert "Plotly" in unpack_text(parsed.texts["packed-plotly"])


def test_equal_content_gives_equal_bytes(shown: Content) -> None:
    assert page(shown) == page(shown)


def test_labels_with_html_stay_text(parsed: Parsed) -> None:
    assert "ICD <i>" in parsed.texts["table-main"]
    assert not [tag for tag, _ in parsed.elements if tag == "i"]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_was_not_gathered_leaves_a_sentence(
    shown: Content, parsed: Parsed, part: str
) -> None:
    bare = Parsed(page(replace(shown, parts={**shown.parts, part: {}})))
    sections = {gathered.IMAGES: ("attention", "detections")}.get(part, (part,))
    sentence = re.sub(r"<.*?>", "", NOT_GATHERED)
    for section in ("curves", "precision", "attention", "detections"):
        assert (sentence in bare.texts[section]) == (section in sections)
        assert sentence not in parsed.texts[section]


def noise(count: int) -> str:
    """Text that gzip cannot make smaller than three quarters."""
    return base64.b64encode(random.Random(0).randbytes(count)).decode()


def test_the_largest_part_is_left_out_if_the_page_were_too_large(shown: Content) -> None:
    parts = shown.parts | {"curves": {"run": noise(9_000_000)}}
    text = page(replace(shown, parts=parts | {"attention": {"maps": noise(5_000_000)}}))
    assert len(text) < LIMIT
    small = Parsed(text)
    assert TOO_LARGE in small.texts["curves"]
    assert TOO_LARGE not in small.texts["attention"]


def for_each(part: Any, count: int) -> dict[str, Any]:
    return {f"run{i}": part for i in range(count)}


def test_a_large_track_stays_below_the_limit(shown: Content) -> None:
    """Three tables by 80 classes, and of each part as much as may be gathered."""
    draw = random.Random(1)
    ap, gain, low, high, p = (round(draw.gauss(20, 9), 4) for _ in range(5))
    one = Part("a class", 3, ap, gain, low, high, p, significant=True)
    parts = {"class": {row.id: [one] * 80 for row in shown.tables[0].rows}}
    tables = [replace(shown.tables[0], name=name, parts=parts) for name in ("main", "b", "c")]
    picture = {"source": noise(22_000), "objects": [[1.5, 2.5, 30.5, 40.5, 7]] * 8}
    losses = {
        f"loss_{i}": {
            "iterations": list(range(900, 90_001, 900)),
            "values": [round(draw.random(), 4) for _ in range(POINTS)],
        }
        for i in range(15)
    }
    detections = [[100.5, 200.5, 30.5, 40.5, draw.random(), 17, 2, 3, 0.55] for _ in range(MOST)]
    gathered_parts: dict[str, Mapping[str, Any]] = {
        "precision": {"classes": noise(CLASS_CURVES * 3 // 4), "all": noise(300 * 6 * 101 * 2)},
        "curves": for_each(losses, 250),
        "images": {"test": {"classes": ["a class"] * 80, "images": [picture] * COUNT}},
        "attention": {"maps": noise(COUNT * (OBJECTS + 1) * 8 * CELLS)},
        "detections": {"runs": for_each([detections] * COUNT, RUNS)},
    }
    orders = for_each((None, None), 3) | shown.orders | {"b": (None, None), "c": (None, None)}
    text = page(replace(shown, tables=tables, orders=orders, parts=gathered_parts))
    assert TOO_LARGE not in text
    assert len(text) < LIMIT


@pytest.mark.parametrize("count", [0, 1])
def test_a_track_with_few_tables_has_a_page(site: Site, count: int) -> None:
    with chdir(site.folder):
        tables = existing(site.track, site.ablations[:count])
        text = page(content(site.track, tables))
    views = [a["id"] for tag, a in Parsed(text).elements if a.get("class") == "view"]
    named = ["table-main"] * count
    assert views == ["overview", *named, "curves", "precision", "attention", "detections", "runs"]
    assert ("No table has been made" in text) == (count == 0)


def test_the_overview_begins_with_the_answers_of_the_results_page(
    site: Site, shown: Content
) -> None:
    (answer,) = shown.answers
    assert answer.table == "main"
    with chdir(site.folder):
        tables = existing(site.track, site.ablations)
        text = Parsed(page(shown)).texts["overview"]
        listed = results_page(site.track, tables, {})
    for cell in answer.cells:
        assert cell in text
        assert cell in listed
    (order, _) = shown.orders["main"]
    assert order is not None
    assert order.text in text


def test_outdated_tables_are_named(site: Site) -> None:
    with chdir(site.folder):
        text = page(content(site.track, Tables([], ["main", "heads"])))
    assert "measured on other annotations" in Parsed(text).texts["overview"]
    assert "main, heads" in text
