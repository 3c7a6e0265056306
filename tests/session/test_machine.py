"""What no script can say: news in any order, replies in their order, hidden messages, bounded memory."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue import Dialogue
from gatepost.facts import (
    AuthBegan,
    AuthEnded,
    Channel,
    ConversationEnded,
    Fact,
    HandshakeFailure,
    Leg,
    MessageEnded,
    Peer,
    Refusal,
    Tls,
    UpstreamFailure,
)
from gatepost.session.machine import Machine, converse
from gatepost.session.talk import Talk
from gatepost.session.vocabulary import Action, Close, Drop, Expire, Open, Record, Secure, Send
from gatepost.wire.refusals import REFUSALS

PLAIN = b64encode(b"\0alice\0pw")
LOOPBACK = Peer("127.0.0.1", 25, loopback=True)
SOME_TLS = Tls("TLSv1.3", "X", verified=True)
HELLO = {
    "pipelining": b"250-legacy\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN LOGIN\r\n",
    "one at a time": b"250-legacy\r\n250-CHUNKING\r\n250 AUTH PLAIN LOGIN\r\n",
}
SNAPSHOT = "PIPELINING|CHUNKING|AUTH PLAIN LOGIN"


@dataclass
class Shell:
    """Performs actions as the real shell does, and asserts after each step what that one relies on."""

    options: dict[str, str]
    sent: dict[Leg, bytearray] = field(default_factory=lambda: {leg: bytearray() for leg in Leg})
    facts: list[Fact] = field(default_factory=list)
    asked: Open | Secure | None = None  # comes before any other news
    told: set[Leg] = field(default_factory=set)  # legs that the last step sent something on

    def __post_init__(self) -> None:
        script = Dialogue("", self.options, ())
        self.machine = Machine(Talk(script.rules(), script.snapshot(), relays=False), converse)
        self.open = {Leg.CLIENT}
        self.gone: set[Leg] = set()
        self.clear = True
        self.perform(self.machine.start())

    def perform(self, actions: list[Action]) -> None:
        self.asked = None
        self.told.clear()
        for action in actions:
            assert self.asked is None, "Open and Secure are the last action of a step"
            if isinstance(action, Record):
                self.facts.append(action.fact)
            elif isinstance(action, Open):
                assert Leg.UPSTREAM not in self.open
                self.asked = action
            elif not isinstance(action, Expire):
                assert action.leg in self.open, f"{action} on a leg that is not open"
                self._perform_on_leg(action)
        self._check()

    def _perform_on_leg(self, action: Send | Close | Drop | Secure) -> None:
        if isinstance(action, Secure):
            self.asked = action
        elif isinstance(action, Send):
            self._send(action.leg, action.data)
        else:
            if isinstance(action, Close) and action.last:
                self._send(action.leg, action.last)
            self.open.remove(action.leg)
            self.gone.discard(action.leg)

    def _send(self, leg: Leg, data: bytes) -> None:
        assert data
        assert leg not in self.gone, "it was told that this leg is gone"
        self.sent[leg] += data
        self.told.add(leg)

    def _check(self) -> None:
        awaits = self.machine.awaits
        assert self.count(ConversationEnded) == (awaits is None)
        assert self.count(MessageEnded) <= self.sent[Leg.UPSTREAM].count(b"MAIL FROM"), "one transaction, one message"
        if self.clear:
            assert b"AUTH" not in self.sent[Leg.UPSTREAM]
            assert PLAIN not in self.sent[Leg.UPSTREAM]
            assert self.count(AuthBegan) == 0
            assert not self.machine.talk.phase.logged_in
        if awaits is None:
            assert not self.open
            results = [fact for fact in self.facts if isinstance(fact, AuthEnded) and fact.channel is Channel.TLS]
            assert len(results) == self.count(AuthBegan)
            return
        assert awaits not in self.gone, "nothing comes from a leg that is gone"
        assert awaits in self.open or isinstance(self.asked, Open)

    def count(self, kind: type[Fact]) -> int:
        return sum(isinstance(fact, kind) for fact in self.facts)

    # --- news

    def receive(self, leg: Leg, data: bytes) -> None:
        if data and leg in self.open - self.gone:
            self.perform(self.machine.received(leg, data))

    def answer(self, *, well: bool) -> None:
        """What became of Open or Secure."""
        asked, machine = self.asked, self.machine
        if isinstance(asked, Open):
            if not well:
                self.perform(machine.gone(Leg.UPSTREAM, UpstreamFailure.UNREACHABLE))
                return
            self.open.add(Leg.UPSTREAM)
            self.perform(machine.opened(LOOPBACK))
        elif asked is not None:
            client = asked.leg is Leg.CLIENT
            if well:
                self.clear = self.clear and not client
                self.perform(machine.secured(asked.leg, SOME_TLS))
            else:
                self.gone.add(asked.leg)
                why = HandshakeFailure.OTHER if client else UpstreamFailure.TLS_FAILED
                self.perform(machine.gone(asked.leg, why))

    def lose(self, leg: Leg) -> None:
        """A leg shows that it is gone when it is heard, or told something."""
        if leg in self.open - self.gone and (leg is self.machine.awaits or leg in self.told):
            self.gone.add(leg)
            self.perform(self.machine.gone(leg))


def logged_in(hello: bytes, **options: str) -> Shell:
    shell = Shell({"tls": "implicit", "snapshot": SNAPSHOT} | options)
    shell.answer(well=True)
    shell.receive(Leg.CLIENT, b"EHLO me\r\n")
    shell.receive(Leg.CLIENT, b"AUTH PLAIN " + PLAIN + b"\r\n")
    shell.answer(well=True)
    for said in (b"220 legacy\r\n", hello, b"235 ok\r\n"):
        shell.receive(Leg.UPSTREAM, said)
    return shell


# --- news in any order -----------------------------------------------------------------------------------------------

FROM_CLIENT = [
    b"EHLO me\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN " + PLAIN + b"\r\n",
    b"AUTH LOGIN\r\n",
    b"YQ==\r\n",
    b"*\r\n",
    b"MAIL FROM:<a@example.org>\r\n",
    b"RCPT TO:<b@example.net>\r\n",
    b"DATA\r\n",
    b"text\r\n",
    b"a lone\nnewline\r\n",
    b".\r\n",
    b"BDAT 4\r\nabcd",
    b"BDAT 9\r\n",
    b"BDAT 4 LAST\r\nabcd",
    b"BDAT 70000\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"x" * 2100,
    b"QUIT\r\n",
    b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 4 LAST\r\nabcd",
    b"NOOP\r\nSTARTTLS\r\n",
]
FROM_UPSTREAM = [
    b"220 hi\r\n",
    HELLO["pipelining"],
    HELLO["one at a time"],
    b"250 ok\r\n",
    b"250 ok\r\n",
    b"250 ok\r\n250 ok\r\n250 ok\r\n",
    b"235 ok\r\n",
    b"334 \r\n",
    b"354 go on\r\n",
    b"550 no\r\n",
    b"451 later\r\n",
    b"421 closing\r\n",
    b"25",
    b"rubbish\r\n",
]
NEWS = st.one_of(
    st.tuples(st.just(Leg.CLIENT), st.sampled_from(FROM_CLIENT) | st.binary(max_size=20)),
    st.tuples(st.just(Leg.UPSTREAM), st.sampled_from(FROM_UPSTREAM) | st.binary(max_size=20)),
    st.tuples(st.sampled_from(["answered", "answered", "failed", "late", "drain", "client gone", "upstream gone"])),
)
OPTIONS = st.fixed_dictionaries(
    {
        "auth": st.sampled_from(["required", "optional", "off"]),
        "tls": st.sampled_from(["starttls", "implicit"]),
        "snapshot": st.sampled_from(["none", SNAPSHOT]),
        "upstream_tls": st.sampled_from(["never", "opportunistic", "starttls", "implicit"]),
        "lone_newlines": st.sampled_from(["normalise", "refuse"]),
        "message_bytes": st.just("65536"),
    }
)


def happen(shell: Shell, news: tuple[object, ...]) -> None:
    match news:
        case (Leg() as leg, bytes(data)):
            if shell.asked:
                shell.answer(well=True)
            shell.receive(leg, data)
        case ("answered" | "failed" as how,):
            shell.answer(well=how == "answered")
        case ("client gone",):
            shell.lose(Leg.CLIENT)
        case ("upstream gone",):
            shell.lose(Leg.UPSTREAM)
        case ("drain",):
            shell.perform(shell.machine.draining()) if shell.asked is None else None
        case _:
            shell.perform(shell.machine.late()) if shell.asked is None else None


def end(shell: Shell) -> None:
    """Both peers fall silent: the patience with them is all that is left."""
    for _ in range(10):
        if shell.asked:
            shell.answer(well=False)
        elif shell.machine.awaits:
            shell.perform(shell.machine.late())
    assert shell.machine.awaits is None


@settings(max_examples=400)
@given(OPTIONS, st.lists(NEWS, max_size=30))
def test_news_in_any_order_end_in_good_order(options: dict[str, str], news: list[tuple[object, ...]]) -> None:
    shell = Shell(options)
    for one in news:
        happen(shell, one)
    end(shell)


@settings(max_examples=600)
@given(
    st.sampled_from(sorted(HELLO)),
    st.sampled_from(["normalise", "refuse"]),
    st.integers(0, 3),
    st.lists(NEWS, max_size=20),
)
def test_news_in_any_order_after_a_login(hello: str, lone: str, depth: int, news: list[tuple[object, ...]]) -> None:
    shell = logged_in(HELLO[hello], lone_newlines=lone, message_bytes="65536")
    said = [b"MAIL FROM:<a@example.org>\r\n", b"RCPT TO:<b@example.net>\r\n", b"DATA\r\n"]
    for line, reply in zip(said[:depth], [b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"], strict=False):
        shell.receive(Leg.CLIENT, line)
        shell.receive(Leg.UPSTREAM, reply)
    for one in news:
        happen(shell, one)
    end(shell)


def test_a_client_that_leaves_while_the_upstream_is_left_for_tls() -> None:
    """The reply to NOOP cannot be sent; the machine must not begin TLS with nobody."""
    shell = Shell({"auth": "optional", "snapshot": "none"})
    shell.receive(Leg.CLIENT, b"EHLO me\r\n")
    shell.answer(well=True)
    shell.receive(Leg.UPSTREAM, b"220 legacy\r\n")
    shell.receive(Leg.UPSTREAM, HELLO["pipelining"])
    shell.receive(Leg.CLIENT, b"NOOP\r\nSTARTTLS\r\n")
    shell.receive(Leg.UPSTREAM, b"250 ok\r\n")
    assert shell.told == {Leg.CLIENT, Leg.UPSTREAM}
    shell.lose(Leg.CLIENT)
    assert shell.machine.awaits is None


# --- replies in order ------------------------------------------------------------------------------------------------


class Legacy:
    """A well-behaved upstream: every reply repeats the command it answers, so that it can be told from all others."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._unread = b""
        self._in_data = False
        self._in_mail = False

    def hear(self, data: bytes) -> Iterator[bytes]:
        self._unread += data
        while (reply := self._next()) is not None:
            yield reply

    def _next(self) -> bytes | None:
        if self._in_data:
            if b"\r\n.\r\n" not in self._unread:
                return None
            text, _, self._unread = self._unread.partition(b"\r\n.\r\n")
            self._in_data = self._in_mail = False
            return self._judge(text)
        line, found, rest = self._unread.partition(b"\r\n")
        octets = int(line.split()[1]) if line.startswith(b"BDAT") else 0
        if not found or len(rest) < octets:
            return None
        text, self._unread = rest[:octets], rest[octets:]
        return self._answer(line, text)

    def _judge(self, text: bytes) -> bytes:
        good = Random(f"{self._seed}{text!r}").random() < 0.7  # noqa: S311  the same for the same seed
        return b"250-two\r\n250 " + text + b"\r\n" if good else b"550 " + text + b"\r\n"

    def _answer(self, line: bytes, text: bytes) -> bytes:
        verb = line[:4]
        if verb in (b"RCPT", b"DATA", b"BDAT") and not self._in_mail:
            return b"503 " + (text or line) + b"\r\n"
        if verb == b"DATA":
            self._in_data = True
            return b"354 " + line + b"\r\n"
        reply = self._judge(text or line)
        if verb == b"MAIL" and not self._in_mail:
            self._in_mail = reply.startswith(b"250")
        elif verb == b"RSET" or (verb == b"BDAT" and (line.endswith(b"LAST") or reply.startswith(b"550"))):
            self._in_mail = False
        return reply


def command(number: int, kind: str) -> tuple[bytes, bytes]:
    """What the client sends, and what its reply ends in; b"" when that is one of gatepost's own."""
    tag = b"<t%d@example.org>" % number
    sent, answered = {
        "mail": (b"MAIL FROM:" + tag, b"MAIL FROM:" + tag),
        "rcpt": (b"RCPT TO:" + tag, b"RCPT TO:" + tag),
        "reset": (b"RSET " + tag, b"RSET"),
        "noop": (b"NOOP " + tag, b"NOOP"),
        "verify": (b"VRFY " + tag, b"VRFY " + tag),
        "unknown": (b"FOO", REFUSALS[Refusal.UNKNOWN_COMMAND][:-2]),
        "identity": (b"XCLIENT LOGIN=root", REFUSALS[Refusal.IDENTITY_COMMAND][:-2]),
        "chunk": (b"BDAT %d\r\n" % len(tag) + tag, tag),
        "last": (b"BDAT %d LAST\r\n" % len(tag) + tag, tag),
        "data": (b"DATA", b"DATA"),
    }[kind]
    return sent + (b"" if kind in ("chunk", "last") else b"\r\n"), answered + b"\r\n"


KINDS = ["mail", "mail", "rcpt", "rcpt", "reset", "noop", "verify", "unknown", "identity", "chunk", "last"]
OWN = set(REFUSALS.values())


@dataclass
class Pair:
    """A client and an upstream that behave well, with a machine between them."""

    shell: Shell
    legacy: Legacy
    client_cut: int
    upstream_cut: int
    heard: int = 0  # octets of the upstream's leg that the upstream has read
    read: int = 0  # octets of the client's leg that the client has read

    def say(self, data: bytes) -> list[bytes]:
        """The client sends it; the replies it got when everything has been answered."""
        for at in range(0, len(data), self.client_cut):
            self.shell.receive(Leg.CLIENT, data[at : at + self.client_cut])
            self._let_upstream_speak()
        new = bytes(self.shell.sent[Leg.CLIENT][self.read :])
        self.read += len(new)
        lines = new.splitlines(keepends=True)
        return [line for line in lines if line[3:4] == b" "]

    def _let_upstream_speak(self) -> None:
        while new := bytes(self.shell.sent[Leg.UPSTREAM][self.heard :]):
            self.heard += len(new)
            said = b"".join(self.legacy.hear(new))
            for at in range(0, len(said), self.upstream_cut):
                self.shell.receive(Leg.UPSTREAM, said[at : at + self.upstream_cut])


CUTS = st.sampled_from([1, 3, 20, 10_000])


@settings(max_examples=400)
@given(
    st.integers(0, 2**32),
    st.sampled_from(sorted(HELLO)),
    st.tuples(CUTS, CUTS),
    st.lists(st.lists(st.sampled_from(KINDS), max_size=8), max_size=5),
)
def test_each_command_gets_its_own_reply(seed: int, hello: str, cuts: tuple[int, int], groups: list[list[str]]) -> None:
    """Groups of commands, each ended by DATA; the reply to each names it, or is a refusal of gatepost's own."""
    shell = logged_in(HELLO[hello], errors="1000")
    pair = Pair(shell, Legacy(seed), *cuts, heard=len(shell.sent[Leg.UPSTREAM]), read=len(shell.sent[Leg.CLIENT]))
    number = 0
    for group in groups:
        commands = [command(number + at, kind) for at, kind in enumerate([*group, "data"])]
        number += len(commands)
        replies = pair.say(b"".join(sent for sent, _ in commands))
        assert len(replies) == len(commands)
        for reply, (_, answered) in zip(replies, commands, strict=True):
            assert reply in (OWN - {REFUSALS[Refusal.UNKNOWN_COMMAND], REFUSALS[Refusal.IDENTITY_COMMAND]}) or (
                reply.endswith(answered)
            )
        if replies[-1].startswith(b"354"):
            assert [reply[4:] for reply in pair.say(b"text %d\r\n.\r\n" % number)] == [b"text %d\r\n" % number]
    assert len(pair.say(b"QUIT\r\n")) == 1


# --- hidden messages -------------------------------------------------------------------------------------------------

ENDS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0"]
HIDDEN = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nhidden"
ODD_DOTS = [(a, b) for a, b in product(ENDS, ENDS) if b"\r\n.\r\n" not in a + b"." + b]
SLOPPY_ENDS = [before + b"." + behind for before, behind in product((b"\r\n", b"\n", b"\r"), repeat=2)]


@pytest.mark.parametrize(("before", "behind"), ODD_DOTS)
@pytest.mark.parametrize("cut", [1, 2, 3, 10_000])
def test_no_odd_dot_hides_a_second_message(before: bytes, behind: bytes, cut: int) -> None:
    """However sloppy the server behind is about the end of a message, it finds one end, and that is the last octet."""
    shell = logged_in(HELLO["pipelining"])
    shell.receive(Leg.CLIENT, b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
    shell.receive(Leg.UPSTREAM, b"250 ok\r\n250 ok\r\n354 go on\r\n")
    began = len(shell.sent[Leg.UPSTREAM])
    text = b"text" + before + b"." + behind + HIDDEN + b"\r\n.\r\n"
    for at in range(0, len(text), cut):
        shell.receive(Leg.CLIENT, text[at : at + cut])
    message = bytes(shell.sent[Leg.UPSTREAM][began:])
    found = [message.find(sloppy) for sloppy in SLOPPY_ENDS if sloppy in message]
    assert set(found) <= {len(message) - 5, len(message) - 4}
    assert message.endswith(b"hidden\r\n.\r\n")
    assert shell.machine.awaits is Leg.UPSTREAM, "one message, one answer to wait for"


# --- memory ----------------------------------------------------------------------------------------------------------

BOUND = 200_000  # octets: a reply of 64 KiB in the reader, and the last chunk


@pytest.mark.parametrize("piece", [b"x" * 16_384, b"250-" + b"x" * 500 + b"\r\n", b"x\n" * 8192, b"AUTH " * 3000])
@pytest.mark.parametrize("leg", Leg)
@pytest.mark.parametrize("stage", [b"EHLO me\r\n", b"MAIL FROM:<a@example.org>\r\n"])
def test_what_is_kept_is_bounded(leg: Leg, piece: bytes, stage: bytes) -> None:
    shell = logged_in(HELLO["pipelining"], errors="1000")
    shell.receive(Leg.CLIENT, stage if leg is Leg.UPSTREAM else stage[:2])
    for _ in range(600):
        if shell.machine.awaits is not leg:
            break
        shell.receive(leg, piece)
        talk = shell.machine.talk
        assert len(talk.client) + len(talk.upstream) + sum(map(len, talk.group)) <= BOUND
    else:
        assert shell.machine.awaits is leg
