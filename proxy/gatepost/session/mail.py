"""Mail transactions: the envelope, the message, and the other verbs that are relayed (RFC 5321 sections 3.3 and 4.1.1).

Commands go on as the lines they came in. Those that the client pipelined are gathered and sent in one write when the
upstream can pipeline, one at a time when it cannot; the phase moves as if they will succeed and is put back by `settle`
when one fails.

A message passes chunk by chunk and is never held. It is acknowledged by the upstream's own reply and by nothing else,
and once part of it has been passed on, only its real end may follow: what cannot be finished is undone by dropping the
upstream connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from gatepost.facts import Ending, Limit, MessageResult, MessageSent, Refusal, UpstreamFailure, Violation
from gatepost.session.phases import Stage
from gatepost.session.talk import Hangup, Steps, Talk, hang_up, heed_closing, settle
from gatepost.session.upstream import reach
from gatepost.session.vocabulary import ClientLate, ClientLost, UpstreamLost
from gatepost.settings import LoneNewlines
from gatepost.wire import commands
from gatepost.wire.body import DataScanner
from gatepost.wire.commands import Command, Verb
from gatepost.wire.replies import Garbled, Reply

OK = b"250 2.0.0 Ok\r\n"
BARE = frozenset({Verb.NOOP, Verb.RSET})  # relayed without what stands behind them, which means nothing
UNASKED_BYTES = 65_536  # so much of a refused chunk is read and dropped for a client that has not logged in


# --- relaying --------------------------------------------------------------------------------------------------------


def _ready(talk: Talk, verb: Verb) -> Steps[bool]:
    """The upstream is open and knows the verb's extension; otherwise the client has its refusal."""
    if talk.live is None:
        yield from settle(talk)
        try:
            yield from reach(talk)
        except UpstreamLost:
            talk.refuse(Refusal.UPSTREAM_UNREACHABLE_NOW)
            return False
    assert talk.live is not None  # noqa: S101  reach returned
    if refusal := talk.policy.extension_refusal(verb, talk.live):
        talk.refuse(refusal)
        return False
    return True


def _gather(talk: Talk, command: Command) -> Steps[None]:
    """Relay a command: now, or together with those that the client pipelined behind it."""
    talk.group.append(_bare(command) if command.verb in BARE else command.line)
    talk.owed.hole(command.verb)
    if talk.live is not None and b"PIPELINING" not in talk.live.capabilities:
        yield from settle(talk)


def _bare(command: Command) -> bytes:
    return command.verb.value.encode() + b"\r\n"


def relay(talk: Talk, command: Command) -> Steps[None]:
    if not (yield from _ready(talk, command.verb)):
        return
    if not command.ascii and talk.live is not None and b"SMTPUTF8" not in talk.live.capabilities:
        talk.refuse(Refusal.ADDRESS_NOT_ASCII)
        return
    yield from _gather(talk, command)


def reset(talk: Talk, command: Command) -> Steps[None]:
    talk.give_up_message()
    if talk.phase.stage is not Stage.FRESH:
        talk.move(Stage.READY)
    yield from noop(talk, command)


def noop(talk: Talk, command: Command) -> Steps[None]:
    if talk.live is None:
        talk.answer(OK)
    else:
        yield from _gather(talk, command)


# --- the envelope ----------------------------------------------------------------------------------------------------


def _checked(talk: Talk, command: Command) -> Steps[bool]:
    if not (yield from _ready(talk, command.verb)):
        return False
    assert talk.live is not None  # noqa: S101  it is ready
    try:
        envelope = commands.envelope(command)
        refusal = talk.policy.envelope_refusal(command, envelope, talk.live, talk.phase.channel)
        if refusal is None and command.verb is Verb.RCPT and not talk.phase.logged_in:
            refusal = talk.policy.relay_refusal(envelope.path, relays=talk.relays)
    except commands.SyntaxFault:
        refusal = Refusal.SYNTAX
    if refusal:
        talk.refuse(refusal)
    return refusal is None


def mail(talk: Talk, command: Command) -> Steps[None]:
    if (yield from _checked(talk, command)):
        talk.recipients = talk.chunk_bytes = 0
        talk.move(Stage.MAIL)
        yield from _gather(talk, command)


def rcpt(talk: Talk, command: Command) -> Steps[None]:
    if not (yield from _checked(talk, command)):
        return
    if talk.recipients >= talk.policy.limits.recipients:
        talk.limit(Limit.RECIPIENTS)
        talk.refuse(Refusal.TOO_MANY_RECIPIENTS)
        return
    talk.recipients += 1
    yield from _gather(talk, command)


# --- DATA ------------------------------------------------------------------------------------------------------------


def data(talk: Talk, command: Command) -> Steps[None]:
    """DATA ends a group, but may stand at its end (RFC 2920 section 3.1)."""
    talk.group.append(_bare(command))
    talk.owed.hole(command.verb)
    reply = yield from settle(talk)
    if reply is None or reply.code != 354:  # noqa: PLR2004
        return
    scanner = DataScanner()
    talk.in_body = True
    try:
        yield from _pour(talk, scanner)
        talk.record(MessageSent())
        reply = yield from talk.reply(talk.waits.accept)
    except UpstreamLost as lost:
        yield from _lost(talk, lost.reason, lambda: _drop_data(talk, scanner))
    except (ClientLost, ClientLate):
        if talk.in_body:  # otherwise it was withdrawn, and that is noted
            talk.end_message(MessageResult.ABORTED, scanner.taken)
        raise
    talk.in_body = False
    talk.move(Stage.READY)
    talk.end_message(MessageResult.ACCEPTED if reply.completed else MessageResult.REJECTED, scanner.taken)
    talk.answer(reply.raw)
    heed_closing(talk, reply)


def _pour(talk: Talk, scanner: DataScanner) -> Steps[None]:
    """Client to upstream, up to the end of the data. Raises UpstreamLost."""
    if len(talk.upstream):  # behind the 354: an answer to what it has not seen
        raise UpstreamLost(UpstreamFailure.GARBLED)
    while True:
        chunk = talk.client.chunk()
        if not chunk:
            yield talk.waits.body
            continue
        piece, behind = scanner.feed(chunk)
        talk.progressed(len(chunk))
        if behind:
            talk.client.put_back(behind)
        if refusal := _objection(talk, scanner):
            yield from _withdraw(talk, refusal, lambda: _drop_data(talk, scanner))
        if piece:
            talk.tell(piece)
        if scanner.ended:
            return


def _objection(talk: Talk, scanner: DataScanner) -> Refusal | None:
    """What is wrong with the message so far."""
    most = talk.policy.limits.message_bytes
    if scanner.odd:
        if Violation.LONE_NEWLINE not in talk.summary.violations:
            talk.violate(Violation.LONE_NEWLINE)
        if talk.rules.lone_newlines is LoneNewlines.REFUSE:
            return Refusal.LONE_NEWLINE
    return Refusal.MESSAGE_TOO_BIG if most is not None and scanner.taken > most else None


def _drop_data(talk: Talk, scanner: DataScanner) -> Steps[None]:
    """Read the rest of the message, to its end, and drop it."""
    while not scanner.ended:
        chunk = talk.client.chunk()
        if chunk:
            scanner.feed(chunk)
            talk.progressed(len(chunk))
        else:
            yield talk.waits.body


# --- BDAT ------------------------------------------------------------------------------------------------------------


def bdat(talk: Talk, command: Command) -> Steps[None]:
    """One chunk, counted and never scanned (RFC 3030 section 2)."""
    octets, last = yield from _chunk(talk, command)
    if not (yield from _ready_for_chunk(talk, octets)):
        return
    talk.chunk_bytes += octets
    talk.move(Stage.CHUNKS)
    talk.in_body = True
    left = _Left(octets)
    try:
        talk.group.append(b"BDAT %d%b\r\n" % (octets, b" LAST" if last else b""))  # as it was understood here
        talk.owed.hole(Verb.BDAT)
        yield from _pour_chunk(talk, left)
        talk.in_body = last
        if last:
            talk.record(MessageSent())
        pipelining = talk.live is not None and b"PIPELINING" in talk.live.capabilities
        reply = (yield from settle(talk)) if last or not pipelining else None
    except UpstreamLost as lost:
        yield from _lost(talk, lost.reason, lambda: _drop_chunk(talk, left))
    talk.in_body = False
    if last:
        talk.move(Stage.READY)
        if reply is not None and reply.completed:  # `settle` noted the other case
            talk.end_message(MessageResult.ACCEPTED, talk.chunk_bytes)


def skip_chunk(talk: Talk, command: Command) -> Steps[None]:
    """The octets of a BDAT that is refused are still read and dropped (RFC 3030 section 2); not without end, though."""
    octets, _ = yield from _chunk(talk, command)
    if octets > UNASKED_BYTES and talk.policy.demands_login and not talk.phase.logged_in:
        yield from hang_up(talk, Refusal.AUTH_REQUIRED)
    yield from _drop_chunk(talk, _Left(octets))


class _Left:
    """Octets of a chunk that are still to come."""

    __slots__ = ("octets",)

    def __init__(self, octets: int) -> None:
        self.octets = octets


def _chunk(talk: Talk, command: Command) -> Steps[tuple[int, bool]]:
    """Size and LAST. Without a size nobody knows where the next command begins: refuse and close."""
    try:
        return commands.chunk(command)
    except commands.SyntaxFault:
        return (yield from hang_up(talk, Refusal.CHUNK_SYNTAX))


def _ready_for_chunk(talk: Talk, octets: int) -> Steps[bool]:
    most = talk.policy.limits.message_bytes
    if most is not None and talk.chunk_bytes + octets > most:
        yield from settle(talk)
        yield from _withdraw(talk, Refusal.MESSAGE_TOO_BIG, lambda: _drop_chunk(talk, _Left(octets)))
    ready = yield from _ready(talk, Verb.BDAT)
    if not ready:
        yield from _drop_chunk(talk, _Left(octets))
    return ready


def _pour_chunk(talk: Talk, left: _Left) -> Steps[None]:
    while True:
        if piece := talk.client.chunk(left.octets):
            left.octets -= len(piece)
            talk.group.append(piece)
            talk.progressed(len(piece))
        talk.send_group()
        if not left.octets:
            return
        yield talk.waits.body


def _drop_chunk(talk: Talk, left: _Left) -> Steps[None]:
    while left.octets:
        if piece := talk.client.chunk(left.octets):
            left.octets -= len(piece)
            talk.progressed(len(piece))
        else:
            yield talk.waits.body


# --- ends ------------------------------------------------------------------------------------------------------------


def _withdraw(talk: Talk, refusal: Refusal, rest: Callable[[], Steps[None]]) -> Steps[NoReturn]:
    """Refuse a message half-way: drop the upstream connection, the rest of the message, and then the client."""
    talk.drop_upstream()
    talk.in_body = False
    if refusal is Refusal.MESSAGE_TOO_BIG:
        talk.limit(Limit.MESSAGE_BYTES)
    if talk.phase.stage is not Stage.READY:  # otherwise `settle` has noted its end
        talk.end_message(MessageResult.REJECTED, 0)
    talk.move(Stage.READY)
    yield from rest()
    raise Hangup(Ending.REFUSED, refusal)


def _lost(talk: Talk, reason: UpstreamFailure, rest: Callable[[], Steps[None]]) -> Steps[NoReturn]:
    """The upstream was lost in a message. What it said before it went, if anything, is the answer; never a 250."""
    early = _early_reply(talk)
    begun = talk.phase.stage is not Stage.READY  # otherwise `settle` has noted its end
    begun = begun and not any(part[:4].upper() == b"MAIL" for part in talk.group)  # gathered, and never sent
    talk.drop_upstream(reason)
    talk.owed.abandon()
    talk.in_body = False
    if begun:
        talk.end_message(MessageResult.ABORTED if early is None else MessageResult.REJECTED, 0)
    talk.move(Stage.READY)
    yield from rest()
    if early is not None:
        talk.answer(early.raw)
        raise Hangup(Ending.UPSTREAM_LOST)
    refusal = Refusal.UPSTREAM_GARBLED if reason is UpstreamFailure.GARBLED else Refusal.MESSAGE_UNSURE
    raise Hangup(Ending.UPSTREAM_LOST, refusal)


def _early_reply(talk: Talk) -> Reply | None:
    try:
        reply = talk.replies.next(talk.upstream)
    except Garbled:
        return None
    return reply if reply is not None and not reply.positive else None
