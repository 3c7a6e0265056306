"""What is always true of the machine, whatever comes from either side, in whatever pieces.

A world plays both peers: the client says any of a vocabulary of good and bad lines, the upstream answers each command
with what is drawn for it. Only complete outcomes are looked at.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue import Dialogue
from gatepost.facts import (
    AuthEnded,
    AuthResult,
    ConversationEnded,
    Fact,
    HandshakeFailure,
    Leg,
    MessageEnded,
    MessageResult,
    Peer,
    Tls,
    UpstreamFailure,
)
from gatepost.session.machine import Machine, converse
from gatepost.session.talk import Talk
from gatepost.session.vocabulary import Action, Close, Drop, Open, Record, Secure, Send

PLAIN = b64encode(b"\0alice\0pw")
WORDS = [
    b"EHLO me\r\n",
    b"HELO me\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN " + PLAIN + b"\r\n",
    b"AUTH LOGIN YQ==\r\n",
    b"cA==\r\n",
    b"*\r\n",
    b"MAIL FROM:<a@example.org>\r\n",
    b"MAIL FROM:<a@example.org> WHAT=ever\r\n",
    b"RCPT TO:<b@example.net>\r\n",
    b"DATA\r\n",
    b"text\r\n.\r\n",
    b"text\n.\r\n",
    b"BDAT 4\r\nabcd",
    b"BDAT 4 LAST\r\nabcd",
    b"BDAT x\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY you\r\n",
    b"XCLIENT ADDR=192.0.2.1\r\n",
    b"FOO\r\n",
    b"bad\0\r\n",
    b"QUIT\r\n",
    b"x" * 2100 + b"\r\n",
]
ANSWERS = [
    b"250 ok",
    b"250 ok",
    b"250 ok",
    b"250-two\r\n250 lines",
    b"550 no",
    b"451 later",
    b"421 closing",
    b"rubbish",
]
MECHANISMS = [b"235 ok", b"235 ok", b"535 no", b"454 later", b"504 what", b"334 "]


@dataclass
class World:
    """A machine, and peers that follow a plan made from a seed: the same seed gives the same peers."""

    seed: int
    options: dict[str, str]
    at_once: int = 1_000_000
    sent: dict[Leg, bytes] = field(default_factory=lambda: {Leg.CLIENT: b"", Leg.UPSTREAM: b""})
    facts: list[Fact] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)  # noqa: S311  a plan, not a secret
        script = Dialogue("", self.options, ())
        self.machine = Machine(Talk(script.rules(), script.snapshot(), relays=False), converse)
        self.open = {Leg.CLIENT}
        self.clear = self.options["tls"] == "starttls"
        self.answers = b""  # of the upstream, not delivered yet
        self.unread = b""  # of what the upstream was sent, commands not answered yet
        self.in_message = False
        self.accepted = 0  # messages that the upstream took
        self.in_mail = False
        self.biggest = 0

    def run(self, words: list[bytes]) -> World:
        queue = b"".join(words)
        actions = self.machine.start()
        while True:
            waits_for = self._perform(actions)
            leg = self.machine.awaits
            self.biggest = max(self.biggest, len(self.machine.talk.client), len(self.machine.talk.upstream))
            if leg is None:
                return self
            assert isinstance(leg, Leg), "it asks, and there is nothing to ask"
            assert leg in self.open or waits_for is Open, "it waits for a leg that is not open"
            if waits_for is Open:
                actions = self._answer_open()
            elif waits_for is Secure:
                self.clear = self.clear and leg is not Leg.CLIENT
                actions = self.machine.secured(leg, Tls("TLSv1.3", "X", verified=True))
            elif leg is Leg.CLIENT:
                if not queue:
                    actions = self.machine.gone(Leg.CLIENT)
                    continue
                piece, queue = queue[: self.at_once], queue[self.at_once :]
                actions = self.machine.received(leg, piece)
            elif not self.answers:
                actions = self.machine.gone(Leg.UPSTREAM)
            else:
                piece, self.answers = self.answers[: self.at_once], self.answers[self.at_once :]
                actions = self.machine.received(leg, piece)

    def _answer_open(self) -> list[Action]:
        if self.random.random() < 0.1:
            return self.machine.gone(Leg.UPSTREAM, UpstreamFailure.UNREACHABLE)
        self.open.add(Leg.UPSTREAM)
        self.answers, self.unread, self.in_message = b"220 legacy\r\n", b"", False
        return self.machine.opened(Peer("127.0.0.1", 25, loopback=True))

    def _perform(self, actions: list[Action]) -> type | None:
        last = None
        for action in actions:
            last = type(action)
            if isinstance(action, Record):
                self.facts.append(action.fact)
            elif isinstance(action, Send):
                assert action.leg in self.open, "it sends on a leg that is not open"
                self.sent[action.leg] += action.data
                if action.leg is Leg.UPSTREAM:
                    self._hear(action.data)
            elif isinstance(action, Close | Drop):
                assert action.leg in self.open, "it closes a leg that is not open"
                self.open.discard(action.leg)
                if isinstance(action, Close):
                    self.sent[action.leg] += action.last
        return last

    def _hear(self, data: bytes) -> None:
        """The upstream: answer each command that is whole, in order."""
        self.unread += data
        while True:
            if self.in_message:
                end = (b"\r\n" + self.unread).find(b"\r\n.\r\n")
                if end < 0:
                    return
                self.unread, self.in_message = self.unread[end + 3 :], False
                self._answer(self._took())
                continue
            line, found, rest = self.unread.partition(b"\r\n")
            if not found:
                return
            if line.startswith(b"BDAT"):
                octets = int(line.split()[1])
                if len(rest) < octets:
                    return
                self.unread = rest[octets:]
                self._answer(self._took() if line.endswith(b"LAST") else b"250 chunk")
                continue
            self.unread = rest
            self._answer(self._reply_to(line))

    def _took(self) -> bytes:
        answer = self.random.choice(ANSWERS)
        self.accepted += answer.startswith(b"250")
        return answer

    def _reply_to(self, line: bytes) -> bytes:
        if line.startswith(b"EHLO"):
            return b"250-legacy\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN LOGIN"
        if line.startswith(b"AUTH") or line in (b"YQ==", b"cA==", b"*"):
            assert not self.clear, "a credential crossed a clear channel"
            return self.random.choice(MECHANISMS)
        if line.startswith(b"DATA"):
            self.in_message = self.random.random() < 0.8
            return b"354 go on" if self.in_message else b"503 no"
        return self.random.choice(ANSWERS)

    def _answer(self, reply: bytes) -> None:
        self.answers += reply + b"\r\n"


OPTIONS = st.fixed_dictionaries(
    {
        "auth": st.sampled_from(["required", "optional", "off"]),
        "tls": st.sampled_from(["starttls", "implicit"]),
        "snapshot": st.sampled_from(["none", "PIPELINING|CHUNKING|AUTH PLAIN LOGIN"]),
        "lone_newlines": st.sampled_from(["normalise", "refuse"]),
    }
)
SEEDS = st.integers(0, 2**32)
CONVERSATIONS = st.lists(st.sampled_from(WORDS), max_size=25)
# Most random talk never gets far: half of it begins as a good client does.
GOOD = [
    b"EHLO me\r\n",
    b"AUTH PLAIN " + PLAIN + b"\r\n",
    b"MAIL FROM:<a@example.org>\r\n",
    b"RCPT TO:<b@example.net>\r\n",
]


@settings(max_examples=400)
@given(SEEDS, OPTIONS, CONVERSATIONS, st.integers(0, len(GOOD)))
def test_every_conversation_ends_in_good_order(
    seed: int, options: dict[str, str], words: list[bytes], good: int
) -> None:
    """No exception, both legs closed, one ending, and no message acknowledged that the upstream did not take."""
    world = World(seed, options).run(GOOD[:good] + words)
    assert not world.open
    assert sum(isinstance(fact, ConversationEnded) for fact in world.facts) == 1
    accepted = [
        fact for fact in world.facts if isinstance(fact, MessageEnded) and fact.result is MessageResult.ACCEPTED
    ]
    assert len(accepted) <= world.accepted
    summary = world.machine.talk.summary
    assert summary.messages_accepted == len(accepted)
    assert world.biggest <= 25 * 2200


class Honest(World):
    """An upstream whose answers follow from what it was told, and not from when."""

    def _answer_open(self) -> list[Action]:
        self.open.add(Leg.UPSTREAM)
        self.answers, self.in_mail = b"220 legacy\r\n", False
        return self.machine.opened(Peer("127.0.0.1", 25, loopback=True))

    def _draw(self, line: bytes) -> bytes:
        return Random(f"{self.seed}{line!r}").choice([b"250 ok", b"250 ok", b"250-two\r\n250 lines", b"550 no"])  # noqa: S311

    def _took(self) -> bytes:
        answer = self._draw(b"message") if self.in_mail else b"503 no"
        self.in_mail = False
        return answer

    def _reply_to(self, line: bytes) -> bytes:
        if line.startswith((b"EHLO", b"RSET")):
            self.in_mail = False
        if line.startswith(b"EHLO"):
            return super()._reply_to(line)
        if line.startswith(b"AUTH"):
            return b"235 ok"
        if line.startswith((b"RCPT", b"DATA")) and not self.in_mail:
            return b"503 no"
        if line.startswith(b"DATA"):
            self.in_message = True
            return b"354 go on"
        answer = self._draw(line)
        if line.startswith(b"MAIL"):
            self.in_mail = answer.startswith(b"250")
        return answer


def codes(replies: bytes) -> list[bytes]:
    return [line[:3] for line in replies.split(b"\r\n") if line[3:4] == b" "]


# A chunk behind one that failed is answered by the upstream in a pipeline, and by gatepost when it comes later. The
# codes are the same, but the upstream did not hear the same: chunks are left to the dialogues.
UNCUT = [word for word in WORDS if not word.startswith((b"STARTTLS", b"BDAT"))]


@settings(max_examples=300)
@given(SEEDS, st.lists(st.sampled_from(UNCUT), max_size=25), st.integers(1, 7))
def test_cutting_the_bytes_changes_nothing(seed: int, words: list[bytes], at_once: int) -> None:
    """But for STARTTLS: what arrives together with it is an attack, what arrives behind it is the handshake."""
    options = {"auth": "required", "tls": "implicit", "snapshot": "none", "errors": "1000"}
    whole = Honest(seed, options).run([*GOOD, *words])
    cut = Honest(seed, options, at_once).run([*GOOD, *words])
    assert codes(cut.sent[Leg.CLIENT]) == codes(whole.sent[Leg.CLIENT])
    assert cut.accepted == whole.accepted
    assert cut.machine.talk.summary.messages_accepted == whole.machine.talk.summary.messages_accepted


@settings(max_examples=200)
@given(SEEDS, OPTIONS, CONVERSATIONS)
def test_nobody_authenticates_on_a_clear_channel(seed: int, options: dict[str, str], words: list[bytes]) -> None:
    skipped = (b"STARTTLS", b"DATA", b"BDAT")  # what looks like AUTH in a message is part of the message
    words = [word for word in words if not word.upper().startswith(skipped)]
    world = World(seed, options | {"tls": "starttls"}).run(GOOD[:2] + words)
    assert world.clear
    results = {fact.result for fact in world.facts if isinstance(fact, AuthEnded)}
    assert results <= {AuthResult.CLEAR_REFUSED}
    assert PLAIN not in world.sent[Leg.UPSTREAM]


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            [word for word in WORDS if word.startswith((b"RSET", b"NOOP", b"FOO", b"VRFY", b"MAIL", b"XCL"))]
        )
    )
)
def test_every_command_gets_one_reply(words: list[bytes]) -> None:
    class Friendly(World):
        def _reply_to(self, line: bytes) -> bytes:
            return b"235 ok" if line.startswith(b"AUTH") else super()._reply_to(line) if b"EHLO" in line else b"250 ok"

        def _answer_open(self) -> list[Action]:
            self.open.add(Leg.UPSTREAM)
            self.answers = b"220 legacy\r\n"
            return self.machine.opened(Peer("127.0.0.1", 25, loopback=True))

    options = {"auth": "required", "tls": "implicit", "snapshot": "none", "errors": "1000"}
    world = Friendly(0, options).run([*GOOD[:2], *words, b"QUIT\r\n"])
    replies = [line for line in world.sent[Leg.CLIENT].split(b"\r\n") if line[3:4] == b" "]
    assert len(replies) == 1 + 2 + len(words) + 1  # the greeting, EHLO and AUTH, each word, QUIT


@pytest.mark.parametrize("leg", Leg)
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes_at_all_from_either_side(leg: Leg, pieces: list[bytes]) -> None:
    script = Dialogue("", {"auth": "optional", "snapshot": "none"}, ())
    machine = Machine(Talk(script.rules(), None, relays=False), converse)
    machine.start()
    if leg is Leg.UPSTREAM:
        machine.received(Leg.CLIENT, b"EHLO me\r\n")
        machine.opened(Peer("127.0.0.1", 25, loopback=True))
    for piece in pieces:
        if piece and machine.awaits is leg:
            machine.received(leg, piece)
    for _ in range(3):
        machine.late()
    assert machine.awaits is None or leg is Leg.CLIENT


def test_a_failed_handshake_and_news_after_the_end_are_harmless() -> None:
    script = Dialogue("", {"tls": "implicit"}, ())
    machine = Machine(Talk(script.rules(), None, relays=False), converse)
    machine.start()
    machine.gone(Leg.CLIENT, HandshakeFailure.NOT_TLS)
    assert machine.awaits is None
    assert machine.gone(Leg.CLIENT) == machine.late() == machine.draining() == []


def test_what_came_before_tls_is_forgotten_even_if_it_should_not_have_come() -> None:
    script = Dialogue("", {"snapshot": "none", "auth": "optional"}, ())
    machine = Machine(Talk(script.rules(), None, relays=False), converse)
    machine.start()
    machine.talk.client.put(b"EHLO injected\r\n")
    machine.secured(Leg.CLIENT, Tls("TLSv1.3", "X"))
    assert len(machine.talk.client) == 0
    assert machine.talk.hello == b""
