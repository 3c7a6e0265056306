"""One conversation: one task that receives on the leg that the machine awaits, and performs what the machine says.

Nothing here knows SMTP. A sweeper (`net/listeners.py`) wakes whoever is past its `deadline`: a cancel scope for each
wait would cost more CPU than everything else in this file.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

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
from gatepost.net.channel import Channel, Woken
from gatepost.net.faults import crashed, failure
from gatepost.net.observing import Recorder
from gatepost.net.tls import HandshakeError
from gatepost.net.upstream import ConnectError, Dialer
from gatepost.session.machine import Machine
from gatepost.session.vocabulary import Action, Close, Drop, Open, Record, Secure, Send
from gatepost.wire.refusals import REFUSALS

LAST_WORDS_SECONDS = 5.0  # for a final reply to a peer that may not be reading


class Conversation:
    """A machine and the legs it speaks on."""

    def __init__(self, machine: Machine, recorder: Recorder, dialer: Dialer) -> None:
        self._now = trio.lowlevel.current_clock().current_time  # `trio.current_time` asks for the clock each time
        self.deadline = self._now() + LAST_WORDS_SECONDS
        self._machine = machine
        self._recorder = recorder
        self._dialer = dialer
        self._legs: dict[Leg, Channel] = {}
        self._context: ssl.SSLContext | None = None
        self._receiving: Channel | None = None
        self._draining = False
        self._opened: float | None = None  # when the upstream was dialled, until it was heard
        self._broken: Leg | None = None  # sending on it failed, and the machine does not know yet
        self._said = b""  # what the broken upstream was heard to say
        self._seen = 0  # the talk's progress when the deadline was set

    def accept(self, client: Channel, context: ssl.SSLContext) -> None:
        """The client's leg, and the context for when it is secured. The probe's conversation has none."""
        self._legs[Leg.CLIENT] = client
        self._context = context

    async def run(self) -> None:
        """To the end, whatever happens; raises nothing but cancellation."""
        machine, finished = self._machine, False
        try:
            await self._perform(machine.start())
            while (leg := machine.awaits) is not None:
                begun = self._draining and not machine.talk.draining  # and the machine has not heard of it
                await self._perform(machine.draining() if begun else await self._next(leg))
            finished = True
        except Exception as bug:  # noqa: BLE001  it must cost one conversation
            await self._crash(bug)
        finally:
            if not finished:
                self._recorder.record(ConversationEnded(machine.talk.summary))
            for channel in self._legs.values():
                channel.close()

    def expire(self) -> None:
        """From outside: the deadline has passed; whatever is waited for, stop waiting."""
        for channel in self._legs.values():
            channel.wake()

    def drain(self) -> None:
        """From outside: gatepost is stopping; end at the next boundary between commands."""
        self._draining = True
        if self._receiving is not None:
            self._receiving.wake()

    async def _next(self, leg: Leg) -> list[Action]:
        """Receive on the awaited leg, and tell the machine."""
        self._receiving = channel = self._legs[leg]
        try:
            data = await channel.receive()
        except Woken:
            if self._now() >= self.deadline:
                return self._machine.late()
            return self._machine.draining() if self._draining else []
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
        while actions:
            follow: list[Action] = []
            for action in actions:
                if type(action) is Send:
                    if not self._send(action.leg, action.data):
                        await self._flush(action.leg)
                elif type(action) is Record:
                    self._recorder.record(action.fact)
                else:
                    follow = await self._do(action)
            actions = follow if self._broken is None else follow + self._lose(self._broken)
            self._arm()

    def _arm(self) -> None:
        """A peer that made progress has earned a fresh wait."""
        progress = self._machine.talk.progress
        if progress != self._seen:
            self._seen = progress
            self.deadline = self._now() + (self._machine.patience or LAST_WORDS_SECONDS)

    def _send(self, leg: Leg, data: bytes) -> bool:
        """What cannot be sent breaks the leg; the machine is told when the rest of its actions is done."""
        try:
            if leg is Leg.UPSTREAM and self._machine.talk.in_data and (said := self._legs[leg].received_already()):
                self._broken, self._said = leg, said  # an answer to what it has not seen: nothing more goes there
            return leg is self._broken or self._legs[leg].send(data)
        except OSError:
            self._broken = leg
            return True

    async def _flush(self, leg: Leg) -> None:
        try:
            await self._legs[leg].flush()
        except (OSError, Woken):
            self._broken = leg

    async def _do(self, action: Secure | Open | Close | Drop) -> list[Action]:
        """What changes a leg, and what the machine says to the outcome."""
        if type(action) is Secure:
            return await self._secure(action.leg) if self._broken is None else []
        if type(action) is Open:
            return await self._open()
        if type(action) is Close:
            with suppress(OSError, Woken):
                await self._legs[action.leg].finish(action.last)
        self._legs.pop(action.leg).close()
        return []

    def _lose(self, leg: Leg) -> list[Action]:
        """Tell of a broken leg, and what the upstream said before it went: it may be why."""
        channel, said = self._legs.get(leg), self._said
        self._broken, self._said = None, b""
        if leg is Leg.UPSTREAM and channel is not None:
            said = said or channel.received_already()
        return self._machine.gone(leg, None, said)

    async def _secure(self, leg: Leg) -> list[Action]:
        began, channel = self._now(), self._legs[leg]
        try:
            if leg is Leg.UPSTREAM or self._context is None:
                tls = await self._dialer.secure(channel)
            else:
                tls = await channel.secure(self._context, server_side=True)
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
            channel = self._legs[Leg.UPSTREAM] = await self._dialer.connect()
        except ConnectError as error:
            return self._machine.gone(Leg.UPSTREAM, error.reason)
        return self._machine.opened(channel.peer)

    async def _crash(self, bug: Exception) -> None:
        self._machine.talk.summary.ending = Ending.CRASHED
        self._recorder.record(crashed(bug))
        if Leg.CLIENT in self._legs:
            with trio.move_on_after(LAST_WORDS_SECONDS):
                await self._do(Close(Leg.CLIENT, REFUSALS[Refusal.INTERNAL_FAULT]))
