"""The page in a browser: everything that a reader can do with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from icd.report.existing import existing
from icd.web import gathered, render
from icd.web.content import content
from tests.web.browser import Page, chromium, needs_browser
from tests.web.site import COMMIT, HEADS, LAYERS, Site

pytestmark = [needs_browser, pytest.mark.slow]

VIEWS = ["overview", "table-main", "table-table1"]
VIEWS += ["curves", "precision", "attention", "detections", "runs"]
RESULTS = "#table-main table.results"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(browser: Chrome, site: Site) -> Iterator[Page]:
    """The page, which may not complain about anything during the test."""
    browser.set_window_size(1400, 1000)
    opened = Page(browser, site.page)
    opened.complaints()  # those of the test before
    yield opened
    assert opened.complaints() == []


def part(site: Site, name: str) -> dict[str, Any]:
    with chdir(site.folder):
        return gathered.gathered(site.track, name)


def cells(page: Page, column: int) -> list[str]:
    """What a column of the main table shows."""
    return page.texts(f"{RESULTS} tbody tr > :nth-child({column})")


def test_views_are_shown_one_at_a_time_and_load_nothing(page: Page) -> None:
    page.open()
    for view in VIEWS:
        page.one(f".contents a[href='#{view}']").click()
        page.wait_for(view)
        assert len(page.all("main > .view")) == 1
        assert page.one("[aria-current=page]").get_attribute("hash") == f"#{view}"
        assert page.script("return document.activeElement.tagName") == "H1"
    loaded = "return performance.getEntriesByType('resource').map((e) => e.name)"
    assert [name for name in page.script(loaded) if not name.startswith("data:")] == []


def test_a_view_has_an_address(page: Page) -> None:
    assert page.open("precision").one("h1").text == "Precision and recall"


def test_tables_are_sorted_by_a_click_on_a_heading(page: Page) -> None:
    page.open("table-main")
    before = cells(page, 1)
    assert before[1:3] == ["Student", "Student + inheriting"]
    heading = page.one(f"{RESULTS} th[data-key=AP]")
    orders = []
    for expected in ("descending", "ascending", None):
        heading.find_element(By.TAG_NAME, "button").click()
        assert heading.get_attribute("aria-sort") == expected
        orders.append(cells(page, 1))
    down, up, again = orders
    assert down == ["Teacher", "ICD <i>", "Student + inheriting", "Student", "Never run"]
    assert up == ["Student", "Student + inheriting", "ICD <i>", "Teacher", "Never run"]
    assert again == before


def test_tables_are_filtered_by_words(page: Page) -> None:
    page.open("table-main").one("#table-main input[type=search]").send_keys("inh student")
    assert cells(page, 1) == ["Student + inheriting"]
    assert page.one("#table-main .count").text == "1 of 5 rows"


def test_a_number_says_where_it_comes_from(page: Page, site: Site) -> None:
    page.open("table-main")
    button = page.one(f"{RESULTS} tr[data-row=icd] button[data-key=AP]")
    button.click()
    assert page.one("#provenance-title").text == "AP of ICD <i>"
    values = [site.metrics(site.run("icd", seed))["metrics"]["bbox"]["AP"] for seed in (0, 1)]
    shown = float(page.one("#provenance p.value").text.split()[0])
    assert shown == pytest.approx(100 * sum(values) / 2, rel=1e-6)
    runs = page.texts("#provenance td button.about")
    assert runs == [site.run("icd", seed).id for seed in (0, 1)]
    assert COMMIT[:10] in page.one("#provenance tbody").text
    page.all("#provenance td button.about")[1].click()
    facts = page.one("#provenance .facts").text
    for text in (COMMIT, "2026-01-02 03:04 UTC", "A processor; 2 cores", "torch 2.14.1", "67 min"):
        assert text in facts
    assert "snakemake" not in facts, "not recorded"
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    assert not page.all("#provenance")
    assert page.driver.switch_to.active_element == button


def test_a_gain_names_both_rows_and_a_published_number_its_source(page: Page) -> None:
    page.open("table-main").one(f"{RESULTS} tr[data-row=icd] button[data-key=gain]").click()
    assert "ICD <i> over Student, paired by seed" in page.one("#provenance p.value").text
    rows = page.texts("#provenance tbody th")
    assert rows == ["ICD <i>", "ICD <i>", "Student", "Student"]
    page.one("#provenance .close").click()
    for key, value in (("published", "39.9"), ("published_gain", "+2.5")):
        page.one(f"{RESULTS} tr[data-row=icd] button[data-key={key}]").click()
        text = page.one("#provenance .body").text
        assert "Source: a paper." in text
        assert page.one("#provenance p.value").text == value
        page.one("#provenance .close").click()


def test_the_number_of_seeds_says_what_became_of_the_runs(page: Page, site: Site) -> None:
    for row, state in (("icd", "done"), ("never", "not run")):
        page.open("table-main").one(f"{RESULTS} tr[data-row={row}] button[data-key=seeds]").click()
        lines = page.texts("#provenance tbody tr")
        for seed, line in enumerate(lines):
            assert line.startswith(f"{seed} {state} {site.run(row, seed).id}")
        assert len(lines) == 2


def test_gains_show_their_intervals_under_the_pointer(page: Page) -> None:
    page.open("table-main")
    point = page.one("#table-main [data-figure=gains] .scatterlayer .trace .points path")
    ActionChains(page.driver).move_to_element(point).perform()
    hover = page.one("#table-main [data-figure=gains] .hoverlayer .hovertext").text
    shown = page.one(f"{RESULTS} tr[data-row=teacher] button[data-key=gain]").text
    assert "Teacher" in hover
    assert shown in hover, "the gain with its interval"
    page.choose("#table-main [data-figure=gains] select", "difference to Student + inheriting")
    assert "difference to" in page.one("#table-main [data-figure=gains] .xtitle").text


def test_gains_by_class_follow_the_row(page: Page, site: Site) -> None:
    page.open("table-main")
    page.one("#table-main .part + .part details summary").click()
    rows = "#table-main .part + .part tbody tr"
    shown = {}
    for label in ("Student + inheriting", "ICD <i>"):
        page.choose("#table-main .parts label select", label)
        if not page.all(rows):
            page.one("#table-main .part + .part details summary").click()
        shown[label] = dict(line.split()[:2] for line in page.texts(rows))
    run = site.run("icd")
    expected = [site.metrics(site.run("icd", s))["parts"]["bbox"]["class"] for s in (0, 1)]
    means = {
        name: f"{50 * (expected[0][name]['AP'] + expected[1][name]['AP']):.1f}"
        for name in expected[0]
    }
    assert shown["ICD <i>"] == means, run.id
    assert shown["Student + inheriting"] != means


def test_curves_of_any_run_can_be_seen(page: Page, site: Site) -> None:
    page.open("curves").one("#curves .multiples .main-svg")
    titles = page.texts("#curves .multiples figcaption")
    assert titles[:3] == ["AP, tune split", "Loss, all terms", "Classification loss"]
    assert "Learning rate" in titles
    page.choose("#curves [name=group]", "Decoder, layer 1")
    page.until(lambda: page.texts("#curves .multiples figcaption") == ["Effective tokens, share"])
    page.choose("#curves .picker:nth-child(2) label:nth-of-type(2) select", "Teacher, seed 0")
    page.until(lambda: "Learning rate" in page.texts("#curves .multiples figcaption"))
    page.one("#curves details summary").click()
    lines = page.texts("#curves details tbody tr")
    assert "B: Teacher, seed 0 Loss, all terms 50 2" in lines
    page.one("#curves .picker .about").click()
    assert page.one("#provenance-title").text == site.run("student").id


def test_the_mean_of_a_precision_recall_curve_is_ap(page: Page, site: Site) -> None:
    page.open("precision").one("#precision .main-svg")
    metrics = {row: site.metrics(site.run(row))["metrics"]["bbox"] for row in ("student", "icd")}
    for curve, name in (("IoU 0.50:0.95 (mean)", "AP"), ("IoU 0.50", "AP50")):
        page.choose("#precision [name=curve]", curve)
        caption = page.one("#precision figcaption").text
        for row, label in (("student", "A: Student"), ("icd", "B: ICD <i>")):
            assert f"{label}, seed 0, mean {100 * metrics[row][name]:.1f}" in caption
    page.choose("#precision [name=class]", "star")
    part_of = site.metrics(site.run("icd"))["parts"]["bbox"]["class"]["star"]
    page.choose("#precision [name=curve]", "IoU 0.50:0.95 (mean)")
    assert f"mean {100 * part_of['AP']:.1f}." in page.one("#precision figcaption").text
    page.one("#precision details summary").click()
    assert len(page.all("#precision tbody tr")) == 21


def shows(element: WebElement, text: str) -> bool:
    return text in element.text


def pixels(page: Page) -> str:
    """The map of the attention, as a picture."""
    text: str = page.script("return document.querySelector('#attention .map canvas').toDataURL()")
    return text


def test_sliders_choose_layer_and_head_of_the_attention(page: Page, site: Site) -> None:
    page.open("attention")
    sentence = page.one("#attention .sentence")
    page.until(lambda: sentence.text)
    found = part(site, gathered.ATTENTION)["images"][0]["objects"][0]
    layer, head = page.one("#attention [name=layer]"), page.one("#attention [name=head]")
    assert page.texts("#attention .slider output") == [f"{LAYERS} of {LAYERS}", f"mean of {HEADS}"]
    seen = {pixels(page)}
    head.send_keys(Keys.ARROW_RIGHT)
    for number, key in ((1, Keys.ARROW_RIGHT), (2, Keys.ARROW_RIGHT)):
        share = 100 * found["inside"][LAYERS - 1][number - 1]
        page.until(partial(shows, sentence, f"Head {number} of layer {LAYERS}"))
        shown = float(sentence.text.split(":")[1].split()[0])
        assert shown == pytest.approx(share, abs=0.5)
        seen.add(pixels(page))
        head.send_keys(key)
    layer.send_keys(Keys.ARROW_LEFT)
    page.until(lambda: "of layer 1" in sentence.text)
    seen.add(pixels(page))
    page.all("#attention .heads button")[1].click()
    page.until(lambda: "Head 2 of layer 1" in sentence.text)
    seen.add(pixels(page))
    assert len(seen) == 5, "each layer and head is another map"
    assert page.all("#attention .heads button")[1].get_attribute("aria-pressed") == "true"
    page.choose("#attention [name=object]", "all objects")
    page.until(lambda: "annotated boxes" in sentence.text)
    assert len(page.all("#attention tbody tr")) == HEADS


def test_images_are_chosen_with_arrow_keys(page: Page) -> None:
    page.open("attention")
    page.until(lambda: page.texts("#attention .map figcaption") != [""])
    first = page.one("#attention figcaption").text
    buttons = page.all("#attention .gallery button")
    assert [button.get_attribute("tabindex") for button in buttons] == ["0"] + ["-1"] * 5
    buttons[0].send_keys(Keys.ARROW_RIGHT)
    assert page.driver.switch_to.active_element == buttons[1]
    buttons[1].send_keys(Keys.ENTER)
    page.until(lambda: page.one("#attention figcaption").text != first)


def expected_verdicts(site: Site, row: str, score: float) -> Counter[str]:
    """How often each verdict is given in all images of the page, from a score on."""
    found, counts = part(site, gathered.DETECTIONS), Counter[str]()
    pictures = part(site, gathered.IMAGES)["test"]["images"]
    images = found["runs"][site.run(row).id]["test"]["bbox"]
    for entries, picture in zip(images, pictures, strict=True):
        shown = [(found["kinds"][one[6]], one[7]) for one in entries if one[4] >= score]
        counts.update(kind for kind, _ in shown)
        meant = {target for kind, target in shown if kind in ("right", "class", "place")}
        counts["missed"] += len({*range(len(picture["objects"]))} - meant)
    return counts


def test_detections_of_two_runs_are_judged(page: Page, site: Site) -> None:
    names = ["right", "class", "place", "both", "duplicate", "background", "missed"]
    page.open("detections")
    page.until(lambda: len(page.all("#detections svg")) == 2)
    for score in (30, 80, 5):
        page.slide("#detections [name=score]", score)
        lines = [line.split() for line in page.texts("#detections .totals tbody tr")]
        shown = [[int(word) for word in line if word.isdigit()][:2] for line in lines]
        counts = [expected_verdicts(site, row, score / 100) for row in ("student", "icd")]
        assert shown == [[count[name] for count in counts] for name in names]


def test_runs_on_different_splits_are_not_compared(
    browser: Chrome, site: Site, tmp_path: Path
) -> None:
    with chdir(site.folder):
        shown = content(site.track, existing(site.track, site.ablations))
    main, masks = shown.tables
    detections = {**shown.parts[gathered.DETECTIONS]}
    detections["runs"] = {
        run: splits | {"tune": splits["test"]} for run, splits in detections["runs"].items()
    }
    tables = [main, replace(masks, split="tune")]
    parts = shown.parts | {gathered.DETECTIONS: detections}
    (tmp_path / "index.html").write_text(render.page(replace(shown, tables=tables, parts=parts)))
    page = Page(browser, tmp_path / "index.html").open("detections")
    page.until(lambda: len(page.all("#detections svg")) == 2)
    page.choose("#detections .picker:nth-child(2) select", "Masks")
    assert "split test, run B on tune" in page.one("#detections .notice").text
    assert page.all("#detections svg") == []
    page.choose("#detections .picker:nth-child(2) select", "What it learns")
    page.until(lambda: len(page.all("#detections svg")) == 2)


def test_kinds_of_detections_can_be_hidden(page: Page) -> None:
    page.open("detections")
    page.slide("#detections [name=score]", 5)
    page.until(lambda: page.all("#detections .box"))
    boxes = page.all("#detections .box")
    kinds = Counter(str(box.get_attribute("class")).split()[1] for box in boxes)
    drawn = sum(kinds.values())
    assert len(page.all("#detections .panel tbody tr")) == drawn, "the tables list all boxes"
    first = next(kind for kind in kinds if kind != "missed")
    place = ["right", "class", "place", "both", "duplicate", "background"].index(first)
    page.all("#detections .kinds input")[place].click()
    assert len(page.all("#detections .box")) == drawn - kinds[first]


def test_all_runs_are_listed_with_their_provenance(page: Page, site: Site) -> None:
    page.open("runs")
    rows = page.until(lambda: page.texts("#runs tbody tr"))
    icd = next(row for row in rows if row.startswith(site.run("icd").id))
    ap = 100 * site.metrics(site.run("icd"))["metrics"]["bbox"]["AP"]
    for text in (f"{ap:.1f}", COMMIT[:10], "A processor", "67 min", "icd"):
        assert text in icd
    page.one("#runs input[type=search]").send_keys("condinst")
    assert all("condinst" in row for row in page.texts("#runs tbody tr"))


def background(page: Page) -> str:
    text: str = page.script("return getComputedStyle(document.body).backgroundColor")
    return text


def test_light_and_dark_follow_the_system_and_the_switch(page: Page) -> None:
    page.open("table-main").one("#table-main .main-svg")
    label = "#table-main .gains .xtitle"
    ink = "return getComputedStyle(document.querySelector(arguments[0])).fill"

    def system(scheme: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    try:
        seen: dict[str, tuple[str, str]] = {}
        for scheme in ("light", "dark"):
            system(scheme)
            page.until(lambda: (background(page), page.script(ink, label)) not in seen.values())
            seen[scheme] = background(page), page.script(ink, label)
        light, dark = seen["light"][0], seen["dark"][0]
        assert light == "rgb(255, 255, 255)"
        assert dark != light
        page.script("document.querySelector('input[value=light]').click()")
        page.until(lambda: (background(page), page.script(ink, label)) == seen["light"])
        page.open("table-main")
        assert background(page) == light, "remembered"
    finally:
        page.script("document.querySelector('input[value=auto]').click()")
        system("")


def test_keys_alone_are_enough(page: Page) -> None:
    page.open()
    for key, name in ((Keys.TAB, "skip"), (Keys.ENTER, "")):
        ActionChains(page.driver).send_keys(key).perform()
        assert page.driver.switch_to.active_element.get_attribute("class") == name
    assert page.driver.switch_to.active_element.get_attribute("id") == "main"
    page.open("table-main")
    numbers = page.all(f"{RESULTS} button.value")
    assert [number.get_attribute("tabindex") for number in numbers].count("0") == 1
    page.script("arguments[0].focus()", numbers[0])
    for key, row, name in (
        (Keys.ARROW_RIGHT, "teacher", "AP50"),
        (Keys.ARROW_DOWN, "student", "AP50"),
        (Keys.ARROW_DOWN, "inherit", "AP50"),
        (Keys.ARROW_LEFT, "inherit", "AP"),
    ):
        ActionChains(page.driver).send_keys(key).perform()
        active = page.driver.switch_to.active_element
        assert active.get_attribute("data-key") == name
        assert active.find_element(By.XPATH, "./ancestor::tr").get_attribute("data-row") == row
    ActionChains(page.driver).send_keys(Keys.ENTER).perform()
    assert page.one("#provenance-title").text == "AP of Student + inheriting"


def test_everything_has_a_name_for_screen_readers(page: Page) -> None:
    """As Chromium tells it to assistive technology."""
    page.open()
    roles = {"button", "link", "combobox", "slider", "checkbox", "radio", "searchbox", "textbox"}
    roles |= {"image", "img", "table", "region", "dialog", "group", "figure", "heading"}
    for view in VIEWS:
        page.show(view)
        page.driver.execute_cdp_cmd("Accessibility.enable", {})
        tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        nodes = [node for node in tree if not node.get("ignored")]
        seen = Counter(node["role"]["value"] for node in nodes)
        assert seen["heading"] >= 1
        nameless = [
            node["role"]["value"]
            for node in nodes
            if node["role"]["value"] in roles - {"figure", "group"}
            and not node.get("name", {}).get("value", "").strip()
        ]
        assert nameless == [], view
        assert page.script("return document.querySelectorAll('h1:not([hidden] *)').length") == 1


@pytest.mark.parametrize("width", [400, 900])
def test_no_view_is_wider_than_the_window(page: Page, width: int) -> None:
    page.open()
    page.driver.set_window_size(width, 900)
    for view in VIEWS:
        page.show(view)
        wide = page.script("return document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, view


def test_without_the_runs_sections_say_why_they_are_empty(
    browser: Chrome, site: Site, tmp_path: Path
) -> None:
    with chdir(site.folder):
        folder = gathered.folder(site.track)
        aside = folder.rename(folder.with_name("aside"))
        try:
            text = site.write_page()
        finally:
            aside.rename(folder)
            site.write_page()
    (tmp_path / "index.html").write_text(text)
    page = Page(browser, tmp_path / "index.html")
    page.complaints()
    for view in ("curves", "precision", "attention", "detections"):
        notice = page.open(view).one(f"#{view} .notice").text
        assert "none of them was on the machine" in notice
    assert page.complaints() == []
