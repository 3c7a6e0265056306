"""The probe: asks the upstream for its EHLO now and then, for what clients are offered and for readiness."""

from __future__ import annotations

import trio

from gatepost.facts import CertificateLoaded, Fact, Leg, Tls, UpstreamFailure, UpstreamProbed
from gatepost.net.conversation import Conversation
from gatepost.net.upstream import Dialer
from gatepost.policy import Upstream
from gatepost.session.machine import Machine
from gatepost.session.talk import Rules, Talk
from gatepost.session.upstream import probe

PROBE_STEPS = 5  # greeting, EHLO, STARTTLS, EHLO, QUIT: what the whole may take, in upstream_login seconds


class Unrecorded:
    """The probe's recorder: only its outcome is a fact."""

    def record(self, fact: Fact) -> None:
        """Nothing."""


class Watch:
    """The upstream as the last good probe saw it, and what is wrong with it now."""

    def __init__(self, rules: Rules, dialer: Dialer) -> None:
        self.upstream: Upstream | None = None
        self.failure: UpstreamFailure | None = UpstreamFailure.UNREACHABLE  # until a probe says otherwise
        self._rules = rules
        self._dialer = dialer

    async def probe(self) -> UpstreamProbed:
        """Ask once. The last good answer stays when this one is not."""
        began = trio.current_time()
        talk = Talk(self._rules, None)
        with trio.move_on_after(PROBE_STEPS * self._rules.waits.login.seconds) as patience:
            await Conversation(Machine(talk, probe), Unrecorded(), self._dialer).run()
        self.failure = talk.summary.upstream_failure
        if talk.live is None and self.failure is None:  # it did not come to an end of its own
            self.failure = UpstreamFailure.TIMED_OUT if patience.cancelled_caught else UpstreamFailure.GARBLED
        if talk.live is not None and talk.live != self.upstream:  # keep the object while nothing changed: replies
            self.upstream = talk.live  # that were made from it are remembered with it
        return UpstreamProbed(self.failure, trio.current_time() - began, self._certificate(talk.summary.upstream_tls))

    def _certificate(self, tls: Tls | None) -> CertificateLoaded | None:
        """The upstream's own, as far as it can be told."""
        if tls is None or not tls.not_after:
            return None
        return CertificateLoaded(Leg.UPSTREAM, "", (self._dialer.server_name,), tls.not_after)
