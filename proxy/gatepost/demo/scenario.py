"""`gatepost demo`: the legacy server, gatepost in front of it, a mail program, and what each of them saw.

Nothing is pretended: gatepost runs as `gatepost run` would, from a file of the smallest form, on real loopback
sockets. A step holds when the legacy server's own record and the metrics say so, not when nothing went wrong.
"""

from __future__ import annotations

import http.client
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import redirect_stderr
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from prometheus_client.parser import text_string_to_metric_families

from gatepost import app
from gatepost.demo.client import HELLO_NAME, Delivery
from gatepost.demo.screen import Screen
from gatepost.demo.stage import (
    ACCOUNT,
    ENVELOPE,
    LETTER,
    LOOK_AGAIN_SECONDS,
    SETTLING_SECONDS,
    Stage,
    fetch,
    in_thread,
    set_up,
    text_of,
)

DEADLINE_SECONDS = 60.0  # for the whole scenario, which takes about one


def main(once: bool) -> int:  # noqa: FBT001 - the one option of `gatepost demo`
    """Play the scenario, then stay up until SIGINT or SIGTERM unless `once`; 0 when every step held, else 1."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no check mark gets a question mark
    screen = Screen(sys.stdout)
    with TemporaryDirectory(prefix="gatepost-demo-") as name:
        folder = Path(name)
        with (folder / "gatepost.log").open("w") as log, redirect_stderr(log):  # gatepost logs to standard error
            try:
                return trio.run(partial(_demonstrate, screen, folder, once=once))
            except* app.CannotStart as group:
                screen.verdict(_message(group), held=False)
    return 1


def _message(group: BaseException) -> str:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return str(group)


async def _demonstrate(screen: Screen, folder: Path, *, once: bool) -> int:
    held = False
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_at_signal, signals, nursery.cancel_scope)
            with trio.move_on_after(DEADLINE_SECONDS) as deadline:
                stage = await set_up(nursery, screen, folder)
                held = await play(stage)
            if deadline.cancelled_caught:
                screen.verdict(f"not done after {DEADLINE_SECONDS:.0f} seconds", held=False)
            elif not once:
                _print_lines_to_paste(stage, folder)
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()
    return 0 if held else 1


async def _end_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def play(stage: Stage) -> bool:
    """Every step; whether all that they looked at held."""
    steps: tuple[tuple[str, Callable[[Stage], Awaitable[None]]], ...] = (
        ("A password in the clear is refused", _refuse_clear_login),
        ("STARTTLS, AUTH PLAIN, one message", _deliver_with_starttls),
        ("Implicit TLS, AUTH LOGIN, one message", _deliver_with_implicit_tls),
        ("What the metrics say", _look_at_metrics),
    )
    for number, (heading, step) in enumerate(steps, 1):
        stage.screen.heading(f"{number}. {heading}")
        try:
            await step(stage)
        except (OSError, http.client.HTTPException) as error:  # smtplib's and ssl's are OSError too
            stage.screen.verdict(f"{type(error).__name__}: {error}", held=False)
    failures = stage.screen.failures
    stage.screen.heading("Every step held." if failures == 0 else f"{failures} of the checks above failed.")
    return failures == 0


async def _refuse_clear_login(stage: Stage) -> None:
    attempt = await in_thread(stage.mail_program.try_clear_login, stage.submission)
    verdict = stage.screen.verdict
    verdict("EHLO offers STARTTLS and no AUTH", held="STARTTLS" in attempt.offered and "AUTH" not in attempt.offered)
    verdict(
        "AUTH was refused with 530 5.7.0",
        held=attempt.code == 530 and attempt.text.startswith(b"5.7.0 "),  # noqa: PLR2004 - SMTP's own number
    )
    heard = [line.upper() for session in stage.legacy.sessions for line in session.lines]
    verdict(
        "the legacy server heard nothing of this client, only gatepost's probe: EHLO, QUIT",
        held=all(line.startswith((b"EHLO ", b"QUIT")) and HELLO_NAME.upper().encode() not in line for line in heard),
    )


async def _deliver_with_starttls(stage: Stage) -> None:
    submit = partial(stage.mail_program.submit_with_starttls, stage.submission, ENVELOPE, LETTER)
    await _deliver(stage, "submission", submit)


async def _deliver_with_implicit_tls(stage: Stage) -> None:
    submit = partial(stage.mail_program.submit_with_implicit_tls, stage.submissions, ENVELOPE, LETTER)
    await _deliver(stage, "submissions", submit)


async def _deliver(stage: Stage, listener: str, submit: Callable[[], Delivery]) -> None:
    before = len(stage.legacy.sessions)
    delivery = await in_thread(submit)
    sessions = [session for session in stage.legacy.sessions[before:] if session.messages or session.logins]
    arrived = [message for session in sessions for message in session.messages]
    logins = [login for session in sessions for login in session.logins]
    verdict = stage.screen.verdict
    verdict(
        f"{delivery.tls_version}, the certificate verified against the demo's authority",
        held=delivery.tls_version == "TLSv1.3" and delivery.verified,
    )
    verdict("the login was accepted: 235", held=delivery.login_code == 235)  # noqa: PLR2004 - SMTP's own number
    seen = " and ".join(f"AUTH {login.mechanism.decode()}" for login in logins) or "none"
    logged_in = len(sessions) == 1 and [login.user for login in logins] == [ACCOUNT.user.encode()]
    verdict(f"the legacy server got one login, by a mechanism of its own: {seen}", held=logged_in)
    verdict(
        f"it got one message, byte for byte: {len(LETTER)} octets, lines with dots and 8-bit text among them",
        held=not delivery.refused
        and [message.content for message in arrived] == [LETTER]
        and ENVELOPE.sender.encode() in arrived[0].sender
        and arrived[0].recipients == (f"TO:<{ENVELOPE.recipient}>".encode(),),
    )
    if logged_in:
        stage.logins[listener] = logins[0]


async def _look_at_metrics(stage: Stage) -> None:
    expected = _expected_samples(stage)
    found: Mapping[str, float] = {}
    with trio.move_on_after(SETTLING_SECONDS):
        while any(found.get(sample) != value for sample, value in expected.items()):
            _, text = await in_thread(fetch, stage.observe, "/metrics")
            found = _samples(text)
            await trio.sleep(LOOK_AGAIN_SECONDS)
    for sample, value in expected.items():
        seen = f"{found[sample]:g}" if sample in found else "(missing)"
        held = found.get(sample) == value
        stage.screen.verdict(f"{sample} {seen}" + ("" if held else f", expected {value:g}"), held=held)


def _expected_samples(stage: Stage) -> dict[str, float]:
    """What the metrics must say after the steps before: sample in Prometheus' notation -> value."""
    expected = {
        _attempts("submission", "PLAIN", "clear", "clear_refused"): 1.0,
        _sample(
            "gatepost_auth_credentials_exposed_total", listener="submission", mechanism="PLAIN", network="loopback"
        ): 1.0,
    }
    for listener, mechanism in (("submission", "PLAIN"), ("submissions", "LOGIN")):
        expected |= {
            _attempts(listener, mechanism, "tls", "accepted"): 1.0,
            _sample("gatepost_messages_total", listener=listener, result="accepted"): 1.0,
        }
        login = stage.logins.get(listener)
        expected[
            _sample(
                "gatepost_auth_rewrites_total",
                client_mechanism=mechanism,
                upstream_mechanism=login.mechanism.decode() if login else "",
                result="accepted",
            )
        ] = 1.0
    expected["gatepost_upstream_up"] = 1.0
    return expected


def _attempts(listener: str, mechanism: str, channel: str, result: str) -> str:
    labels = {"listener": listener, "mechanism": mechanism, "channel": channel, "result": result}
    return _sample("gatepost_auth_attempts_total", **labels)


def _sample(name: str, /, **labels: str) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


def _samples(text: str) -> dict[str, float]:
    families = text_string_to_metric_families(text)
    return {_sample(sample.name, **sample.labels): sample.value for family in families for sample in family.samples}


def _print_lines_to_paste(stage: Stage, folder: Path) -> None:
    ca, screen = str(stage.certificates.ca), stage.screen
    implicit = text_of(stage.submissions)
    starttls = text_of(stage.submission)
    envelope = ["--mail-from", ENVELOPE.sender, "--mail-rcpt", ENVELOPE.recipient]
    swaks_tls = ["--tls", "--tls-verify", "--tls-ca-path", ca]
    swaks_login = ["--auth", "PLAIN", "--auth-user", ACCOUNT.user, "--auth-password", ACCOUNT.password]
    swaks_envelope = ["--from", ENVELOPE.sender, "--to", ENVELOPE.recipient]
    curl = ["curl", "--cacert", ca, "--user", f"{ACCOUNT.user}:{ACCOUNT.password}", *envelope]
    letter = ["--upload-file", str(folder / "letter.eml")]
    openssl = ["openssl", "s_client", "-quiet", "-crlf", "-CAfile", ca, "-verify_return_error"]
    screen.heading(f"Lines to paste (user {ACCOUNT.user}, password {ACCOUNT.password})")
    for line in (
        ["swaks", "--server", starttls, *swaks_tls, *swaks_login, *swaks_envelope],
        [*openssl, "-starttls", "smtp", "-connect", starttls],
        [*openssl, "-connect", implicit],
        [*curl, "--ssl-reqd", *letter, f"smtp://{starttls}"],
        [*curl, *letter, f"smtps://{implicit}"],
        ["curl", f"http://{text_of(stage.observe)}/metrics"],
        [f"http://{text_of(stage.observe)}/"],
    ):
        screen.say(shlex.join(line))
    screen.heading("Ctrl-C to stop")
