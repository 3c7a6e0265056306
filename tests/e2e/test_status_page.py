"""The status page in a real Chromium: of a running gatepost, and drawn from a made-up one where looks are judged.

With GATEPOST_PICTURES naming a folder, the picture of the documents is drawn anew into it.
"""

from __future__ import annotations

import os
import smtplib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, Route, ViewportSize, sync_playwright

from e2e.clients import NAME, Door, connected
from e2e.gateway import Gatepost, running
from e2e.people import PASSWORD, USER
from e2e.spoken import PATIENCE_SECONDS
from gatehouse import certificates, free_port
from gatepost.facts import AuthResult
from gatepost.observe.page import CONTENT_TYPE, HEADERS, CertificateRow, RefusalRow, Status, UpstreamState, render
from peers import require

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "status.png"
PAUSE_MILLISECONDS = 5_000  # between two updates
SECTIONS = ["Listeners", "Live sessions", "Login attempts", "Certificates", "Last refusals"]
PHONE_PIXELS = 375
CLEAR_REFUSED = "PLAIN: clear_refused"
AA = 4.5  # WCAG 2.2, success criterion 1.4.3
MADE_UP = "http://gatepost.example/"

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
DAY = 86_400
TLS_FILE = "/etc/gatepost/tls.crt"
EXAMPLE = Status(
    version="1.0.0",
    started=NOW - 12.3 * DAY,
    listeners=("submission 192.0.2.25:587", "submissions 192.0.2.25:465", "mx 192.0.2.25:25"),
    observe="192.0.2.25:9587",
    exposed=False,
    upstream=UpstreamState("legacy.example.net:25", up=True, failure="", probe_seconds=0.0042),
    certificates=(
        CertificateRow("client", TLS_FILE, "mail.example.net", NOW + 61.5 * DAY),
        CertificateRow("client", TLS_FILE, "smtp.example.net", NOW + 61.5 * DAY),
        CertificateRow("upstream", "", "legacy.example.net", NOW + 9.5 * DAY),
    ),
    active={
        ("submission", "clear_ready"): 1,
        ("submission", "logged_in_ready"): 14,
        ("submission", "logged_in_mail"): 3,
        ("submissions", "logged_in_ready"): 6,
        ("mx", "tls_mail"): 2,
    },
    limit=10_000,
    attempts={
        ("PLAIN", "accepted"): 8_123,
        ("PLAIN", "rejected"): 57,
        ("PLAIN", "clear_refused"): 31,
        ("LOGIN", "accepted"): 1_904,
        ("LOGIN", "rejected"): 412,
        ("SCRAM-SHA-256", "accepted"): 655,
        ("CRAM-MD5", "mechanism_refused"): 2,
    },
    refusals=(
        RefusalRow(NOW - 41, "198.51.100.23", "submissions", "limit: login_failures"),
        RefusalRow(NOW - 42, "198.51.100.23", "submissions", "LOGIN: rejected"),
        RefusalRow(NOW - 44, "198.51.100.23", "submissions", "LOGIN: rejected"),
        RefusalRow(NOW - 190, "192.0.2.61", "submission", "PLAIN: clear_refused"),
        RefusalRow(NOW - 2_700, "2001:db8:4::9", "mx", "violation: http"),
    ),
)
LONG = ("a" * 63 + ".") * 3 + "example"
WORST = Status(
    version=EXAMPLE.version,
    started=EXAMPLE.started,
    listeners=(f"{LONG} [2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:587",),
    observe="[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:9587",
    exposed=True,
    upstream=UpstreamState(f"{LONG}:25", up=False, failure="greeting_refused", probe_seconds=0.0),
    certificates=(CertificateRow("client", f"/etc/{LONG}", LONG, NOW),),
    active={(LONG, phase): 10_000 for phase in ("clear_chunks", "tls_chunks", "logged_in_chunks")},
    limit=30_000,
    attempts={("SCRAM-SHA-256", result.value): 1e9 for result in AuthResult},
    refusals=(RefusalRow(NOW, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", LONG, "handshake: unsupported_version"),),
)

# Each text's contrast with what is behind it (WCAG 2.2, "contrast ratio" and "relative luminance").
CONTRASTS = """() => {
  const parts = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => {
    const [r, g, b] = parts(color).map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (parts(color)[3] !== 0) return color;
    }
    throw new Error("nothing is behind it");
  };
  const said = node => [...node.childNodes].some(part => part.nodeType === Node.TEXT_NODE && part.data.trim());
  return [...document.body.querySelectorAll("*:not(script, noscript)")].filter(said).map(node => {
    const [low, high] = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => a - b);
    return [node.textContent, (high + 0.05) / (low + 0.05)];
  });
}"""


class Visit:
    """A page that is open, and what the browser asked for and complained of since."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.waiting = self.most_waiting = 0  # requests without an answer yet
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        page.on("request", self._asks)
        page.on("requestfinished", self._is_answered)
        page.on("requestfailed", self._is_answered)
        page.on("console", self._hears)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.clock.install()  # so that a test need not wait for the next update

    def _asks(self, request: Request) -> None:
        self.asked.append(request.url)
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)

    def _is_answered(self, _request: Request) -> None:
        self.waiting -= 1

    def _hears(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def next_update(self, updates: int = 1) -> None:
        self.page.clock.run_for(updates * PAUSE_MILLISECONDS)

    def show(self, status: Status) -> None:
        """The page of a gatepost that does not exist, as the endpoint would send it."""
        headers = {**dict(HEADERS), "content-type": CONTENT_TYPE}
        self.page.route(MADE_UP, lambda route: route.fulfill(body=render(status, NOW), headers=headers))
        self.page.goto(MADE_UP)

    def section(self, title: str) -> Locator:
        return self.page.locator("section", has=self.page.get_by_role("heading", name=title, exact=True))

    @property
    def refusals(self) -> Locator:
        return self.section("Last refusals").locator("tbody tr")

    @property
    def trouble(self) -> Locator:
        return self.page.get_by_text("No answer since")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = require("chromium", package="chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@contextmanager
def visiting(
    browser: Browser,
    gate: Gatepost | None = None,
    *,
    complaints: bool = False,
    script: bool = True,
    phone: bool = False,
) -> Iterator[Visit]:
    """Afterwards, the browser has asked nobody else for anything, and has complained of nothing unless it should."""
    size = ViewportSize(width=PHONE_PIXELS if phone else 880, height=640)
    with browser.new_context(java_script_enabled=script, is_mobile=phone, viewport=size) as context:
        visit = Visit(context.new_page())
        origin = MADE_UP
        if gate is not None:
            origin = f"http://127.0.0.1:{gate.observe}/"
            visit.page.goto(origin)
        yield visit
        assert set(visit.asked) == {origin}
        assert bool(visit.complaints) is complaints, visit.complaints


def response(password: str) -> str:
    """The user's, of PLAIN (RFC 4616 section 2)."""
    return b64encode(f"\0{USER}\0{password}".encode()).decode()


def log_in_without_tls(gate: Gatepost) -> None:
    """A device of old: it sends its password at once."""
    position = gate.settled()
    with smtplib.SMTP(NAME, gate.ports["submission"], timeout=PATIENCE_SECONDS) as client:
        client.ehlo("printer.example")
        assert client.docmd("AUTH", f"PLAIN {response(PASSWORD)}")[0] == 530
    gate.event("authentication", position)


def log_in(door: Door, password: str) -> int:
    with connected(door) as client:
        client.ehlo("client.example")
        return client.docmd("AUTH", f"PLAIN {response(password)}")[0]


def test_it_shows_a_refusal_without_a_reload(browser: Browser, gate: Gatepost) -> None:
    with visiting(browser, gate) as visit:
        known = visit.refusals.count()
        visit.page.evaluate("window.loaded = 'once'")
        log_in_without_tls(gate)
        visit.next_update()
        visit.refusals.nth(known).wait_for()
        assert visit.refusals.first.locator("td").all_text_contents() == ["127.0.0.1", CLEAR_REFUSED, "submission"]
        assert visit.section("Login attempts").get_by_text("clear_refused (without TLS)").count() == 1
        assert visit.page.evaluate("window.loaded") == "once"


def test_it_shows_who_is_connected_and_what_gatepost_shows_them(browser: Browser, gate: Gatepost) -> None:
    with smtplib.SMTP(NAME, gate.ports["mx"], timeout=PATIENCE_SECONDS) as client:
        client.ehlo("mx.example.org")
        with visiting(browser, gate) as visit:
            visit.page.get_by_text("1 of at most").wait_for()
            assert visit.section("Live sessions").locator("th").all_text_contents() == ["Listener", "clear_ready", "mx"]
            assert visit.section("Certificates").get_by_text(NAME, exact=True).is_visible()


def test_no_password_and_no_user_is_on_it(browser: Browser, gate: Gatepost, submission: Door) -> None:
    log_in_without_tls(gate)
    assert log_in(submission, PASSWORD) == 235
    assert log_in(submission, "wrong" + PASSWORD) == 535
    with visiting(browser, gate) as visit:
        assert visit.refusals.get_by_text("PLAIN: rejected").count()
        text = visit.page.content()
    assert [word for word in (PASSWORD, response(PASSWORD), USER) if word in text] == []


def test_without_javascript_it_is_all_there(browser: Browser, gate: Gatepost) -> None:
    log_in_without_tls(gate)
    with visiting(browser, gate, script=False) as visit:
        assert visit.page.locator("h2").all_text_contents() == SECTIONS
        assert visit.refusals.get_by_text(CLEAR_REFUSED).first.is_visible()
        assert visit.page.locator("noscript p").is_visible()
        assert visit.page.get_by_text("is up, and answered the last probe").is_visible()


def test_what_is_selected_stays_so_while_the_rest_is_renewed(browser: Browser, gate: Gatepost) -> None:
    with visiting(browser, gate) as visit:
        known = visit.refusals.count()
        visit.page.evaluate("getSelection().selectAllChildren(document.querySelector('li'))")
        log_in_without_tls(gate)
        visit.next_update()
        visit.refusals.nth(known).wait_for()
        address = f"submission 127.0.0.1:{gate.ports['submission']}"
        assert visit.page.evaluate("getSelection().toString()") == address


def test_it_says_that_there_is_no_answer_when_gatepost_was_stopped(browser: Browser, tmp_path: Path) -> None:
    certificates(tmp_path)
    upstream = {"address": f"127.0.0.1:{free_port()}", "tls": "never", "probe_seconds": 3600}
    with running(tmp_path, upstream) as gate, visiting(browser, gate, complaints=True) as visit:
        seen = visit.page.locator("#updated time").text_content()
        assert not visit.trouble.count()
        assert gate.stop() == 0
        visit.next_update()
        visit.trouble.wait_for()
        assert visit.trouble.text_content() == f"No answer since {seen}."


def test_an_answer_that_comes_again_ends_the_complaint(browser: Browser, gate: Gatepost) -> None:
    with visiting(browser, gate, complaints=True) as visit:
        visit.page.route("**/*", lambda route: route.fulfill(status=500))
        visit.next_update()
        visit.trouble.wait_for()
        visit.page.unroute("**/*")
        visit.next_update()
        visit.trouble.wait_for(state="detached")


def test_it_never_asks_twice_at_once(browser: Browser, gate: Gatepost) -> None:
    def leave_unanswered(_route: Route) -> None:
        pass

    with visiting(browser, gate) as visit:
        visit.page.route("**/*", leave_unanswered)
        with visit.page.expect_request("**/*"):
            visit.next_update()
        visit.next_update(updates=20)
        assert visit.most_waiting == 1


def test_it_asks_for_nothing_while_nobody_looks(browser: Browser, gate: Gatepost) -> None:
    with visiting(browser, gate) as visit:
        visit.page.evaluate("Object.defineProperty(document, 'hidden', {value: true, writable: true})")
        asked = len(visit.asked)
        visit.next_update(updates=20)
        with visit.page.expect_request_finished():
            visit.page.evaluate("document.hidden = false; document.dispatchEvent(new Event('visibilitychange'))")
        assert len(visit.asked) == asked + 1


@pytest.mark.parametrize("status", [EXAMPLE, WORST], ids=["example", "worst"])
def test_on_a_phone_only_its_tables_scroll_sideways(browser: Browser, status: Status) -> None:
    with visiting(browser, phone=True) as visit:
        visit.show(status)
        assert visit.page.evaluate("document.documentElement.scrollWidth") == PHONE_PIXELS
        wide = "[...document.querySelectorAll('.wide')].filter(each => each.scrollWidth > each.clientWidth).length"
        assert visit.page.evaluate(wide) > 0


@pytest.mark.parametrize("status", [EXAMPLE, WORST], ids=["example", "worst"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_can_be_read_by_day_and_by_night(browser: Browser, status: Status, dark: bool) -> None:  # noqa: FBT001  a parameter
    with visiting(browser) as visit:
        visit.page.emulate_media(color_scheme="dark" if dark else "light")
        visit.show(status)
        contrasts = visit.page.evaluate(CONTRASTS)
        assert len(contrasts) > 20
        assert [(text, ratio) for text, ratio in contrasts if ratio < AA] == []
        background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") is not dark


def screenshot(page: Page, path: Path) -> None:
    page.screenshot(path=path, full_page=True)


def test_the_documents_have_its_picture(browser: Browser) -> None:
    if folder := os.environ.get("GATEPOST_PICTURES"):
        with visiting(browser) as visit:
            visit.show(EXAMPLE)
            screenshot(visit.page, Path(folder) / PICTURE.name)
    assert PICTURE.read_bytes().startswith(b"\x89PNG")
