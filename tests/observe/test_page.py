"""The status page, as a parser of HTML reads it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from gatepost.facts import AuthResult
from gatepost.observe.page import HEADERS, CertificateRow, RefusalRow, Status, UpstreamState, element, render

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
MINUTE, HOUR, DAY = 60, 3_600, 86_400
EMPTY = Status(
    version="1.2.3",
    started=NOW - 3 * DAY - 4 * HOUR,
    listeners=("submission 127.0.0.1:587", "mx 127.0.0.1:25"),
    observe="127.0.0.1:9587",
    exposed=False,
    upstream=UpstreamState("legacy.example:25", up=True, failure="", probe_seconds=0.0123),
    certificates=(),
    active={("submission", "clear_fresh"): 0},
    limit=10_000,
    attempts={("PLAIN", "accepted"): 0.0},
    refusals=(),
)
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
VOID = {"meta"}
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "nav", "a", "p", "noscript", "main", "div",
    "section", "h2", "ul", "li", "strong", "span", "time", "table", "caption", "thead", "tbody", "tr", "th", "td",
    "script",
}  # fmt: skip


class Document(HTMLParser):
    """Its elements in order, the text of each, and its tables by their captions."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self.feed(page.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")
        if tag == "tr":
            self.tables[self.texts["caption"][-1]].append([])
        elif tag in {"th", "td"}:
            self.tables[self.texts["caption"][-1]][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.texts[tag][-1] += data
        if self._open and self._open[-1] == "caption":
            self.tables[self.texts["caption"][-1]] = []
        if {"th", "td"} & set(self._open):
            self.tables[self.texts["caption"][-1]][-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def main(self) -> str:
        (text,) = self.texts["main"]
        return text


def drawn(status: Status) -> Document:
    return Document(render(status, NOW))


def refused(number: int, address: str = "192.0.2.7") -> RefusalRow:
    return RefusalRow(NOW - number, address, "submission", "PLAIN: clear_refused")


def test_the_head_says_what_runs_and_since_when() -> None:
    document = drawn(EMPTY)
    assert document.texts["h1"] == ["gatepost 1.2.3"]
    assert "Up since 2027-01-12 04:00:00 UTC, for 3 days, 4 hours." in document.main
    assert {"datetime": "2027-01-12T04:00:00Z"} in document.all("time")
    assert "Last update: 2027-01-15 08:00:00 UTC" in document.texts["header"][0]
    assert document.texts["li"] == ["submission 127.0.0.1:587", "mx 127.0.0.1:25"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 minutes"),
        (59, "0 minutes"),
        (MINUTE, "1 minute"),
        (2 * HOUR + 61, "2 hours, 1 minute"),
        (DAY + HOUR, "1 day, 1 hour"),
        (1000 * DAY, "1,000 days, 0 hours"),
    ],
)
def test_how_long_it_is_up_is_said_in_words(seconds: float, words: str) -> None:
    assert f", for {words}." in drawn(replace(EMPTY, started=NOW - seconds)).main


@pytest.mark.parametrize(
    ("up", "failure", "words"),
    [
        (True, "", "The upstream legacy.example:25 is up, and answered the last probe in 0.012 s."),
        (False, "tls_failed", "The upstream legacy.example:25 is down: tls_failed."),
        (None, "", "The upstream legacy.example:25 is not probed yet."),
    ],
)
def test_it_says_how_the_upstream_is(up: bool | None, failure: str, words: str) -> None:  # noqa: FBT001  a parameter
    status = replace(EMPTY, upstream=replace(EMPTY.upstream, up=up, failure=failure))
    assert words in drawn(status).main


def test_it_says_so_when_other_machines_can_read_it() -> None:
    notice = "This page can be read by other machines: it is on 0.0.0.0:9587 and asks for no password."
    assert notice in drawn(replace(EMPTY, observe="0.0.0.0:9587", exposed=True)).main
    assert "other machines" not in drawn(EMPTY).main


def test_what_there_is_none_of_is_said_in_words() -> None:
    document = drawn(EMPTY)
    assert document.tables == {}
    for words in (
        "Nobody is connected; up to 10,000 may be at once.",
        "Nobody has tried to log in since the start.",
        "No certificate is in use.",
        "Nobody was refused since the start.",
    ):
        assert words in document.texts["p"]


def test_live_sessions_stand_by_listener_and_phase_against_the_limit() -> None:
    active = {
        ("submission", "logged_in_mail"): 2,
        ("submission", "clear_ready"): 1,
        ("submission", "tls_fresh"): 0,
        ("mx", "logged_in_mail"): 0,
        ("submissions", "logged_in_mail"): 1_200,
    }
    assert drawn(replace(EMPTY, active=active)).tables == {
        "1,203 of at most 10,000, by listener and phase.": [
            ["Listener", "clear_ready", "logged_in_mail"],
            ["submission", "1", "2"],
            ["submissions", "0", "1,200"],
        ]
    }


def test_attempts_are_a_matrix_that_begins_with_the_accepted() -> None:
    attempts = {
        ("PLAIN", "clear_refused"): 3.0,
        ("PLAIN", "rejected"): 5.0,
        ("PLAIN", "accepted"): 1234.0,
        ("PLAIN", "malformed"): 0.0,
        ("LOGIN", "rejected"): 0.0,
        ("CRAM-MD5", "mechanism_refused"): 1.0,
    }
    assert drawn(replace(EMPTY, attempts=attempts)).tables == {
        "Since the start, by mechanism and result.": [
            ["Mechanism", "accepted", "rejected", "clear_refused (without TLS)", "mechanism_refused"],
            ["PLAIN", "1,234", "5", "3", "0"],
            ["CRAM-MD5", "0", "0", "0", "1"],
        ]
    }


def test_every_result_has_a_place() -> None:
    attempts = {("PLAIN", result.value): 1.0 for result in AuthResult}
    ((head, row),) = drawn(replace(EMPTY, attempts=attempts)).tables.values()
    assert len(head) == len(row) == 1 + len(AuthResult)


def test_a_certificate_says_in_words_that_it_must_be_renewed() -> None:
    certificates = (
        CertificateRow("client", "/etc/gatepost/tls.crt", "mail.example", NOW + 90 * DAY + HOUR),
        CertificateRow("client", "/etc/gatepost/old.crt", "old.example", NOW - HOUR),
        CertificateRow("upstream", "", "legacy.example", NOW + 14 * DAY - 1),
        CertificateRow("client", "/etc/gatepost/tls.crt", "new.example", NOW + 14 * DAY),
        CertificateRow("client", "/etc/gatepost/tls.crt", "now.example", NOW + DAY),
    )
    document = drawn(replace(EMPTY, certificates=certificates))
    assert document.tables["The first to expire comes first."] == [
        ["Name", "Leg", "Expires on", "Left", "File"],
        ["old.example", "client", "2027-01-15", "expired", "/etc/gatepost/old.crt"],
        ["now.example", "client", "2027-01-16", "1 day: renew it", "/etc/gatepost/tls.crt"],
        ["legacy.example", "upstream", "2027-01-29", "13 days: renew it", "the upstream's own"],
        ["new.example", "client", "2027-01-29", "14 days", "/etc/gatepost/tls.crt"],
        ["mail.example", "client", "2027-04-15", "90 days", "/etc/gatepost/tls.crt"],
    ]


def test_the_newest_refusal_comes_first() -> None:
    document = drawn(replace(EMPTY, refusals=(refused(60), refused(1, "2001:db8::7"), refused(5))))
    assert document.tables["The newest comes first."] == [
        ["Time", "Client", "Reason", "Listener"],
        ["2027-01-15 07:59:59 UTC", "2001:db8::7", "PLAIN: clear_refused", "submission"],
        ["2027-01-15 07:59:55 UTC", "192.0.2.7", "PLAIN: clear_refused", "submission"],
        ["2027-01-15 07:59:00 UTC", "192.0.2.7", "PLAIN: clear_refused", "submission"],
    ]


def hostile() -> Status:
    return Status(
        version=HOSTILE,
        started=NOW,
        listeners=(HOSTILE,),
        observe=HOSTILE,
        exposed=True,
        upstream=UpstreamState(HOSTILE, up=False, failure=HOSTILE, probe_seconds=0.0),
        certificates=(CertificateRow(HOSTILE, HOSTILE, HOSTILE, NOW),),
        active={(HOSTILE, "clear_fresh"): 1},
        limit=1,
        attempts={(HOSTILE, "accepted"): 1.0},
        refusals=(RefusalRow(NOW, HOSTILE, HOSTILE, HOSTILE),),
    )


def test_names_and_addresses_stay_text() -> None:
    document = drawn(hostile())
    assert {name for name, _ in document.elements} <= ALLOWED
    assert len(document.all("script")) == 1
    assert not [name for _, attributes in document.elements for name in attributes if name.startswith("on")]
    assert (document.texts["h1"][0] + document.main).count(HOSTILE) == 13


def test_an_attribute_stays_one() -> None:
    assert element("p", "a", element("b", "&"), title='">') == '<p title="&quot;&gt;">a<b>&amp;</b></p>'


def test_braces_and_names_that_are_no_utf_8_are_drawn() -> None:
    certificate = CertificateRow("client", "/etc/\udcfc/{main}.crt", "{0}", NOW)
    (rows,) = drawn(replace(EMPTY, certificates=(certificate,))).tables.values()
    assert rows[1] == ["{0}", "client", "2027-01-15", "expired", "/etc/?/{main}.crt"]


def test_the_headers_allow_its_own_script_and_style_and_nothing_else() -> None:
    document = drawn(hostile())
    policy = dict(HEADERS)["content-security-policy"]
    for name in ("script", "style"):
        (text,) = document.texts[name]
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert not [attributes for _, attributes in document.elements if "style" in attributes]
    assert dict(HEADERS)["cache-control"] == "no-store"


def test_it_refers_to_nothing_outside() -> None:
    page = render(hostile(), NOW).decode()
    assert "://" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert [a["href"] for a in Document(page.encode()).all("a")] == ["metrics", "livez", "readyz"]
    assert not [attributes for _, attributes in Document(page.encode()).elements if "src" in attributes]


def test_it_can_be_read_out() -> None:
    document = drawn(hostile())
    assert document.all("html") == [{"lang": "en"}]
    assert len(document.all("caption")) == len(document.all("table")) == 4
    assert all(head.get("scope") in {"row", "col"} for head in document.all("th"))
    assert all(moment.get("datetime") for moment in document.all("time"))
    live = [attributes for _, attributes in document.elements if attributes.get("aria-live") == "polite"]
    assert len(live) == 2  # that there is no answer, and how the upstream is


def test_a_busy_page_stays_small() -> None:
    status = replace(
        hostile(),
        active={(f"listener{number}", "clear_fresh"): 1 for number in range(3)},
        attempts={("PLAIN", result.value): 1e12 for result in AuthResult},
        refusals=tuple(refused(number, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff") for number in range(20)),
    )
    assert len(render(status, NOW)) < 16_384
