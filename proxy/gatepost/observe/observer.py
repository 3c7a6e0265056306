"""Where all facts go: those of a conversation to a recorder of its own, those of the process to counts and events here.

Facts are put down as they happen and told in batches: a batch finds the code and the data that it needs at hand, which
takes half the CPU of telling each fact amid a conversation (docs/decisions/0013). What the status page shows beside
the counts is kept here, too: the upstream, and the last refusals.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from gatepost.facts import (
    BackendAsked,
    BackendResult,
    CertificateLoaded,
    CertificatesRefused,
    ConnectionRefused,
    DrainBegan,
    Leg,
    Measured,
    Peer,
    ProcessFact,
    RelayChecked,
    SettingsLoaded,
    SettingsRefused,
    Started,
    Stopped,
    TimerLate,
    UpstreamFailure,
    UpstreamProbed,
    UsersLoaded,
    UsersRefused,
)
from gatepost.observe.logins import Logins
from gatepost.observe.logs import Log
from gatepost.observe.metrics import Metrics
from gatepost.observe.networks import Networks
from gatepost.observe.page import RefusalRow
from gatepost.observe.recorder import ConversationRecorder, Desk
from gatepost.observe.series import Series, Shared
from gatepost.settings import Settings

REMEMBERED_REFUSALS = 20
MOST_NAMES = 20  # of a certificate, in an event
BATCH_SECONDS = 0.02
MOST_AT_ONCE = 50  # facts, which takes about a millisecond
LAST_WAIT_SECONDS = 1.0
EXPIRY = "gatepost_certificate_not_after_timestamp_seconds"
SETTINGS_TAKEN = "gatepost_settings_last_reload_successful"
CERTIFICATES_TAKEN, USERS_TAKEN = "gatepost_certificate_last_reload_successful", "gatepost_users_last_reload_successful"


class Observer:
    """All of it; `log` is the one way out for events."""

    def __init__(self, settings: Settings, log: Log) -> None:
        """Raises OSError when the key for hashing logins cannot be read."""
        networks = Networks(settings.observe.networks)
        listeners = tuple(listener.name for listener in settings.listeners)
        self.metrics = Metrics({"listener": listeners, "network": networks.names})
        self.metrics.set(SETTINGS_TAKEN, 1)
        self.metrics.set(CERTIFICATES_TAKEN, 1)
        self.metrics.set(USERS_TAKEN, 1)  # also where there is none
        self.refusals: deque[RefusalRow] = deque(maxlen=REMEMBERED_REFUSALS)
        self.started: Started | None = None
        self.upstream: UpstreamProbed | None = None
        self._log = log
        self._pending: deque[tuple[ConversationRecorder | None, Any, float]] = deque()
        self._news = trio.Event()
        self._shared = Shared(self.metrics, networks.names)
        logins = Logins(settings.log)
        self._desks = {name: self._desk(name, networks, logins) for name in listeners}
        self._certificates: dict[tuple[str, str], tuple[str, ...]] = {}  # the names of each, by leg and file
        self._active: set[tuple[str, str]] = set()  # phases that somebody stood in when it was measured last
        self._relays: bool | None = None
        self._ids = (f"{number:016x}" for number in itertools.count(int.from_bytes(os.urandom(7), "big")))
        self._handlers: dict[type, Callable[[Any], None]] = {
            UpstreamProbed: self._probed,
            RelayChecked: self._relay_checked,
            CertificateLoaded: self._loaded,
            CertificatesRefused: self._not_loaded,
            UsersLoaded: self._users_loaded,
            UsersRefused: self._users_not_loaded,
            BackendAsked: self._asked,
            ConnectionRefused: self._turned_away,
            Measured: self._measured,
            TimerLate: lambda fact: self.metrics.observe(self._shared.loop_seconds, fact.seconds),
            SettingsLoaded: self._settings_loaded,
            SettingsRefused: self._settings_refused,
            Started: self._started,
            DrainBegan: lambda fact: log.info("draining", **{"gatepost.conversations.open": fact.conversations}),
            Stopped: lambda fact: log.info("stopped", **{"gatepost.cut_off": fact.cut_off}),
        }

    def _desk(self, listener: str, networks: Networks, logins: Logins) -> Desk:
        series = Series(self.metrics, listener, networks.names)
        return Desk(
            listener,
            self.metrics,
            series,
            self._shared,
            self._log,
            logins,
            networks.name_of,
            self._turned_down,
            self._put_down,
        )

    def conversation(self, listener: str, peer: Peer) -> ConversationRecorder:
        """The recorder of a new conversation."""
        desk = self._desks[listener]
        self.metrics.add(desk.series.conversations)
        return ConversationRecorder(desk, next(self._ids), peer)

    def record(self, fact: ProcessFact) -> None:
        self._put_down(None, fact)

    def _put_down(self, recorder: ConversationRecorder | None, fact: object) -> None:
        if not self._pending:
            self._news.set()
        self._pending.append((recorder, fact, time.monotonic()))

    async def keep_telling(self) -> None:
        """Until cancelled."""
        while True:
            if self._log.line.flush() and not self._pending:
                await self._news.wait()
            await trio.sleep(BATCH_SECONDS)
            await self.catch_up()

    async def catch_up(self) -> None:
        """Count and log all that was recorded so far, in its order, with a turn for everybody else now and then."""
        while self._pending:
            self._tell(MOST_AT_ONCE)
            await trio.lowlevel.checkpoint()

    def tell(self) -> None:
        """The same at once."""
        self._tell(len(self._pending))
        self._log.line.flush()

    def finish(self) -> None:
        """The same at the end, when a reader of the log that is slow is waited for a little."""
        self.tell()
        self._log.line.flush(LAST_WAIT_SECONDS)

    def _tell(self, most: int) -> None:
        pending = self._pending
        for _ in range(min(most, len(pending))):
            recorder, fact, now = pending.popleft()
            try:
                if recorder is None:
                    self._handlers[type(fact)](fact)
                else:
                    recorder.tell(fact, now)
            except Exception as bug:  # noqa: BLE001  it must not end the mail service
                self._log.error("observation failed", **{"error.type": type(bug).__name__})
        if not pending and self._news.is_set():  # otherwise somebody may be waiting for it
            self._news = trio.Event()

    def _turned_down(self, address: str, listener: str, reason: str) -> None:
        self.refusals.appendleft(RefusalRow(time.time(), address, listener, reason))

    def _turned_away(self, fact: ConnectionRefused) -> None:
        self.metrics.add(self._desks[fact.listener].series.turned_away[fact.limit])
        if fact.address:
            self._turned_down(fact.address, fact.listener, f"limit: {fact.limit.value}")

    # --- the process

    def _started(self, fact: Started) -> None:
        self.started = fact
        self.metrics.set("gatepost_conversations_limit", fact.conversations)
        where = {"gatepost.observe": fact.observe}
        event = {"gatepost.listeners": fact.listeners, **where, "gatepost.conversations.limit": fact.conversations}
        self._log.info("started", **event)
        if fact.exposed:
            self._log.warning("observed from elsewhere", **where)

    def _settings_loaded(self, fact: SettingsLoaded) -> None:
        self.metrics.set("gatepost_conversations_limit", fact.conversations)
        self.metrics.set(SETTINGS_TAKEN, 1)
        self._log.info("settings loaded", **{"gatepost.conversations.limit": fact.conversations})

    def _settings_refused(self, fact: SettingsRefused) -> None:
        self.metrics.set(SETTINGS_TAKEN, 0)
        self._log.error("settings refused", **{"gatepost.error.message": fact.why})

    def _measured(self, fact: Measured) -> None:
        self.metrics.set("gatepost_log_events_lost", self._log.line.lost)
        for series in self._active - fact.active.keys():
            self.metrics.set("gatepost_conversations_active", 0, *series)
        self._active = set(fact.active)
        for series, count in fact.active.items():
            self.metrics.set("gatepost_conversations_active", count, *series)
        for listener, count in fact.waiting.items():
            self.metrics.set("gatepost_accept_queue_length", count, listener)

    def _probed(self, fact: UpstreamProbed) -> None:
        before, self.upstream = self.upstream, fact
        up = fact.failure is None
        self.metrics.set("gatepost_upstream_up", up)
        self.metrics.set("gatepost_upstream_probe_duration_seconds", fact.seconds)
        if fact.certificate is not None:
            self._note_expiry(fact.certificate.leg, "", fact.certificate.names, fact.certificate.not_after)
        elif up:
            self._note_expiry(Leg.UPSTREAM, "", (), 0.0)  # it shows none any more
        if before is None or before.failure is not fact.failure:  # a change, not every probe
            self._announce(fact.failure, fact.seconds)

    def _announce(self, failure: UpstreamFailure | None, seconds: float) -> None:
        if failure is None:
            self._log.info("upstream up", **{"gatepost.duration": round(seconds, 6)})
        else:
            self._log.warning("upstream down", **{"error.type": failure.value})

    def _relay_checked(self, fact: RelayChecked) -> None:
        before, self._relays = self._relays, fact.relays
        self.metrics.set("gatepost_upstream_relays", fact.relays)
        if fact.relays is before:
            return
        if fact.relays:
            self._log.warning("upstream relays")
        else:
            self._log.info("upstream does not relay")

    def _loaded(self, fact: CertificateLoaded) -> None:
        self.metrics.set(CERTIFICATES_TAKEN, 1)
        self._note_expiry(fact.leg, fact.file, fact.names or ("",), fact.not_after)
        event = {"file.path": fact.file, "gatepost.leg": fact.leg.value, "gatepost.names": fact.names[:MOST_NAMES]}
        expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(fact.not_after))
        self._log.info("certificate loaded", **event, **{"tls.server.not_after": expiry})

    def _note_expiry(self, leg: Leg, file: str, names: tuple[str, ...], not_after: float) -> None:
        """Of the names that a certificate has now; those that it had before are not served any more."""
        place = (leg.value, file)
        for name in set(self._certificates.get(place, ())) - set(names):
            self.metrics.forget(EXPIRY, *place, name)
        self._certificates[place] = names
        for name in names:
            self.metrics.set(EXPIRY, not_after, *place, name)

    def _not_loaded(self, fact: CertificatesRefused) -> None:
        self.metrics.set(CERTIFICATES_TAKEN, 0)
        self._log.error("certificates refused", **{"gatepost.error.message": fact.why})

    def _users_loaded(self, fact: UsersLoaded) -> None:
        self.metrics.set(USERS_TAKEN, 1)
        self.metrics.set("gatepost_users", fact.users)
        self._log.info("users loaded", **{"file.path": fact.file, "gatepost.users": fact.users})

    def _users_not_loaded(self, fact: UsersRefused) -> None:
        self.metrics.set(USERS_TAKEN, 0)
        self._log.error("users refused", **{"gatepost.error.message": fact.why})

    def _asked(self, fact: BackendAsked) -> None:
        self.metrics.add(self.metrics.place("gatepost_backend_requests", fact.backend.value, fact.result.value))
        if fact.result is BackendResult.CACHED:
            return
        self.metrics.observe(self._shared.backend_seconds[fact.backend], fact.seconds)
        if fact.result is not BackendResult.ANSWERED:
            event = {"gatepost.backend": fact.backend.value, "error.type": fact.result.value}
            self._log.warning("backend failed", **event, **{"gatepost.duration": round(fact.seconds, 6)})
