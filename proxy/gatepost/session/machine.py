"""The machine: what the shell tells it comes in, actions come out. No I/O, no clock, no callback.

    while machine.awaits is not None:
        actions = <receive on that leg, and tell the machine>
        for action in actions: <perform it>

It is half-duplex, as SMTP is: at any time exactly one leg is waited for, or the answer to one question, for at most
`patience` seconds. The talk's `progress` rises when a peer earned a fresh wait: a line, a reply or part of a body came
whole. Bytes of the other leg may be told at any time; they are kept until their turn.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gatepost.facts import (
    Channel,
    ConversationEnded,
    Ending,
    Fact,
    HandshakeFailure,
    Leg,
    Limit,
    Peer,
    Refusal,
    Tls,
    UpstreamFailure,
    Violation,
)
from gatepost.sasl.questions import Question
from gatepost.session import login, mail, upstream
from gatepost.session.phases import Duty, Phase, Stage
from gatepost.session.talk import Hangup, Steps, Talk, hang_up, settle
from gatepost.session.vocabulary import (
    Action,
    ClientLate,
    ClientLost,
    Close,
    Parting,
    Record,
    Secure,
    UpstreamLost,
    Wait,
)
from gatepost.settings import ListenerTls
from gatepost.wire import commands
from gatepost.wire.commands import AUTH_LINE_BYTES, LINE_BYTES, BadCharacters, Command, Verb
from gatepost.wire.lines import LineTooLong
from gatepost.wire.replies import encode

SENDS_MAIL = frozenset({Duty.MAIL, Duty.RCPT, Duty.DATA, Duty.BDAT})  # all other commands are idle until a login
READY_FOR_TLS = encode(220, b"2.0.0 Ready to start TLS")
TLS_HANDSHAKE = b"\x16"  # RFC 8446 section 5.1: the content type a TLS hello begins with
GOODBYE = encode(221, b"2.0.0 Bye")
ENDS_GROUP = frozenset({Verb.EHLO, Verb.HELO, Verb.STARTTLS, Verb.AUTH, Verb.QUIT, Verb.HTTP})  # RFC 2920 section 3.1
TRANSACTION = frozenset({Verb.MAIL, Verb.RCPT, Verb.BDAT})  # their replies change where a client stands in one


class Machine:
    """Runs one procedure over one talk."""

    __slots__ = ("_procedure", "_wait", "awaits", "patience", "talk")

    def __init__(self, talk: Talk, procedure: Callable[[Talk], Steps[None]]) -> None:
        self.talk = talk
        self._procedure = procedure(talk)
        self._wait: Wait | None = None
        self.awaits: Leg | Question[Any] | None = None  # what is waited for; None: finished, or not started
        self.patience = 0.0  # seconds

    def start(self) -> list[Action]:
        return self._resume()

    def opened(self, peer: Peer) -> list[Action]:
        """The upstream leg is connected."""
        self.talk.peer = peer
        return self._resume()

    def received(self, leg: Leg, data: bytes) -> list[Action]:
        """Bytes came, at least one."""
        (self.talk.client if leg is Leg.CLIENT else self.talk.upstream).put(data)
        return self._resume() if leg is self.awaits else []

    def secured(self, leg: Leg, tls: Tls) -> list[Action]:
        if leg is Leg.CLIENT:
            self.talk.secured(tls)
        else:
            self.talk.upstream_tls = tls
        return self._resume()

    def gone(self, leg: Leg, why: HandshakeFailure | UpstreamFailure | None = None, said: bytes = b"") -> list[Action]:
        """A leg ended, could not be opened, or could not be secured. `said`: the upstream's last words, if any.

        Last words are no answer to what was being sent: they may say why, and are never an acceptance.
        """
        if leg is Leg.UPSTREAM:
            if why is None and not self.talk.upstream_open:
                return []  # it was given up already
            if said:
                self.talk.upstream.put(said)
            return self._interrupt(UpstreamLost(why if isinstance(why, UpstreamFailure) else UpstreamFailure.CLOSED))
        failed = isinstance(why, HandshakeFailure)
        self.talk.summary.ending = Ending.HANDSHAKE_FAILED if failed else Ending.CLIENT_GONE
        return self._interrupt(ClientLost())

    def late(self) -> list[Action]:
        """The awaited leg was given `patience` seconds and made no progress."""
        if self.awaits is Leg.CLIENT:
            return self._interrupt(ClientLate())
        return self._interrupt(UpstreamLost(UpstreamFailure.TIMED_OUT))

    def answered(self, answer: object) -> list[Action]:
        """The answer to the question that is awaited, or Unavailable."""
        self.talk.heard = answer
        return self._resume()

    def draining(self) -> list[Action]:
        """Gatepost is stopping: end at the next boundary between commands, which may be now."""
        return self._part(Ending.DRAINED, Refusal.DRAINING)

    def expired(self) -> list[Action]:
        """What the client logged in with is not valid any more: end at the next boundary between commands."""
        return self._part(Ending.TOKEN_EXPIRED, Refusal.TOKEN_EXPIRED)

    def abandon(self) -> list[Fact]:
        """The end, wherever it stands: what has happened that nobody was told yet."""
        self._procedure.close()
        return [action.fact for action in self.talk.actions if isinstance(action, Record)]

    def _part(self, ending: Ending, refusal: Refusal) -> list[Action]:
        self.talk.parting = self.talk.parting or (ending, refusal)
        return self._interrupt(Parting()) if self._wait and self._wait.boundary else []

    def _resume(self) -> list[Action]:
        try:
            wait = self._procedure.send(None)
        except StopIteration:
            wait = None
        return self._step(wait)

    def _interrupt(self, why: Exception) -> list[Action]:
        if self._wait is None:
            return []
        self.talk.progress += 1  # whoever is waited for behind it has a fresh wait
        try:
            wait = self._procedure.throw(why)
        except StopIteration:
            wait = None
        return self._step(wait)

    def _step(self, wait: Wait | None) -> list[Action]:
        talk = self.talk
        if wait is not self._wait:
            self._wait = wait
            talk.progress += 1
            self.awaits, self.patience = (wait.source, wait.seconds) if wait else (None, 0.0)
        actions = talk.actions
        talk.actions = []
        return actions


# --- the conversation ------------------------------------------------------------------------------------------------


def converse(talk: Talk) -> Steps[None]:
    """A whole conversation, from the greeting to the last Close, whatever happens in it."""
    try:
        yield from _serve(talk)
    except Hangup as hangup:
        _part(talk, hangup.ending, hangup.refusal)
    except ClientLate:
        _part(talk, Ending.CLIENT_TIMED_OUT, Refusal.CLIENT_TIMED_OUT)
    except Parting:
        _part(talk, *(talk.parting or (Ending.DRAINED, Refusal.DRAINING)))
    except UpstreamLost as lost:
        talk.drop_upstream(lost.reason)
        garbled = lost.reason is UpstreamFailure.GARBLED
        _part(talk, Ending.UPSTREAM_LOST, Refusal.UPSTREAM_GARBLED if garbled else Refusal.UPSTREAM_LOST)
    except ClientLost:
        talk.owed.drop()
    talk.give_up_message()
    talk.actions.append(Close(Leg.CLIENT, talk.owed.take()))
    with suppress(ClientLost):
        yield from upstream.leave(talk)
    talk.record(ConversationEnded(talk.summary))


def _part(talk: Talk, ending: Ending, refusal: Refusal | None) -> None:
    talk.summary.ending = ending
    talk.owed.abandon()
    if refusal is not None:
        talk.refuse(refusal)


def _serve(talk: Talk) -> Steps[None]:
    """Greet, then take command after command; wait for the client only when nothing is owed to it."""
    yield from _greet(talk)
    while True:
        if talk.parting and talk.may_part:  # also before what the client has sent already
            yield from settle(talk)
            raise Parting
        if len(talk.client):
            if talk.phase is Phase.CLEAR_FRESH and talk.client.peek(1) == TLS_HANDSHAKE:
                talk.violate(Violation.TLS_ON_CLEAR)
                raise Hangup(Ending.REFUSED)
            auth = talk.client.peek(5).upper() == b"AUTH "
            try:
                line = talk.client.line(AUTH_LINE_BYTES if auth else LINE_BYTES)
            except LineTooLong:
                yield from _turn_down_line(talk, Refusal.AUTH_LINE_TOO_LONG if auth else Refusal.LINE_TOO_LONG)
                continue
            if line is not None:
                talk.progress += 1
                yield from _take(talk, line)
                continue
        yield from settle(talk)
        if not (talk.parting and talk.may_part):
            yield talk.waits.chunk if talk.phase.stage is Stage.CHUNKS else talk.waits.command


def _turn_down_line(talk: Talk, refusal: Refusal) -> Steps[None]:
    talk.limit(Limit.LINE)
    talk.refuse(refusal)
    if ending := _over_limit(talk):
        yield from hang_up(talk, ending)


def _greet(talk: Talk) -> Steps[None]:
    if talk.policy.listener.tls is ListenerTls.IMPLICIT:
        talk.actions.append(Secure(Leg.CLIENT))
        yield talk.waits.client_handshake
    talk.answer(talk.rules.greeting)
    talk.flush()


def _take(talk: Talk, line: bytes) -> Steps[None]:
    """One command: may it run here, does the listener demand something first, then do it."""
    talk.summary.commands += 1
    try:
        command = commands.parse(line)
    except BadCharacters:
        talk.violate(Violation.BAD_CHARACTERS)
        talk.refuse(Refusal.BAD_CHARACTERS)
    else:
        if command.verb in ENDS_GROUP or (command.verb is Verb.MAIL and any(map(talk.owed.awaits, TRANSACTION))):
            yield from settle(talk)  # what is owed belongs to the transaction before, and must not be noted in this one
        cell = talk.cell(command.verb)
        if cell not in SENDS_MAIL and not talk.phase.logged_in:
            talk.idle_commands += 1
        if isinstance(cell, Refusal):
            yield from _turn_down(talk, command, cell)
        else:
            yield from DUTIES[cell](talk, command)
    if refusal := _over_limit(talk):
        yield from hang_up(talk, refusal)


def _over_limit(talk: Talk) -> Refusal | None:
    limits = talk.policy.limits
    if talk.errors >= limits.errors:
        talk.limit(Limit.ERRORS)
        return Refusal.TOO_MANY_ERRORS
    if talk.idle_commands > limits.commands_before_login:
        talk.limit(Limit.COMMANDS_BEFORE_LOGIN)
        return Refusal.TOO_MANY_COMMANDS
    return None


def _turn_down(talk: Talk, command: Command, refusal: Refusal) -> Steps[None]:
    if command.verb is Verb.AUTH and talk.phase.channel is Channel.CLEAR:
        login.expose(talk, command)
    elif command.verb is Verb.BDAT:
        yield from mail.skip_chunk(talk, command)
    talk.refuse(refusal)


def _hello(talk: Talk, command: Command) -> Steps[None]:
    """EHLO is answered by gatepost: what the upstream offers, as far as it is carried, and what is its own."""
    name = commands.hello_name(command)
    if name is None:
        talk.refuse(Refusal.SYNTAX)
        return
    talk.hello = name
    talk.summary.hello = name.decode()
    yield from upstream.hello_again(talk)
    if talk.known is None:
        try:
            yield from upstream.reach(talk)
        except UpstreamLost:
            raise Hangup(Ending.UPSTREAM_LOST, Refusal.UPSTREAM_UNREACHABLE) from None
    talk.give_up_message()
    talk.move(Stage.READY)
    talk.answer(_offer(talk) if command.verb is Verb.EHLO else encode(250, talk.policy.hostname))


def _offer(talk: Talk) -> bytes:
    """The EHLO reply: STARTTLS and AUTH where their cells are duties. Remembered while nothing changes."""
    known = talk.known
    assert known is not None  # noqa: S101  _hello saw to it
    starttls = talk.policy.offers_starttls and talk.cell(Verb.STARTTLS) is Duty.STARTTLS
    standing = talk.standing if talk.cell(Verb.AUTH) is Duty.AUTH else None
    remembered = talk.rules.offers.get((starttls, standing))
    if remembered and remembered[0] is known:
        talk.offered = remembered[2]
        return remembered[1]
    talk.offered = talk.policy.mechanisms(known, standing) if standing else ()
    offer = encode(250, *talk.policy.offer(known, talk.phase.channel, starttls=starttls, mechanisms=talk.offered))
    if known is talk.snapshot:
        talk.rules.offers[starttls, standing] = (known, offer, talk.offered)
    return offer


def _starttls(talk: Talk, command: Command) -> Steps[None]:
    """RFC 3207 section 4."""
    if command.argument:
        talk.refuse(Refusal.STARTTLS_PARAMETER)
        return
    if len(talk.client):
        talk.violate(Violation.INJECTED_BEFORE_TLS)
        raise Hangup(Ending.REFUSED, Refusal.OUT_OF_SYNC)
    yield from upstream.leave(talk)
    talk.drop_upstream()
    talk.answer(READY_FOR_TLS)
    talk.flush()
    talk.actions.append(Secure(Leg.CLIENT))
    yield talk.waits.client_handshake


def _quit(talk: Talk, _command: Command) -> Steps[None]:
    talk.answer(GOODBYE)
    raise Hangup(Ending.QUIT)
    yield


def _hang_up(talk: Talk, _command: Command) -> Steps[None]:
    talk.violate(Violation.HTTP)
    raise Hangup(Ending.REFUSED, Refusal.OUT_OF_SYNC)
    yield


DUTIES: dict[Duty, Callable[[Talk, Command], Steps[None]]] = {
    Duty.HELLO: _hello,
    Duty.STARTTLS: _starttls,
    Duty.AUTH: login.auth,
    Duty.MAIL: mail.mail,
    Duty.RCPT: mail.rcpt,
    Duty.DATA: mail.data,
    Duty.BDAT: mail.bdat,
    Duty.RESET: mail.reset,
    Duty.NOOP: mail.noop,
    Duty.RELAY: mail.relay,
    Duty.QUIT: _quit,
    Duty.HANG_UP: _hang_up,
}
