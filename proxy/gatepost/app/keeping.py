"""What is looked after while gatepost runs: the upstream, certificates, users, time; and whether all that is ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from gatepost.backends.users import Users
from gatepost.facts import CertificatesRefused, TimerLate, UsersRefused
from gatepost.net.listeners import Regime
from gatepost.net.probe import Watch
from gatepost.net.tls import Certificates
from gatepost.observe.observer import Observer
from gatepost.settings import Auth, RelayCheckSettings, Settings

LAG_SECONDS = 0.5  # how often the loop's own lateness is looked at
RELAY_RETRY_SECONDS = 5.0  # while the upstream gives no answer


async def keep(regime: Regime, settings: Settings, observer: Observer) -> None:
    """Look after a regime until cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep_probing, regime.watch, settings.upstream.probe_seconds, observer)
        nursery.start_soon(_keep_certificates, regime.certificates, settings.tls.watch_seconds, observer)
        if _admits_strangers(settings):
            nursery.start_soon(_keep_checking_relay, regime.watch, settings.relay_check, observer)


async def keep_time(observer: Observer) -> None:
    """How late a timer goes off is how long somebody who had something to do had to wait."""
    while True:
        due = trio.current_time() + LAG_SECONDS
        await trio.sleep_until(due)
        observer.record(TimerLate(max(0.0, trio.current_time() - due)))


async def _keep_probing(watch: Watch, seconds: float, observer: Observer) -> None:
    while True:
        observer.record(await watch.probe())
        await trio.sleep(seconds)


async def _keep_checking_relay(watch: Watch, settings: RelayCheckSettings, observer: Observer) -> None:
    while True:
        checked = await watch.check_relay(settings.domain)
        if checked is not None:
            observer.record(checked)
        await trio.sleep(RELAY_RETRY_SECONDS if checked is None else settings.seconds)


class Complaints:
    """What goes wrong with something that is tried again and again: each complaint is told once.

    `said` is the last one, until all is well.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.said = ""

    @contextmanager
    def told_once(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if str(error) != self.said:
                self.said = str(error)
                self._tell(self.said)
        else:
            self.said = ""


async def _keep_certificates(certificates: Certificates, seconds: float, observer: Observer) -> None:
    complaints = Complaints(lambda why: observer.record(CertificatesRefused(why)))
    while True:
        await trio.sleep(seconds)
        with complaints.told_once():
            changed = certificates.reload()
            for served in certificates.generation.loaded if changed or complaints.said else ():
                observer.record(served)


async def keep_users(users: Users, seconds: float, observer: Observer) -> None:
    complaints = Complaints(lambda why: observer.record(UsersRefused(why)))
    while True:
        with trio.move_on_after(seconds):
            await users.wait_urgent()
        before = users.loaded
        await users.write_back()  # which takes over what somebody else wrote meanwhile
        with complaints.told_once():
            if await users.reload() or users.loaded != before or complaints.said:
                observer.record(users.loaded)


def why_not_ready(regime: Regime, settings: Settings, stop: trio.Event) -> list[str]:
    """Why no new client should be sent here; empty: ready."""
    reasons = []
    if stop.is_set():
        reasons.append("stopping")
    if regime.watch.failure is not None:
        reasons.append(f"upstream: {regime.watch.failure.value}")
    if regime.watch.relays and _admits_strangers(settings) and not settings.relay_check.local_domains:
        reasons.append("relay: the upstream relays for anybody who comes from here; set relay_check.local_domains")
    now = time.time()
    reasons += [
        f"certificate expired: {served.file}"
        for served in regime.certificates.generation.loaded
        if served.not_after <= now
    ]
    return reasons


def _admits_strangers(settings: Settings) -> bool:
    """Whether mail may come without a login."""
    return any(listener.auth is not Auth.REQUIRED for listener in settings.listeners)
