"""One conversation: one task that receives on the leg that the machine awaits, and performs what the machine says.

Nothing here knows SMTP. A sweeper (`net/listeners.py`) wakes whoever is past its `deadline`: a cancel scope for each
wait would cost more CPU than everything else in this file.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import trio

from gatepost.facts import (
    ConversationEnded,
    Ending,
    HandshakeDone,
    HandshakeFailed,
    HandshakeFailure,
    Leg,
    Refusal,
    UpstreamConnected,
    UpstreamFailure,
)
from gatepost.net.answering import Answerer, nobody
from gatepost.net.channel import Channel, Woken
from gatepost.net.clients import ClientSide
from gatepost.net.faults import crashed, failure
from gatepost.net.legs import Legs
from gatepost.net.observing import Recorder
from gatepost.net.tls import HandshakeError
from gatepost.net.upstream import ConnectError, Dialer
from gatepost.sasl.questions import Question, Unavailable
from gatepost.session.machine import Machine
from gatepost.session.vocabulary import Action, Close, Drop, Expire, Open, Record, Secure, Send
from gatepost.wire.refusals import REFUSALS

LAST_WORDS_SECONDS = 5.0  # for a final reply to a peer that may not be reading


class Conversation:
    """A machine and the legs it speaks on."""

    def __init__(self, machine: Machine, recorder: Recorder, dialer: Dialer, answerer: Answerer = nobody) -> None:
        self._now = trio.lowlevel.current_clock().current_time  # `trio.current_time` asks for the clock each time
        self.deadline = self._now() + LAST_WORDS_SECONDS
        self._expiry = inf  # when what the client logged in with is not valid any more
        self._machine = machine
        self._recorder = recorder
        self._dialer = dialer
        self._answerer = answerer
        self._legs = Legs()
        self._client_side: ClientSide | None = None
        self._receiving: Channel | None = None
        self._news: Callable[[], list[Action]] | None = None  # for the machine, from outside
        self._opened: float | None = None  # when the upstream was dialled, until it was heard
        self._seen = 0  # the talk's progress when the deadline was set

    def accept(self, client: Channel, side: ClientSide) -> None:
        """The client's leg, and how it is secured. The probe's conversation has none."""
        self._legs.channels[Leg.CLIENT] = client
        self._client_side = side

    async def run(self) -> None:
        """To the end, whatever happens; raises nothing but cancellation."""
        machine, finished = self._machine, False
        try:
            await self._perform(machine.start())
            while (source := machine.awaits) is not None:
                if self._news is not None:
                    actions = self._tell()
                else:
                    actions = await (self._receive(source) if isinstance(source, Leg) else self._ask(source))
                await self._perform(actions)
            finished = True
        except Exception as bug:  # noqa: BLE001  it must cost one conversation
            await self._crash(bug)
        finally:
            for fact in [] if finished else (*machine.abandon(), ConversationEnded(machine.talk.summary)):
                self._recorder.record(fact)
            self._legs.close()

    def sweep(self, now: float) -> None:
        """From outside, about once a second: nobody waits, and nobody is let in, for longer than was said."""
        if self.deadline <= now:
            self._legs.wake()
        if self._expiry <= now:
            self._expiry = inf
            self._bring(self._machine.expired)
        elif self._news is not None:  # waking is lost on whoever was just about to receive
            self._bring(self._news)

    def drain(self) -> None:
        """From outside: gatepost is stopping; end at the next boundary between commands."""
        self._bring(self._machine.draining)

    def _bring(self, news: Callable[[], list[Action]]) -> None:
        self._news = self._news or news  # either ends it
        if self._receiving is not None:
            self._receiving.wake()

    def _tell(self) -> list[Action]:
        news, self._news = self._news, None
        return news() if news else []

    async def _ask(self, question: Question[Any]) -> list[Action]:
        answer: object = Unavailable()
        with trio.move_on_after(self._machine.patience):
            answer = await self._answerer(question)
        return self._machine.answered(answer)

    async def _receive(self, leg: Leg) -> list[Action]:
        self._receiving = channel = self._legs.channels[leg]
        try:
            data = await channel.receive()
        except Woken:
            return self._machine.late() if self._now() >= self.deadline else self._tell()
        except OSError as error:
            return self._machine.gone(leg, failure(error) if leg is Leg.UPSTREAM else None)
        finally:
            self._receiving = None
        if leg is Leg.UPSTREAM and self._opened is not None:
            self._recorder.record(UpstreamConnected(self._now() - self._opened))
            self._opened = None
        return self._machine.received(leg, data) if data else self._machine.gone(leg)

    async def _perform(self, actions: list[Action]) -> None:
        """Do all of it in order, and then what the machine says to the outcome."""
        self._arm()
        legs = self._legs
        while actions:
            follow: list[Action] = []
            for action in actions:
                if type(action) is Send:
                    unanswered = action.leg is Leg.UPSTREAM and self._machine.talk.in_data
                    if not legs.send(action.leg, action.data, unanswered=unanswered):
                        await legs.flush(action.leg)
                elif type(action) is Record:
                    self._recorder.record(action.fact)
                else:
                    follow = await self._do(action)
            broken = legs.broken
            actions = follow if broken is None else follow + self._machine.gone(broken, None, legs.lose(broken))
            self._arm()

    def _arm(self) -> None:
        """A peer that made progress has earned a fresh wait."""
        progress = self._machine.talk.progress
        if progress != self._seen:
            self._seen = progress
            self.deadline = self._now() + (self._machine.patience or LAST_WORDS_SECONDS)

    async def _do(self, action: Secure | Open | Close | Drop | Expire) -> list[Action]:
        """What changes a leg, and what the machine says to the outcome."""
        if type(action) is Secure:
            return await self._secure(action.leg) if self._legs.broken is None else []
        if type(action) is Open:
            return await self._open()
        if type(action) is Expire:
            self._expiry = self._now() + action.seconds
            return []
        await self._legs.finish(action.leg, action.last) if type(action) is Close else self._legs.drop(action.leg)
        return []

    async def _secure(self, leg: Leg) -> list[Action]:
        began, channel = self._now(), self._legs.channels[leg]
        try:
            side = self._client_side if leg is Leg.CLIENT else self._dialer
            assert side is not None  # noqa: S101  who has no client never secures it
            tls = await side.secure(channel)
        except HandshakeError as error:
            reason = error.reason
        except Woken:
            reason = HandshakeFailure.TIMED_OUT
        except OSError:
            reason = HandshakeFailure.PEER_CLOSED
        else:
            self._recorder.record(HandshakeDone(leg, tls, self._now() - began))
            return self._machine.secured(leg, tls)
        self._recorder.record(HandshakeFailed(leg, reason))
        return self._machine.gone(leg, reason if leg is Leg.CLIENT else UpstreamFailure.TLS_FAILED)

    async def _open(self) -> list[Action]:
        self._opened = self._now()
        try:
            channel = self._legs.channels[Leg.UPSTREAM] = await self._dialer.connect()
        except ConnectError as error:
            return self._machine.gone(Leg.UPSTREAM, error.reason)
        return self._machine.opened(channel.peer)

    async def _crash(self, bug: Exception) -> None:
        self._machine.talk.summary.ending = Ending.CRASHED
        self._recorder.record(crashed(bug))
        if Leg.CLIENT in self._legs.channels:
            with trio.move_on_after(LAST_WORDS_SECONDS):
                await self._legs.finish(Leg.CLIENT, REFUSALS[Refusal.INTERNAL_FAULT])
