"""A person with a browser, at a desk and with a tablet; screenshots go to tests/screenshots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PASSWORDS, ClientFactory
from machine import ROOT
from playwright.sync_api import Browser, Page, expect, sync_playwright

SCREENSHOTS = ROOT / "tests/screenshots"
CHROMIUM = "/usr/bin/chromium"
# As root and without a network of its own, Chromium must leave its sandbox and its updates be.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SLOW = 60_000  # milliseconds; a server starts within


@pytest.fixture(scope="module")
def browser(login: ClientFactory) -> Iterator[Browser]:
    """Debian's Chromium without a window; zoe's server is stopped at the end."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()
    login("zoe").stop()


def log_in(page: Page, url: str, name: str) -> None:
    """Fill in the form of the hub's first page."""
    page.goto(url)
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.get_by_role("button", name="Sign in").click()


def wait_for_lab(page: Page) -> None:
    """Wait for one's server and for JupyterLab, then show it without what was open before."""
    expect(page.locator("#jp-main-dock-panel")).to_be_visible(timeout=SLOW)
    page.goto(f"{page.url.split('?')[0]}?reset")
    expect(page.locator(".jp-Launcher")).to_be_visible(timeout=SLOW)
    expect(page.locator("#jupyterlab-splash")).to_have_count(0, timeout=SLOW)


def picture(page: Page, name: str) -> Path:
    """Keep what the page looks like now."""
    SCREENSHOTS.mkdir(exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path)
    return path


def test_desk(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(url)
    expect(page.get_by_label("Username")).to_be_visible()
    picture(page, "login")

    log_in(page, url, "zoe")
    wait_for_lab(page)
    page.locator(".jp-LauncherCard[data-category='Notebook']").first.click()
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=SLOW)
    cell = page.locator(".jp-Notebook .cm-content").first
    cell.click()
    cell.press_sequentially("5 * 4")
    expect(cell).to_have_text("5 * 4")
    cell.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-output").first).to_have_text("20", timeout=SLOW)
    picture(page, "notebook")
    page.close()


def test_wrong_password_says_so(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(url)
    page.get_by_label("Username").fill("zoe")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Invalid username or password")).to_be_visible()
    picture(page, "refused")
    page.close()


def test_tablet(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport={"width": 1180, "height": 820}, has_touch=True, device_scale_factor=2)
    log_in(page, url, "zoe")
    wait_for_lab(page)
    picture(page, "tablet")
    page.close()
