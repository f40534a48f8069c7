"""A headless Chromium for tests, if there is one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
DRIVER = shutil.which("chromedriver")
SECONDS = 60  # to wait for anything; machines may be busy

needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="needs Chromium and its driver: apt-get install chromium chromium-driver",
)


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A browser with a profile of its own and without network."""
    options = ChromeOptions()
    assert BROWSER
    options.binary_location = BROWSER
    for argument in (
        "--headless=new",
        "--no-sandbox",  # CI runs as root
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--force-prefers-reduced-motion",
        "--proxy-server=127.0.0.1:9",  # nothing listens there
        f"--user-data-dir={profile}",
        "--window-size=1400,1000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(SECONDS)
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """A page in the browser, with what tests do on it."""

    def __init__(self, driver: Chrome, file: Path) -> None:
        self.driver, self.file = driver, file

    def open(self, view: str = "") -> Page:
        """Load the page anew and wait until it has started."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.file.as_uri()}#{view}")
        self.until(lambda: self.script("return 'ready' in document.documentElement.dataset"))
        return self

    def show(self, view: str) -> None:
        """Go to a view and wait until it is shown."""
        self.script("location.hash = arguments[0]", view)
        self.wait_for(view)

    def wait_for(self, view: str) -> None:
        """Wait until a view is shown."""
        self.until(lambda: self.one("main > .view").get_attribute("id") == view)

    def script(self, text: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(text, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        """The elements of a CSS selector that are shown."""
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return [element for element in found if element.is_displayed()]

    def one(self, selector: str) -> WebElement:
        """The first of them, as soon as it is there."""
        return self.until(lambda: next(iter(self.all(selector)), None))

    def texts(self, selector: str) -> list[str]:
        """Their texts."""
        return [element.text for element in self.all(selector)]

    def until(self, condition: Callable[[], Any]) -> Any:
        """What a condition returns as soon as it is true."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if found := condition():
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {SECONDS} s; console: {self.complaints()}")

    def choose(self, selector: str, text: str) -> None:
        """Choose an option of a select by its text."""
        select = self.one(selector)
        option = next(o for o in select.find_elements(By.TAG_NAME, "option") if o.text == text)
        option.click()

    def slide(self, selector: str, value: float) -> None:
        """Move a slider."""
        move = "const [s, v] = arguments; s.value = v; s.dispatchEvent(new Event('input'))"
        self.script(move, self.one(selector), value)

    def complaints(self) -> list[str]:
        """Errors and warnings in the console, among them everything that was not loaded."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
