"""The status page: what an operator wants to see first, as one HTML page that needs nothing from outside.

It is drawn from a `Status` and a time, and looks at nothing else: no registry, no clock, no socket. Names come from the
operator and addresses from the network, so every `str` is text and is escaped, unless it is `Html`, which `element`
alone makes. The page is whole without its script, which only fetches it again. The headers forbid all else: scripts and
styles count by their hashes (Content Security Policy Level 3, section 2.3.1).
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape

from gatepost.facts import AuthResult
from gatepost.session.phases import Phase

DAY_SECONDS = 86_400
SOON_DAYS = 14  # as the alert has it; ACME clients renew 30 days before
PHASES = tuple(phase.name.lower() for phase in Phase)
RESULTS = tuple(result.value for result in AuthResult)
EXPLAINED = {AuthResult.CLEAR_REFUSED.value: "clear_refused (without TLS)"}

Counts = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate in use, for one of its names."""

    leg: str
    file: str  # "" for the upstream's own
    name: str
    not_after: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """A client was refused something."""

    when: float  # seconds since the epoch
    address: str
    listener: str
    reason: str


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """What the last probe found."""

    address: str
    up: bool | None  # None before the first probe
    failure: str  # "" when it is up
    probe_seconds: float  # how long it took


@dataclass(frozen=True, slots=True)
class Status:
    """All that the page shows."""

    version: str
    started: float  # seconds since the epoch
    listeners: tuple[str, ...]  # "submission 127.0.0.1:5587"
    observe: str  # where this page is, "127.0.0.1:9587"
    exposed: bool  # other machines may reach it there
    upstream: UpstreamState
    certificates: tuple[CertificateRow, ...]
    active: Counts  # conversations by listener and phase
    limit: int  # of conversations at once
    attempts: Counts  # by mechanism and result
    refusals: tuple[RefusalRow, ...]  # the last ones, in any order


STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1f24; --quiet: #57606a; --line: #d0d7de;
  --link: #0550ae; --good: #116329; --bad: #a40e26; --notice: #fff3cd }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171a; --text: #e6e8ea; --quiet: #a0a8b0; --line: #3a4148;
    --link: #7ab7ff; --good: #7ddf8f; --bad: #ff9a8d; --notice: #3b3000 }
}
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin: 0 }
h2 { font-size: 1.125rem; margin: 1.5rem 0 .25rem }
nav a { margin-right: .5rem }
p, ul { margin: .25rem 0 }
a { color: var(--link) }
.quiet, caption { color: var(--quiet) }
.good { color: var(--good) }
.bad { color: var(--bad); font-weight: bold }
.notice { background: var(--notice); border-left: .25rem solid var(--bad); padding: .5rem .75rem }
.wide { overflow-x: auto }
#trouble { position: sticky; top: 0; background: var(--back); color: var(--bad); font-weight: bold }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal }
caption { text-align: left }
th, td { border-bottom: 1px solid var(--line); padding: .25rem 1rem .25rem 0; text-align: left; vertical-align: top }
tbody th { font-weight: normal; min-width: 6rem }
td time, .numbers * { white-space: nowrap }
.numbers :not(:first-child) { text-align: right }
@media (max-width: 40rem) {
  table { font-size: .8125rem }
  th, td { padding-right: .5rem }
}
"""

# `renew` replaces only what has changed, so that a selection or a table scrolled aside stays as it is.
SCRIPT = """
"use strict";
const PAUSE = 5000;
const trouble = document.getElementById("trouble");

function renew(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  const before = [...old.childNodes], after = [...fresh.childNodes];
  const alike = old.cloneNode().isEqualNode(fresh.cloneNode()) && before.length === after.length;
  if (alike) before.forEach((node, index) => renew(node, after[index]));
  else old.replaceWith(fresh);
}

function tell(text) {  // the same words once only, for those who have them read out
  if (trouble.textContent !== text) trouble.textContent = text;
}

async function update() {
  const answer = await fetch(location.href, {cache: "no-store", signal: AbortSignal.timeout(PAUSE)});
  if (!answer.ok) throw new Error(answer.status);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const name of ["main", "#updated"]) renew(document.querySelector(name), fresh.querySelector(name));
}

async function follow() {
  for (;;) {
    await new Promise(done => setTimeout(done, PAUSE));
    while (document.hidden)
      await new Promise(done => document.addEventListener("visibilitychange", done, {once: true}));
    await update().then(
      () => tell(""),
      () => tell("No answer since " + document.querySelector("#updated time").textContent + "."));
  }
}

follow();
"""

DOCUMENT = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gatepost status</title>
<style>{style}</style>
</head>
<body>
<header>{header}
<noscript><p>Reload the page to renew it.</p></noscript></header>
<p id="trouble" aria-live="polite"></p>
<main>{main}</main>
<script>{script}</script>
</body>
</html>
"""


def _source(text: str) -> str:
    """How a Content-Security-Policy names an inline script or style."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


POLICY = (
    "default-src 'none'",
    f"script-src {_source(SCRIPT)}",
    f"style-src {_source(STYLE)}",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
CONTENT_TYPE = "text/html; charset=utf-8"
HEADERS = [
    ("content-security-policy", "; ".join(POLICY)),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
]


# --- markup ----------------------------------------------------------------------------------------------------------


class Html(str):
    """Markup. Every other `str` is text."""

    __slots__ = ()


def element(name: str, *content: str, **attributes: str) -> Html:
    """An element with its content. `class_` is the attribute class, `aria_live` is aria-live."""
    named = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    inner = "".join(part if isinstance(part, Html) else escape(part) for part in content)
    return Html(f"<{name}{named}>{inner}</{name}>")


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], **attributes: str) -> Html:
    """A table; the first cell of each row is its head."""
    heads = (element("th", name, scope="col") for name in head)
    body = (
        element("tr", element("th", name, scope="row"), *(element("td", cell) for cell in cells))
        for name, *cells in rows
    )
    parts = element("caption", caption), element("thead", element("tr", *heads)), element("tbody", *body)
    table = element("table", *parts, **attributes)
    # Too wide for a phone, it scrolls by itself; the keyboard must be able to get there for that.
    return element("div", table, class_="wide", role="region", aria_label=caption, tabindex="0")


def _matrix(caption: str, corner: str, counts: Counts, columns: Sequence[str]) -> Html:
    """A table of counts, without the rows and columns that have none."""
    found = {key: count for key, count in counts.items() if count}
    shown = sorted({column for _, column in found}, key=columns.index)
    head = [corner, *(EXPLAINED.get(column, column) for column in shown)]
    names = dict.fromkeys(name for name, _ in found)
    rows = ([name, *(f"{found.get((name, column), 0):,.0f}" for column in shown)] for name in names)
    return _table(caption, head, rows, class_="numbers")


def _section(title: str, *content: Html) -> Html:
    return element("section", element("h2", title), *content)


def _moment(seconds: float, shown: str = "%Y-%m-%d %H:%M:%S UTC") -> Html:
    moment = time.gmtime(seconds)
    return element("time", time.strftime(shown, moment), datetime=time.strftime("%Y-%m-%dT%H:%M:%SZ", moment))


def _spell(count: int, unit: str) -> str:
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"


def _duration(seconds: float) -> str:
    """In words, by the two largest units."""
    minutes = max(0, int(seconds)) // 60
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{_spell(days, 'day')}, {_spell(hours % 24, 'hour')}"
    if hours:
        return f"{_spell(hours, 'hour')}, {_spell(minutes % 60, 'minute')}"
    return _spell(minutes, "minute")


# --- the parts of the page -------------------------------------------------------------------------------------------


def _upstream(upstream: UpstreamState) -> Html:
    took = f", and answered the last probe in {upstream.probe_seconds:.3f} s"
    if upstream.up is None:
        state, words, rest = "quiet", "not probed yet", ""
    elif upstream.up:
        state, words, rest = "good", "up", took
    else:
        state, words, rest = "bad", f"down: {upstream.failure}", ""
    told = element("span", element("strong", words, class_=state), aria_live="polite")
    return element("p", f"The upstream {upstream.address} is ", told, rest, ".")


def _headline(status: Status, now: float) -> Html:
    up_since = ("Up since ", _moment(status.started), f", for {_duration(now - status.started)}.")
    notice = (
        f"This page can be read by other machines: it is on {status.observe} and asks for no password. "
        "It shows the addresses of clients. To keep it to this machine, bind it to 127.0.0.1 in [observe]."
    )
    exposed = [element("p", notice, class_="notice")] if status.exposed else []
    return element("div", *exposed, element("p", *up_since), _upstream(status.upstream))


def _listeners(status: Status) -> Html:
    names = (element("li", listener) for listener in status.listeners)
    return _section("Listeners", element("ul", *names))


def _sessions(status: Status) -> Html:
    total = sum(status.active.values())
    if not total:
        return _section("Live sessions", element("p", f"Nobody is connected; up to {status.limit:,} may be at once."))
    caption = f"{total:,.0f} of at most {status.limit:,}, by listener and phase."
    return _section("Live sessions", _matrix(caption, "Listener", status.active, PHASES))


def _attempts(status: Status) -> Html:
    if not any(status.attempts.values()):
        return _section("Login attempts", element("p", "Nobody has tried to log in since the start."))
    caption = "Since the start, by mechanism and result."
    return _section("Login attempts", _matrix(caption, "Mechanism", status.attempts, RESULTS))


def _certificates(status: Status, now: float) -> Html:
    if not status.certificates:
        return _section("Certificates", element("p", "No certificate is in use."))
    rows = (
        [row.name, row.leg, _moment(row.not_after, "%Y-%m-%d"), _left(row, now), row.file or "the upstream's own"]
        for row in sorted(status.certificates, key=lambda row: (row.not_after, row.name))
    )
    head = ("Name", "Leg", "Expires on", "Left", "File")
    return _section("Certificates", _table("The first to expire comes first.", head, rows))


def _left(row: CertificateRow, now: float) -> str:
    left = row.not_after - now
    if left <= 0:
        return element("span", "expired", class_="bad")
    days = _spell(int(left // DAY_SECONDS), "day")
    return element("span", f"{days}: renew it", class_="bad") if left < SOON_DAYS * DAY_SECONDS else days


def _refusals(status: Status) -> Html:
    if not status.refusals:
        return _section("Last refusals", element("p", "Nobody was refused since the start."))
    rows = (
        [_moment(row.when), row.address, row.reason, row.listener]
        for row in sorted(status.refusals, key=lambda row: row.when, reverse=True)
    )
    return _section("Last refusals", _table("The newest comes first.", ("Time", "Client", "Reason", "Listener"), rows))


def render(status: Status, now: float) -> bytes:
    """Draw the page as it is `now`, in seconds since the epoch."""
    links = (element("a", f"/{path}", href=path) for path in ("metrics", "livez", "readyz"))
    header = (
        element("h1", f"gatepost {status.version}"),
        element("nav", *links),
        element("p", "Last update: ", _moment(now), class_="quiet", id="updated"),
    )
    main = (
        _headline(status, now),
        _listeners(status),
        _sessions(status),
        _attempts(status),
        _certificates(status, now),
        _refusals(status),
    )
    page = DOCUMENT.format(style=STYLE, script=SCRIPT, header="\n".join(header), main="\n".join(main))
    return page.encode(errors="replace")  # a file name of the operator's need not be UTF-8
