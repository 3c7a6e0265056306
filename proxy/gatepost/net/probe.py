"""The probe: asks the upstream for its EHLO now and then, for what clients are offered and for readiness."""

from __future__ import annotations

from collections.abc import Callable

import trio

from gatepost.facts import CertificateLoaded, Fact, Leg, RelayChecked, Tls, UpstreamFailure, UpstreamProbed
from gatepost.net.conversation import Conversation
from gatepost.net.upstream import Dialer
from gatepost.policy import Upstream
from gatepost.session.machine import Machine
from gatepost.session.talk import Rules, Steps, Talk
from gatepost.session.upstream import ask_to_relay, probe

# Greeting, EHLO, STARTTLS, EHLO, MAIL, RCPT, RSET, QUIT: the most that there are, in upstream_login seconds.
PROBE_STEPS = 8


class Unrecorded:
    """The probe's recorder: only its outcome is a fact."""

    def record(self, fact: Fact) -> None:
        """Nothing."""


class Watch:
    """The upstream as the last good probe saw it, and what is wrong with it now."""

    def __init__(self, rules: Rules, dialer: Dialer) -> None:
        self.upstream: Upstream | None = None
        self.failure: UpstreamFailure | None = UpstreamFailure.UNREACHABLE  # until a probe says otherwise
        self.relays: bool | None = None  # for strangers, because they come from gatepost; None: not known yet
        self._rules = rules
        self._dialer = dialer

    def take_over(self, before: Watch) -> None:
        """What was known of the same upstream."""
        self.upstream, self.failure, self.relays = before.upstream, before.failure, before.relays

    async def probe(self) -> UpstreamProbed:
        """Ask once. The last good answer stays when this one is not."""
        began = trio.current_time()
        talk, late = await self._converse(probe)
        self.failure = talk.summary.upstream_failure
        if talk.live is None and self.failure is None:  # it did not come to an end of its own
            self.failure = UpstreamFailure.TIMED_OUT if late else UpstreamFailure.GARBLED
        if talk.live is not None and talk.live != self.upstream:  # keep the object while nothing changed: replies
            self.upstream = talk.live  # that were made from it are remembered with it
        return UpstreamProbed(self.failure, trio.current_time() - began, self._certificate(talk.summary.upstream_tls))

    async def check_relay(self, domain: str) -> RelayChecked | None:
        """Ask once whether it relays; None: it gave no answer, and the last one stays."""
        recipient = b"relay-check@" + domain.encode()
        talk, _ = await self._converse(lambda talk: ask_to_relay(talk, recipient))
        if talk.live is None:
            return None
        self.relays = talk.recipients > 0
        return RelayChecked(self.relays)

    async def _converse(self, procedure: Callable[[Talk], Steps[None]]) -> tuple[Talk, bool]:
        """What became of it, and whether it took too long."""
        talk = Talk(self._rules, None)
        with trio.move_on_after(PROBE_STEPS * self._rules.waits.login.seconds) as patience:
            await Conversation(Machine(talk, procedure), Unrecorded(), self._dialer).run()
        return talk, patience.cancelled_caught

    def _certificate(self, tls: Tls | None) -> CertificateLoaded | None:
        """The upstream's own, as far as it can be told."""
        if tls is None or not tls.not_after:
            return None
        return CertificateLoaded(Leg.UPSTREAM, "", (self._dialer.server_name,), tls.not_after)
