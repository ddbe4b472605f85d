"""A real browser without a screen: Chromium, told by its own driver what to do.

    with browser() as chromium:
        chromium.look(url, Look(width=360, dark=True))
        chromium.text("#services")

What a reader can have otherwise is a `Look`: the width, light or dark, JavaScript or none, motion or none.
"""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")

WITHIN_S = 10.0
POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Look:
    """How somebody looks at the page."""

    width: int = 1280
    height: int = 900
    dark: bool = False
    javascript: bool = True
    still: bool = False
    scale: float = 1.0


class Browser:
    """One window of a running Chromium."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver

    # --- where it looks -----------------------------------------------------------------------------------------

    def look(self, url: str, look: Look = Look()) -> None:
        """Open a page, seen like this; what the console said before is forgotten."""
        self._driver.get("about:blank")
        self.complaints()
        screen = {"width": look.width, "height": look.height, "deviceScaleFactor": look.scale, "mobile": False}
        self._command("Emulation.setDeviceMetricsOverride", screen)
        preferred = {
            "prefers-color-scheme": "dark" if look.dark else "light",
            "prefers-reduced-motion": "reduce" if look.still else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in preferred.items()]
        self._command("Emulation.setEmulatedMedia", {"features": features})
        self._command("Emulation.setScriptExecutionDisabled", {"value": not look.javascript})
        self._driver.get(url)

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Look at another tab meanwhile; the page is hidden, and goes on."""
        here = self._driver.current_window_handle
        self._driver.switch_to.new_window("tab")
        try:
            yield
        finally:
            self._driver.close()
            self._driver.switch_to.window(here)

    def leave(self) -> None:
        """Look at nothing, so that nothing is asked of a server that is about to go."""
        self._driver.get("about:blank")

    def screenshot(self, path: Path) -> None:
        """Save a picture of what is on the screen."""
        taken = self._command("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(taken["data"]))

    # --- what is there ------------------------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """The title, as a tab shows it."""
        return self._driver.title

    def text(self, selector: str = "body") -> str:
        """The text of the first such element, as a reader sees it."""
        return self._driver.find_element(By.CSS_SELECTOR, selector).text

    def texts(self, selector: str) -> list[str]:
        """The text of all of them."""
        found = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText.trim())"
        texts: list[str] = self.evaluate(found, selector)
        return texts

    def element(self, selector: str) -> WebElement:
        """The first such element."""
        return self._driver.find_element(By.CSS_SELECTOR, selector)

    def evaluate(self, script: str, *arguments: object) -> Any:  # noqa: ANN401  JSON can be anything
        """What a script gives back; it is the test's, and runs also where the page's own may not."""
        return self._driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        """Type keys, to whatever has the focus."""
        webdriver.ActionChains(self._driver).send_keys(*keys).perform()

    def complaints(self) -> list[str]:
        """What the console has said since it was asked last: errors, refusals of the policy, warnings."""
        entries = self._driver.get_log("browser")  # type: ignore[no-untyped-call]  # the only one without
        return [str(entry["message"]) for entry in entries]

    def until(self, condition: Callable[[Browser], T], what: str, within: float = WITHIN_S) -> T:
        """Look until the condition's answer is true, and return that."""
        give_up_at = time.monotonic() + within
        while True:
            try:
                if found := condition(self):
                    return found
            except StaleElementReferenceException:  # the page was renewed while it was looked at
                pass
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"waited {within:g} s for {what}; the page says:\n{self.text()}")
            time.sleep(POLL_S)

    def roles(self) -> list[tuple[str, str]]:
        """Role and name of each thing that a screen reader finds, in order."""
        nodes = self._command("Accessibility.getFullAXTree", {})["nodes"]
        return [
            (str(node["role"]["value"]), str(node.get("name", {}).get("value", "")))
            for node in nodes
            if not node["ignored"]
        ]

    def _command(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._driver.execute_cdp_cmd(name, parameters)
        return answer


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a Chromium meanwhile."""
    options = webdriver.ChromeOptions()
    options.binary_location = _program("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # root has no right to the sandbox, and these pages are our own
    driver = webdriver.Chrome(options=options, service=Service(_program("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is not here; `make browser` installs it")
    return path
