"""A person with a browser, at a desk and with a tablet; screenshots go to tests/screenshots."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from client import HubClient, wait_until
from conftest import DECLARED, PASSWORDS, ClientFactory
from machine import ROOT, containers, playbook
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from testinfra.host import Host

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


# --- The admin page -------------------------------------------------------


class AdminPage:
    """The hub's admin page in front of mia, and what the hub is behind it."""

    def __init__(self, page: Page, url: str, login: ClientFactory) -> None:
        self.page, self.url, self.login = page, url, login
        self.page.set_default_timeout(SLOW)
        log_in(page, f"{url}/hub/admin", "mia")
        self.open()

    def open(self) -> None:
        self.page.goto(f"{self.url}/hub/admin")
        expect(self.row("mia")).to_be_visible(timeout=SLOW)

    def row(self, name: str) -> Locator:
        """Of a user in the table."""
        return self.page.get_by_test_id(f"user-row-{name}").first

    def press(self, name: str, within: Locator | None = None) -> None:
        """Press a button, above which stands what its effect is."""
        expect(self.page.locator("#jupyterhub-home-note")).to_contain_text("undone by the next run")
        (within or self.page).get_by_role("button", name=name, exact=True).click()

    def shows(self, *names: str) -> None:
        """The page shows these users, among the first; the hub says the same, and lets somebody else in."""
        self.open()
        for name in names:
            expect(self.row(name)).to_be_visible(timeout=SLOW)
        known = {user["name"] for user in self.login("mia").hub("GET", "/users").json()}
        assert known >= set(names) | {"mia", "bob"}
        assert self.login("bob").get("/hub/home").ok

    def runs(self, name: str, wanted: bool) -> None:
        """A user's server runs, or does not."""
        mia = self.login("mia")

        def as_wanted() -> bool:
            server = mia.server(name)
            return bool(server and server["ready"]) if wanted else server is None

        wait_until(as_wanted, f"server of {name}: {wanted}", timeout=300)


@pytest.fixture
def admin(browser: Browser, url: str, login: ClientFactory, host: Host) -> Iterator[AdminPage]:
    """The admin page; at the end no server runs, and the hub is as the scenario has it."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    yield AdminPage(page, url, login)
    page.close()
    mia = login("mia")
    for user in mia.hub("GET", "/users?state=active").json():
        mia.hub("DELETE", f"/users/{user['name']}/server")
    wait_until(lambda: not mia.hub("GET", "/users?state=active").json(), "servers stopped")
    assert playbook(host, {}).returncode == 0


def add_users(admin: AdminPage, mia: HubClient) -> None:
    """Two at once, both of them admins."""
    admin.press("Add Users")
    admin.page.get_by_test_id("user-textarea").fill("guest\nvisitor")
    admin.page.locator("#admin-check").check()
    admin.press("Add Users", admin.page.locator(".card"))
    expect(admin.row("guest")).to_be_visible(timeout=SLOW)
    admin.shows("guest", "visitor")
    assert mia.model("guest")["admin"] is True


def make_admin(admin: AdminPage, mia: HubClient) -> None:
    """The tick at Admin, which comes with the same name, of a user whose server runs."""
    admin.press("Start Server", admin.row("bob"))
    admin.runs("bob", True)
    admin.open()
    admin.press("Edit User", admin.row("bob"))
    admin.page.locator("#admin-check").check()
    admin.press("Apply")
    expect(admin.row("bob")).to_be_visible(timeout=SLOW)
    admin.shows("bob", "guest")
    assert mia.model("bob")["name"] == "bob" and mia.server("bob")


def try_to_rename(admin: AdminPage) -> None:
    """It is refused."""
    admin.press("Edit User", admin.row("bob"))
    admin.page.get_by_test_id("edit-username-input").fill("bobby")
    admin.press("Apply")
    expect(admin.page.get_by_text("Failed to edit user.")).to_be_visible(timeout=SLOW)
    admin.shows("bob")


def delete_users(admin: AdminPage) -> None:
    """One who was added here, and one who is declared."""
    admin.press("Edit User", admin.row("visitor"))
    admin.press("Delete user")
    expect(admin.row("visitor")).to_have_count(0, timeout=SLOW)
    admin.shows("guest")
    admin.press("Edit User", admin.row("zoe"))
    admin.press("Delete user")
    expect(admin.row("zoe")).to_have_count(0, timeout=SLOW)
    admin.shows("guest")


def change_groups(admin: AdminPage, mia: HubClient) -> None:
    """A new one with a member; one that is declared is deleted."""
    admin.press("Manage Groups")
    admin.press("New Group")
    admin.page.get_by_test_id("group-input").fill("club")
    admin.press("Create")
    admin.page.get_by_role("link", name="club").click()
    admin.page.get_by_test_id("username-input").fill("bob")
    admin.page.get_by_test_id("validate-user").click()
    expect(admin.page.get_by_test_id("username-input")).to_have_value("", timeout=SLOW)
    admin.press("Apply")
    wait_until(lambda: "club" in mia.model("bob")["groups"], "bob in the club")
    admin.shows("bob")
    admin.press("Manage Groups")
    admin.page.get_by_role("link", name="family").click()
    admin.press("Delete Group")
    wait_until(lambda: {g["name"] for g in mia.hub("GET", "/groups").json()} == {"children", "club"}, "group gone")
    admin.shows("bob")


def stop_and_start(admin: AdminPage) -> None:
    """One's server, and all of those that are shown."""
    admin.press("Stop Server", admin.row("bob"))
    admin.runs("bob", False)
    admin.open()
    admin.page.get_by_label("user-search").fill("i")  # all of those that are shown
    expect(admin.row("bob")).to_have_count(0, timeout=SLOW)
    admin.press("Start All")
    for name in ("alice.smith", "kim"):
        admin.runs(name, True)
    admin.shows("kim")
    admin.press("Stop All")
    for name in ("alice.smith", "kim"):
        admin.runs(name, False)
    admin.shows("kim")


def enter_and_shut_down(admin: AdminPage, mia: HubClient, login: ClientFactory, host: Host) -> dict[str, str]:
    """Somebody's server, which outlives the hub; returns the containers other than the hub's."""
    there = re.compile("user.bob")
    admin.press("Spawn Page", admin.row("bob"))
    admin.runs("bob", True)
    expect(admin.page).to_have_url(there, timeout=SLOW)  # goes there by itself, and would cut short what is opened next
    admin.open()
    admin.press("Access Server", admin.row("bob"))
    expect(admin.page).to_have_url(there, timeout=SLOW)
    before = containers(host)
    admin.open()
    admin.press("Shutdown Hub")
    wait_until(lambda: containers(host).get("hub") not in (None, before["hub"]), "hub started again by Docker")
    wait_until(lambda: login("mia"), "hub back")
    admin.shows("guest")
    after = containers(host)
    assert after.pop("hub") != before.pop("hub") and after == before, "another container was touched"
    assert mia.server("bob") and login("bob").enter().ok
    return after


def test_every_button_of_the_admin_page(admin: AdminPage, login: ClientFactory, host: Host) -> None:
    mia = login("mia")
    add_users(admin, mia)
    make_admin(admin, mia)
    try_to_rename(admin)
    delete_users(admin)
    change_groups(admin, mia)
    stop_and_start(admin)
    others = enter_and_shut_down(admin, mia, login, host)

    # All of it is declared, or undone; what is neither stays: bob's server.
    said = playbook(host, {}).stdout
    assert "Removed from the hub, with sessions and tokens: guest" in said
    assert "Added to the hub: zoe" in said and "Groups removed: club" in said
    users = {user["name"]: user for user in mia.hub("GET", "/users").json()}
    assert {name: (user["admin"], set(user["groups"])) for name, user in users.items()} == {
        user["name"]: (user.get("admin", False), set(user.get("groups", []))) for user in DECLARED
    }
    assert containers(host) == containers(host) | others
    again = playbook(host, {}).stdout
    assert "changed=0" in again, again[-3000:]
    login("zoe")
