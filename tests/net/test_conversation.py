"""One conversation in virtual time: how long anyone may take, to the second, and what comes of it."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from dialogue import Dialogue
from gatepost.facts import (
    ConversationEnded,
    Crashed,
    Ending,
    Fact,
    HandshakeFailed,
    HandshakeFailure,
    Leg,
    MessageEnded,
    MessageResult,
    Summary,
    UpstreamConnected,
)
from gatepost.net.answering import Answerer, nobody
from gatepost.net.clients import ClientSide
from gatepost.net.conversation import Conversation
from gatepost.sasl.questions import CheckToken, Holder, Question
from gatepost.session.machine import Machine, converse
from gatepost.session.talk import Talk
from gatepost.settings import ClientIdentity
from memory import MemoryChannel, MemoryDialer

SECOND = 1.0  # the sweeper looks once a second, so everything takes up to one more
PLAIN = b"AUTH PLAIN AGFsaWNlAHB3\r\n"
EHLO = b"250-legacy\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"


@dataclass
class Scene:
    """A conversation under way."""

    client: MemoryChannel
    dialer: MemoryDialer
    conversation: Conversation
    machine: Machine
    facts: list[Fact] = field(default_factory=list)
    over: trio.Event = field(default_factory=trio.Event)

    def record(self, fact: Fact) -> None:
        self.facts.append(fact)

    @property
    def summary(self) -> Summary:
        (ended,) = [fact.summary for fact in self.facts if isinstance(fact, ConversationEnded)]
        return ended

    async def hear(self, *starts: bytes) -> None:
        for start in starts:
            line = await self.client.far.hear()
            assert line.startswith(start), line

    async def log_in(self) -> MemoryChannel:
        """A login over implicit TLS; the upstream's channel."""
        self.client.far.shook_hands.set()
        await self.hear(b"220")
        self.client.far.say(b"HELO me\r\n")
        await self.hear(b"250")
        self.client.far.say(PLAIN)
        await self.dialer.dialled.wait()
        upstream = self.dialer.channels[-1]
        for said, answer in ((b"", b"220 legacy\r\n"), (b"EHLO", EHLO), (b"AUTH", b"235 ok\r\n")):
            if said:
                assert (await upstream.far.hear()).startswith(said)
            upstream.far.say(answer)
        await self.hear(b"235")
        return upstream

    async def begin_message(self, upstream: MemoryChannel) -> None:
        self.client.far.say(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
        for _ in range(3):
            await upstream.far.hear()
        upstream.far.say(b"250 ok\r\n250 ok\r\n354 go on\r\n")
        await self.hear(b"250", b"250", b"354")


@asynccontextmanager
async def scene(answerer: Answerer = nobody, **options: str) -> AsyncIterator[Scene]:
    script = Dialogue("", options, ())
    machine = Machine(Talk(script.rules(), script.snapshot(), relays=False), converse)
    client, dialer = MemoryChannel(), MemoryDialer()
    facts: list[Fact] = []

    class Recorder:
        def record(self, fact: Fact) -> None:
            facts.append(fact)

    conversation = Conversation(machine, Recorder(), dialer, answerer)
    conversation.accept(client, ClientSide(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ClientIdentity.EMAIL))
    it = Scene(client, dialer, conversation, machine, facts)

    async def sweep() -> None:
        while True:
            await trio.sleep(SECOND)
            conversation.sweep(trio.current_time())

    async def run() -> None:
        await conversation.run()
        it.over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweep)
        nursery.start_soon(run)
        yield it
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def taking(seconds: float) -> AsyncIterator[None]:
    """What happens inside takes so long, give or take the sweeper's second."""
    began = trio.current_time()
    yield
    assert seconds <= trio.current_time() - began <= seconds + 2 * SECOND


async def test_a_silent_client_has_five_minutes(autojump_clock: MockClock) -> None:
    async with scene() as it:
        async with taking(300):
            await it.hear(b"220", b"421 4.4.2 Timeout, closing connection")
        await it.over.wait()
        assert it.summary.ending is Ending.CLIENT_TIMED_OUT


async def test_dripping_a_command_earns_nothing(autojump_clock: MockClock) -> None:
    async with scene() as it:

        async def drip() -> None:
            while True:
                it.client.far.say(b"x")
                await trio.sleep(10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            async with taking(300):
                await it.hear(b"220", b"421 4.4.2")
            nursery.cancel_scope.cancel()


async def test_each_command_earns_a_fresh_wait(autojump_clock: MockClock) -> None:
    async with scene() as it:
        await it.hear(b"220")
        for _ in range(3):
            await trio.sleep(250)
            it.client.far.say(b"NOOP\r\n")
            await it.hear(b"250")
        async with taking(300):
            await it.hear(b"421 4.4.2")


async def test_a_handshake_has_half_a_minute(autojump_clock: MockClock) -> None:
    async with scene(tls="implicit") as it:
        async with taking(30):
            await it.over.wait()
        assert it.summary.ending is Ending.HANDSHAKE_FAILED
        assert HandshakeFailed(Leg.CLIENT, HandshakeFailure.TIMED_OUT) in it.facts


async def test_an_upstream_has_forty_seconds_for_its_greeting_and_thirty_for_each_reply(
    autojump_clock: MockClock,
) -> None:
    async with scene(tls="implicit") as it:
        it.client.far.shook_hands.set()
        await it.hear(b"220")
        it.client.far.say(b"HELO me\r\n" + PLAIN)
        async with taking(40):
            await it.hear(b"250", b"454 4.7.0")
        it.dialer.dialled = trio.Event()
        it.client.far.say(PLAIN)
        await it.dialer.dialled.wait()
        it.dialer.channels[-1].far.say(b"220 legacy\r\n")
        async with taking(30):
            await it.hear(b"454 4.7.0")
        it.client.far.say(b"QUIT\r\n")
        await it.hear(b"221")
        await it.over.wait()
        assert it.summary.ending is Ending.QUIT


async def test_the_time_to_the_greeting_is_a_fact(autojump_clock: MockClock) -> None:
    async with scene(tls="implicit") as it:
        it.client.far.shook_hands.set()
        await it.hear(b"220")
        it.client.far.say(b"HELO me\r\n" + PLAIN)
        await it.dialer.dialled.wait()
        await trio.sleep(7)
        it.dialer.channels[0].far.say(b"220 legacy\r\n")
        await it.dialer.channels[0].far.hear()
        assert UpstreamConnected(7.0) in it.facts


async def test_a_message_may_take_long_but_not_drip(autojump_clock: MockClock) -> None:
    async with scene(tls="implicit") as it:
        upstream = await it.log_in()
        await it.begin_message(upstream)
        for _ in range(10):
            await trio.sleep(170)
            it.client.far.say(b"x" * 4094 + b"\r\n")

        async def drip() -> None:
            while True:
                await trio.sleep(10)
                it.client.far.say(b"x")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            async with taking(180):
                await it.hear(b"421 4.4.2")
            nursery.cancel_scope.cancel()
        await it.over.wait()
        assert [fact.result for fact in it.facts if isinstance(fact, MessageEnded)] == [MessageResult.ABORTED]


async def test_an_upstream_has_ten_minutes_for_its_answer_to_a_message(autojump_clock: MockClock) -> None:
    async with scene(tls="implicit") as it:
        upstream = await it.log_in()
        await it.begin_message(upstream)
        it.client.far.say(b"text\r\n.\r\n")
        async with taking(600):
            await it.hear(b"451 4.4.2")
        await it.over.wait()
        assert upstream.far.closed.is_set()


async def test_a_client_that_takes_nothing_is_given_up(autojump_clock: MockClock) -> None:
    async with scene() as it:
        await it.hear(b"220")
        it.client.choked = True
        it.client.far.say(b"NOOP\r\n")
        async with taking(300):
            await it.over.wait()
        assert it.summary.ending is Ending.CLIENT_GONE


async def test_an_upstream_that_takes_nothing_is_given_up(autojump_clock: MockClock) -> None:
    async with scene(tls="implicit") as it:
        upstream = await it.log_in()
        await it.begin_message(upstream)
        upstream.choked = True
        it.client.far.say(b"text\r\n")
        await trio.sleep(200)
        it.client.far.say(b".\r\n")
        await it.hear(b"451 4.4.2")
        await it.over.wait()
        assert it.summary.messages_accepted == 0


async def test_a_drain_wakes_who_waits_for_a_command(autojump_clock: MockClock) -> None:
    async with scene() as it:
        await it.hear(b"220")
        await trio.testing.wait_all_tasks_blocked()
        it.conversation.drain()
        async with taking(0):
            await it.hear(b"421 4.3.2")
        await it.over.wait()
        assert it.summary.ending is Ending.DRAINED


async def test_a_drain_lets_a_message_end(autojump_clock: MockClock) -> None:
    async with scene(tls="implicit") as it:
        upstream = await it.log_in()
        await it.begin_message(upstream)
        it.client.far.say(b"half\r\n")
        await upstream.far.hear()
        it.conversation.drain()
        await trio.sleep(20)
        it.client.far.say(b"whole\r\n.\r\n")
        assert [await upstream.far.hear(), await upstream.far.hear()] == [b"whole", b"."]
        upstream.far.say(b"250 queued\r\n")
        await it.hear(b"250 queued", b"421 4.3.2")
        await it.over.wait()
        assert it.summary.messages_accepted == 1


async def test_a_bug_is_told_to_nobody(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as it:
        await it.hear(b"220")

        def bug(*_args: object) -> None:
            raise ValueError("the password is AGFsaWNlAHB3")

        monkeypatch.setattr(Machine, "received", bug)
        it.client.far.say(PLAIN)
        await it.hear(b"421 4.3.0 Internal fault, closing connection")
        await it.over.wait()
        (crash,) = [fact for fact in it.facts if isinstance(fact, Crashed)]
        assert crash.error == "ValueError"
        assert "AGFsaWNlAHB3" not in repr(it.facts)
        assert it.summary.ending is Ending.CRASHED


async def test_being_cut_off_closes_and_tells(autojump_clock: MockClock) -> None:
    async with scene() as it:
        await it.hear(b"220")
    assert it.client.far.closed.is_set()
    assert it.summary.ending is Ending.CUT_OFF


# --- questions -------------------------------------------------------------------------------------------------------

TOKEN = b"AUTH OAUTHBEARER " + b64encode(b"n,,\1auth=Bearer tok\1\1") + b"\r\n"
CHECKED = {"tls": "implicit", "verify": "tokens", "represent": "xclient", "snapshot": "XCLIENT LOGIN"}


class Provider:
    """Knows one token, for ten minutes, when it answers at all."""

    def __init__(self, *, answers: bool = True) -> None:
        self.asked = trio.Event()
        self._answers = answers

    async def answer(self, question: Question[Any]) -> object:
        assert isinstance(question, CheckToken)
        self.asked.set()
        if not self._answers:
            await trio.sleep_forever()
        return Holder("bob", 600)


async def show_token(it: Scene) -> None:
    it.client.far.shook_hands.set()
    await it.hear(b"220")
    it.client.far.say(b"HELO me\r\n")
    await it.hear(b"250")
    it.client.far.say(TOKEN)


async def let_in(it: Scene) -> MemoryChannel:
    """The upstream takes XCLIENT, and the client is in."""
    await show_token(it)
    await it.dialer.dialled.wait()
    upstream = it.dialer.channels[-1]
    hello = b"250-legacy\r\n250-PIPELINING\r\n250 XCLIENT LOGIN\r\n"
    for said, reply in ((b"", b"220 x\r\n"), (b"EHLO", hello), (b"XCLIENT LOGIN=bob", b"220 x\r\n"), (b"EHLO", hello)):
        if said:
            assert (await upstream.far.hear()).startswith(said)
        upstream.far.say(reply)
    await it.hear(b"235")
    return upstream


async def test_a_question_has_fifteen_seconds(autojump_clock: MockClock) -> None:
    async with scene(Provider(answers=False).answer, **CHECKED) as it:
        async with taking(15):
            await show_token(it)
            await it.hear(b"454 4.7.0")
        assert not it.dialer.channels


async def test_a_client_that_leaves_while_a_question_is_open(autojump_clock: MockClock) -> None:
    provider = Provider(answers=False)
    async with scene(provider.answer, **CHECKED) as it:
        await show_token(it)
        await provider.asked.wait()
        it.client.far.leave()
        await it.over.wait()
        assert it.summary.ending is Ending.CLIENT_GONE


async def test_a_drain_waits_for_the_answer(autojump_clock: MockClock) -> None:
    provider = Provider(answers=False)
    async with scene(provider.answer, **CHECKED) as it:
        await show_token(it)
        await provider.asked.wait()
        it.conversation.drain()
        await it.hear(b"454 4.7.0", b"421 4.3.2")


async def test_a_conversation_ends_with_the_token_that_opened_it(autojump_clock: MockClock) -> None:
    async with scene(Provider().answer, **CHECKED) as it:
        await let_in(it)
        for _ in range(5):  # being busy is no help
            await trio.sleep(100)
            it.client.far.say(b"EHLO me\r\n")
            upstream = it.dialer.channels[-1]
            await upstream.far.hear()
            upstream.far.say(b"250 legacy\r\n")
            await it.hear(b"250-mx.example", b"250 PIPELINING")
        async with taking(100):
            await it.hear(b"421 4.7.0 Authorization expired")
        upstream.far.leave()
        await it.over.wait()
        assert it.summary.ending is Ending.TOKEN_EXPIRED


async def test_a_message_under_way_outlives_the_token(autojump_clock: MockClock) -> None:
    async with scene(Provider().answer, **CHECKED) as it:
        upstream = await let_in(it)
        await trio.sleep(299)
        it.client.far.say(b"NOOP\r\n")
        assert await upstream.far.hear() == b"NOOP"
        upstream.far.say(b"250 ok\r\n")
        await it.hear(b"250")
        await trio.sleep(299)
        await it.begin_message(upstream)
        await trio.sleep(10)
        it.client.far.say(b"hello\r\n.\r\n")
        await upstream.far.hear()
        await upstream.far.hear()
        upstream.far.say(b"250 taken\r\n")
        await it.hear(b"250 taken", b"421 4.7.0 Authorization expired")
