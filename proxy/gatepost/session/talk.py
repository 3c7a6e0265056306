"""One conversation's state, and the small steps that everything else in `session/` is made of.

A *procedure* is a generator that yields what it waits for and is resumed when that came. It reads top to bottom like
the RFC section it serves. Procedures never act: they add actions to the talk, and the shell performs those before it
waits. What interrupts a wait arrives as an exception at the `yield`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar, cast

from gatepost.facts import (
    Channel,
    Ending,
    Fact,
    Leg,
    Limit,
    LimitHit,
    Mechanism,
    MessageEnded,
    MessageResult,
    Peer,
    Refusal,
    Refused,
    Summary,
    Tls,
    UpstreamFailed,
    UpstreamFailure,
    Violated,
    Violation,
)
from gatepost.policy import Policy, Standing, Upstream
from gatepost.sasl.questions import A, Question, Unavailable
from gatepost.session.owed import Owed
from gatepost.session.phases import CELLS, Cell, Phase, Stage
from gatepost.session.vocabulary import Action, BackendLost, Drop, Record, Send, UpstreamLost, Wait
from gatepost.settings import LoneNewlines, TimeoutSettings, UpstreamSettings
from gatepost.wire.commands import LINE_BYTES, Verb
from gatepost.wire.lines import Inbound
from gatepost.wire.refusals import REFUSALS
from gatepost.wire.replies import Garbled, Reply, ReplyReader

T = TypeVar("T")
Steps = Generator[Wait, None, T]

STRANGER = Standing()
PROGRESS_BYTES = 4096  # so much of a body earns a fresh wait; less would let a client drip for ever


class Hangup(Exception):
    """Ends the conversation from wherever it stands, in good order."""

    def __init__(self, ending: Ending, refusal: Refusal | None = None) -> None:
        super().__init__(ending.value)
        self.ending = ending
        self.refusal = refusal


class Waits:
    """Every wait there is, with its patience (RFC 5321 section 4.5.3.2)."""

    def __init__(self, timeouts: TimeoutSettings) -> None:
        self.command = Wait(Leg.CLIENT, timeouts.command, boundary=True)
        self.chunk = Wait(Leg.CLIENT, timeouts.command)  # for a message's next BDAT: no place to stop
        self.response = Wait(Leg.CLIENT, timeouts.command)
        self.body = Wait(Leg.CLIENT, timeouts.body)
        self.client_handshake = Wait(Leg.CLIENT, timeouts.handshake)
        self.answer_seconds = timeouts.backend
        self.drain_seconds = timeouts.drain
        self.upstream_handshake = Wait(Leg.UPSTREAM, timeouts.handshake)
        self.connect = Wait(Leg.UPSTREAM, timeouts.upstream_connect)
        self.greeting = Wait(Leg.UPSTREAM, timeouts.upstream_connect + timeouts.upstream_login)
        self.login = Wait(Leg.UPSTREAM, timeouts.upstream_login)
        self.reply = Wait(Leg.UPSTREAM, timeouts.upstream_reply)
        self.accept = Wait(Leg.UPSTREAM, timeouts.upstream_accept)
        self.goodbye = Wait(Leg.UPSTREAM, min(5.0, timeouts.upstream_reply))


@dataclass(slots=True)
class Rules:
    """What all conversations of a listener share."""

    policy: Policy
    upstream: UpstreamSettings
    lone_newlines: LoneNewlines
    waits: Waits
    greeting: bytes = field(init=False)
    cells: dict[tuple[Verb, Phase], Cell] = field(init=False)  # the table, less what the policy takes away
    # The last EHLO reply, by whether it has STARTTLS and whom it offers AUTH to. Both are closed sets.
    offers: dict[tuple[bool, Standing | None], tuple[Upstream, bytes, tuple[Mechanism, ...]]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        self.greeting = b"220 " + self.policy.hostname + b" ESMTP\r\n"
        self.cells = {
            (verb, phase): self.policy.refusal(verb, phase.channel, logged_in=phase.logged_in) or cell
            for (verb, phase), cell in CELLS.items()
        }


class Talk:
    """The state of one conversation."""

    __slots__ = (
        "actions", "address", "chunk_bytes", "client", "due", "errors", "failures", "group", "heard", "hello",
        "idle_commands", "in_body", "live", "offered", "owed", "parting", "peer", "phase", "policy", "progress",
        "recipients", "relays", "replies", "rules", "snapshot", "summary", "unreported_bytes", "upstream",
        "upstream_open", "upstream_tls", "waits",
    )  # fmt: skip

    def __init__(
        self, rules: Rules, snapshot: Upstream | None, address: str = "", *, relays: bool | None = None
    ) -> None:
        self.rules = rules
        self.address = address  # the client's
        self.policy = rules.policy
        self.waits = rules.waits
        self.relays = relays  # whether the upstream would for a stranger, as far as it was asked
        self.snapshot = snapshot  # the upstream as the last probe saw it
        self.live: Upstream | None = None  # the upstream as this conversation sees it, once it has said EHLO
        self.upstream_open = False
        self.upstream_tls: Tls | None = None
        self.peer: Peer | None = None  # at the other end of the upstream leg
        self.phase = Phase.CLEAR_FRESH
        self.client = Inbound()
        self.upstream = Inbound()
        self.replies = ReplyReader()
        self.offered: tuple[Mechanism, ...] = ()  # to authenticate with, by the last EHLO reply
        self.owed = Owed()
        self.group: list[bytes] = []  # gathered for the upstream, not sent yet
        self.actions: list[Action] = []
        self.hello = b""
        self.parting: tuple[Ending, Refusal] | None = None  # why the conversation ends at its next boundary
        self.heard: object = None  # the answer to the last question
        self.due = 0  # replies of the upstream to what it was sent
        self.in_body = False  # the upstream has part of a message, and must not take it for a whole one
        self.recipients = 0
        self.chunk_bytes = 0
        self.errors = 0
        self.failures = 0  # logins
        self.idle_commands = 0
        self.progress = 0  # rises whenever a peer earned a fresh wait
        self.unreported_bytes = 0
        self.summary = Summary(replies=self.owed.sent)

    # --- what is known

    @property
    def known(self) -> Upstream | None:
        return self.live or self.snapshot

    @property
    def standing(self) -> Standing:
        tls = self.summary.tls
        if not self.policy.policies and (tls is None or not tls.identity):
            return STRANGER  # like nearly everybody
        return Standing(self.policy.minimum(self.address), certified=tls is not None and bool(tls.identity))

    def cell(self, verb: Verb) -> Cell:
        """What to do about a verb here and now."""
        return self.rules.cells[verb, self.phase]

    @property
    def in_data(self) -> bool:
        """Inside DATA: the upstream owes nothing until its end."""
        return self.in_body and self.owed.awaited is None

    @property
    def may_part(self) -> bool:
        """Here the conversation can end."""
        return self.phase.stage is not Stage.CHUNKS

    def move(self, stage: Stage) -> None:
        self.phase = self.phase.at(stage)

    def secured(self, tls: Tls) -> None:
        """The client's channel is TLS now: everything known from the clear one is forgotten (RFC 3207 section 4.2)."""
        self.phase = Phase.TLS_FRESH
        self.client = Inbound()
        self.hello = b""
        self.summary.hello = ""
        self.summary.channel = Channel.TLS
        self.summary.tls = tls
        self.offered = ()

    # --- saying

    def record(self, fact: Fact) -> None:
        self.actions.append(Record(fact))

    def answer(self, raw: bytes) -> None:
        self.owed.reply(raw)

    def refuse(self, refusal: Refusal) -> None:
        """Answer the last command with a refusal."""
        self.errors += 1
        refusals = self.summary.refusals
        refusals[refusal] = refusals.get(refusal, 0) + 1
        self.record(Refused(refusal))
        self.owed.reply(REFUSALS[refusal])

    def violate(self, violation: Violation) -> None:
        self.summary.violations.add(violation)
        self.record(Violated(violation))

    def end_message(self, result: MessageResult, octets: int) -> None:
        summary = self.summary
        if result is MessageResult.ACCEPTED:
            self.idle_commands = 0
            summary.messages_accepted += 1
            summary.recipients += self.recipients
            summary.body_bytes += octets
        else:
            summary.messages_refused += 1
        self.record(MessageEnded(result, octets, self.recipients))

    def give_up_message(self) -> None:
        """The client ends a transaction; if it had sent chunks, there is no message after all."""
        if self.phase.stage is Stage.CHUNKS:
            self.end_message(MessageResult.ABORTED, self.chunk_bytes)

    def limit(self, limit: Limit) -> None:
        self.record(LimitHit(limit))

    def flush(self) -> None:
        """Send the client everything that is ready, in one write."""
        if ready := self.owed.take():
            self.actions.append(Send(Leg.CLIENT, ready))

    def tell(self, data: bytes) -> None:
        """Send the upstream something, behind what was gathered."""
        self.group.append(data)
        self.send_group()

    def send_group(self) -> None:
        group = self.group
        if group:
            if len(self.upstream) and not self.due:
                raise UpstreamLost(UpstreamFailure.GARBLED)  # believed, it would answer what was not asked yet
            self.due = len(self.owed)
            self.actions.append(Send(Leg.UPSTREAM, group[0] if len(group) == 1 else b"".join(group)))
            group.clear()

    def drop_upstream(self, reason: UpstreamFailure | None = None) -> None:
        """Close the upstream leg without a word; with a reason, it failed."""
        if reason is not None:
            self.summary.upstream_failure = reason
            self.record(UpstreamFailed(reason))
        if self.upstream_open:
            self.actions.append(Drop(Leg.UPSTREAM))
        self.upstream_open = False
        self.live = self.upstream_tls = self.peer = None
        self.upstream = Inbound()
        self.replies = ReplyReader()
        self.group.clear()
        self.due = 0

    # --- hearing

    def progressed(self, octets: int) -> None:
        """Part of a body came."""
        self.unreported_bytes += octets
        if self.unreported_bytes >= PROGRESS_BYTES:
            self.unreported_bytes = 0
            self.progress += 1

    def line(self, wait: Wait, limit: int = LINE_BYTES) -> Steps[bytes]:
        """The client's next line. Raises LineTooLong."""
        while (line := self.client.line(limit)) is None:
            yield wait
        self.progress += 1
        return line

    def reply(self, wait: Wait) -> Steps[Reply]:
        """The upstream's next reply. Raises UpstreamLost, also when what comes is no reply."""
        try:
            while (reply := self.replies.next(self.upstream)) is None:
                yield wait
        except Garbled:
            raise UpstreamLost(UpstreamFailure.GARBLED) from None
        self.progress += 1
        return reply

    def ask(self, question: Question[A]) -> Steps[A]:
        """The answer of a backend. Raises BackendLost."""
        yield Wait(question, self.waits.answer_seconds)
        answer, self.heard = self.heard, None
        if isinstance(answer, Unavailable):
            raise BackendLost
        return cast("A", answer)  # the shell answers each question with what it asks for


def settle(talk: Talk) -> Steps[Reply | None]:
    """Send the upstream what was gathered, take every reply it owes, and send the client all of them in one write.

    Returns the last reply of the upstream. A 421 among them ends the conversation: the upstream is closing.
    """
    talk.send_group()
    reply = None
    while (verb := talk.owed.awaited) is not None:
        reply = yield from talk.reply(talk.waits.reply)
        talk.owed.fill(reply.raw)
        talk.due -= 1
        _note(talk, verb, reply)
        heed_closing(talk, reply)
    talk.flush()
    return reply


def heed_closing(talk: Talk, reply: Reply) -> None:
    """A 421 is the upstream's last word (RFC 5321 section 3.8): it was noted, now the conversation ends."""
    if reply.code == 421:  # noqa: PLR2004
        talk.drop_upstream(UpstreamFailure.CLOSED)
        raise Hangup(Ending.UPSTREAM_LOST)


def _note(talk: Talk, verb: Verb, reply: Reply) -> None:
    """What an upstream's reply changes in where the client stands."""
    if reply.completed:
        return
    if verb is Verb.RCPT:
        talk.recipients -= 1
    elif verb in (Verb.MAIL, Verb.BDAT):  # the transaction did not begin, or its message failed
        if talk.phase.stage is Stage.CHUNKS:
            talk.end_message(MessageResult.REJECTED, talk.chunk_bytes)
        talk.move(Stage.READY)


def hang_up(talk: Talk, refusal: Refusal) -> Steps[NoReturn]:
    """Answer what is owed, then this, and close."""
    yield from settle(talk)
    raise Hangup(Ending.REFUSED, refusal)
