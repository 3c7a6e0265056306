"""Peers that break, lie, stall and vanish, on real sockets: the right reply, no hang, no false message."""

import socket
import struct
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from gatehouse import PLAIN, Handler, Line, free_port, honest, honest_until, house
from gatepost.facts import Ending, HandshakeFailed, MessageEnded, MessageResult, UpstreamFailure
from gatepost.settings import Address, Auth

MAIL = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"


async def begin_message(line: Line) -> None:
    await line.send(MAIL)
    assert [(await line.reply())[:3] for _ in range(3)] == [b"250", b"250", b"354"]


def upstream(*, until: bytes, then: Handler) -> Handler:
    """Honest up to an event, and then something else."""

    async def handle(leg: Line) -> None:
        if until == b"" or await honest_until(leg, until):
            await then(leg)

    return handle


async def silence(leg: Line) -> None:
    await leg.rest()


async def hang_up(leg: Line) -> None:
    await leg.close()


async def reset(leg: Line) -> None:
    """Hang up in the rudest way."""
    stream = leg.stream
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await leg.close()


async def rubbish(leg: Line) -> None:
    await leg.send(b"\x15\x03\x01\x00\x02\x02\x28 this is no SMTP\r\n")
    await leg.rest()


async def ten_megabytes(leg: Line) -> None:
    await leg.send(b"250-" + b"x" * 1000 + b"\r\n")
    for _ in range(10_000):
        await leg.send(b"250-" + b"x" * 1000 + b"\r\n")


STATES = [b"", b"EHLO", b"AUTH"]


@pytest.mark.parametrize("fault", [hang_up, reset, rubbish, ten_megabytes], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("until", STATES, ids=["greeting", "ehlo", "auth"])
async def test_trouble_at_login_is_454_and_the_session_goes_on(tmp_path: Path, until: bytes, fault: Handler) -> None:
    good = {"it": False}

    async def sometimes(leg: Line) -> None:
        await (honest(leg) if good["it"] else upstream(until=until, then=fault)(leg))

    good["it"] = True
    async with house(tmp_path, sometimes) as it:
        good["it"] = False
        line = await it.connect()
        await line.starttls()
        await line.said(b"EHLO me")
        assert await line.said(PLAIN.strip()) == b"454 4.7.0 Temporary authentication failure"
        good["it"] = True
        assert (await line.said(PLAIN.strip())).startswith(b"235")
        assert (await line.said(b"QUIT")).startswith(b"221")
        (summary,) = await it.notes.ended()
    assert summary.ending is Ending.QUIT
    assert summary.auth_failures == 0


@pytest.mark.parametrize("until", STATES, ids=["greeting", "ehlo", "auth"])
async def test_silence_at_login_is_bounded(tmp_path: Path, until: bytes) -> None:
    timeouts = {"upstream_login": 0.5, "upstream_connect": 0.1}
    async with house(tmp_path, upstream(until=until, then=silence), probed=until == b"AUTH", timeouts=timeouts) as it:
        line = await it.connect()
        if until == b"AUTH":
            await line.starttls()
            await line.said(b"EHLO me")
            assert await line.said(PLAIN.strip()) == b"454 4.7.0 Temporary authentication failure"
        else:
            assert await line.said(b"EHLO me") == b"421 4.3.2 Mail server not available, closing connection"
            assert await line.rest() == b""


async def test_an_upstream_that_drips_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    async def drip(leg: Line) -> None:
        while True:
            await leg.send(b"2")
            await trio.sleep(0.1)

    async with house(tmp_path, drip, probed=False, timeouts={"upstream_login": 0.5, "upstream_connect": 0.1}) as it:
        line = await it.connect()
        assert (await line.said(b"EHLO me")).startswith(b"421 4.3.2")


async def test_an_upstream_that_is_down(tmp_path: Path) -> None:
    async with house(tmp_path, free_port(), probed=True) as it:
        assert it.watch.failure is UpstreamFailure.UNREACHABLE
        line = await it.connect()
        assert await line.said(b"EHLO me") == b"421 4.3.2 Mail server not available, closing connection"
        (summary,) = await it.notes.ended()
    assert summary.upstream_failure is UpstreamFailure.UNREACHABLE


@pytest.mark.parametrize("fault", [hang_up, reset], ids=lambda fault: fault.__name__)
async def test_an_upstream_that_hangs_up_in_the_message(tmp_path: Path, fault: Handler) -> None:
    async with house(tmp_path, upstream(until=b"BODY", then=fault)) as it:
        line = await it.connect()
        await line.log_in()
        await begin_message(line)
        await line.send(b"a line\r\n" * 200_000 + b".\r\n")
        assert await line.reply() == b"451 4.4.2 Connection to the mail server lost before it answered"
        assert await line.rest() == b""
        (summary,) = await it.notes.ended()
    assert summary.messages_accepted == 0
    assert summary.ending is Ending.UPSTREAM_LOST


async def test_what_the_upstream_says_before_it_hangs_up_is_the_answer(tmp_path: Path) -> None:
    async def refuse(leg: Line) -> None:
        await leg.send(b"552 5.3.4 too big for me\r\n")
        await leg.close()  # with much unread: the kernel resets the connection

    async with house(tmp_path, upstream(until=b"BODY", then=refuse)) as it:
        line = await it.connect()
        await line.log_in()
        await begin_message(line)
        for _ in range(200):
            await line.send(b"a line\r\n" * 10_000)
        await line.send(b".\r\n")
        assert await line.reply() == b"552 5.3.4 too big for me"
        await it.notes.ended()
    results = [fact.result for fact in it.notes.facts if isinstance(fact, MessageEnded)]
    assert results == [MessageResult.REJECTED]


@pytest.mark.parametrize(
    ("fault", "reply"),
    [
        (hang_up, b"451 4.4.2 Connection to the mail server lost before it answered"),
        (rubbish, b"421 4.3.0 Mail server trouble, closing connection"),
        (silence, b"451 4.4.2 Connection to the mail server lost before it answered"),
    ],
    ids=["hang up", "rubbish", "silence"],
)
async def test_no_answer_to_the_message_is_no_250(tmp_path: Path, fault: Handler, reply: bytes) -> None:
    async with house(tmp_path, upstream(until=b"DOT", then=fault), timeouts={"upstream_accept": 0.5}) as it:
        line = await it.connect()
        await line.log_in()
        await begin_message(line)
        await line.send(b"a line\r\n.\r\n")
        assert await line.reply() == reply
        assert await line.rest() == b""


async def test_an_upstream_that_stops_reading_is_given_up(tmp_path: Path) -> None:
    async def stare(leg: Line) -> None:
        await trio.sleep_forever()

    async with house(tmp_path, upstream(until=b"BODY", then=stare), timeouts={"body": 1.0}) as it:
        line = await it.connect()
        await line.log_in()
        await begin_message(line)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pour, line, b"a line\r\n" * 4_000_000 + b".\r\n")
            assert (await line.reply()).startswith(b"4")
            nursery.cancel_scope.cancel()
        (summary,) = await it.notes.ended()
    assert summary.messages_accepted == 0


async def _pour(line: Line, data: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        await line.send(data)


@pytest.mark.parametrize("rude", [True, False], ids=["without close_notify", "with close_notify"])
async def test_a_client_that_vanishes_in_the_message_delivers_nothing(tmp_path: Path, *, rude: bool) -> None:
    heard: list[bytes] = []
    gone = trio.Event()

    async def listen(leg: Line) -> None:
        heard.append(await leg.rest())
        gone.set()

    async with house(tmp_path, upstream(until=b"BODY", then=listen)) as it:
        line = await it.connect()
        await line.log_in()
        await begin_message(line)
        await line.send(b"half a message\r\nand some\r\n.")
        if rude:
            await line.close()
        else:
            await line.stream.aclose()
        await gone.wait()
        (summary,) = await it.notes.ended()
    assert b"\r\n.\r\n" not in b"\r\n" + heard[0]
    assert b"QUIT" not in heard[0]
    assert summary.messages_accepted == 0
    assert summary.ending is Ending.CLIENT_GONE


async def test_a_thousand_silent_connections_do_not_keep_a_good_client_out(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        silent = [await it.dial() for _ in range(1000)]
        line = await it.connect()
        await line.log_in()
        await begin_message(line)
        await line.send(b"a line\r\n.\r\n")
        assert (await line.reply()).startswith(b"250 queued")
        for line in silent:
            await line.close()
        await it.notes.ended(1000)


@pytest.mark.parametrize(
    "hello", [b"GET / HTTP/1.1\r\n\r\n", b"EHLO me\r\n" * 3, b"\x00" * 100, b"\x16\x03\x01\x00\x05hello"]
)
async def test_an_implicit_tls_port_closes_on_what_is_no_tls(tmp_path: Path, hello: bytes) -> None:
    async with house(tmp_path) as it:
        line = await it.dial(implicit=True)
        await line.send(hello)
        assert b"220" not in await line.rest()
        (summary,) = await it.notes.ended()
    assert summary.ending is Ending.HANDSHAKE_FAILED
    assert any(isinstance(fact, HandshakeFailed) for fact in it.notes.facts)


async def test_a_client_that_never_finishes_its_handshake_is_let_go(tmp_path: Path) -> None:
    async with house(tmp_path, timeouts={"handshake": 1.0}) as it:
        line = await it.dial(implicit=True)
        assert await line.rest() == b""
        (summary,) = await it.notes.ended()
    assert summary.ending is Ending.HANDSHAKE_FAILED


async def test_a_client_that_says_nothing_or_drips_is_let_go(tmp_path: Path) -> None:
    async with house(tmp_path, timeouts={"command": 1.0}) as it:
        quiet, dripping = await it.connect(), await it.connect()

        async def drip() -> None:
            try:
                while True:
                    await dripping.send(b"N")
                    await trio.sleep(0.2)
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert await quiet.reply() == b"421 4.4.2 Timeout, closing connection"
            assert await dripping.reply() == b"421 4.4.2 Timeout, closing connection"


async def test_a_client_that_does_not_read_its_replies_is_let_go(tmp_path: Path) -> None:
    async with house(
        tmp_path, auth=Auth.OFF, timeouts={"command": 1.0}, limits={"commands_before_login": 10_000}
    ) as it:
        line = await it.connect()
        await line.said(b"EHLO me")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pour, line, b"EHLO me\r\n" * 2_000_000)
            (summary,) = await it.notes.ended()
            nursery.cancel_scope.cancel()
    assert summary.ending in (Ending.CLIENT_GONE, Ending.REFUSED, Ending.CLIENT_TIMED_OUT)


@pytest.mark.parametrize(
    ("early", "reply"),
    [
        (b"250 queued already\r\n", b"451 4.4.2 Connection to the mail server lost before it answered"),
        (b"552 too big\r\n", b"552 too big"),
    ],
)
async def test_an_early_answer_is_no_acceptance_and_the_rest_is_no_command(
    tmp_path: Path, early: bytes, reply: bytes
) -> None:
    """An upstream that is back among its commands must not read the rest of the message as such."""
    answered, heard = trio.Event(), bytearray()

    async def answer(leg: Line) -> None:
        await leg.send(early)
        answered.set()
        heard.extend(await leg.rest())

    async with house(tmp_path, upstream(until=b"BODY", then=answer)) as it:
        line = await it.connect()
        await line.log_in()
        await begin_message(line)
        await line.send(b"first\r\n")
        await answered.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        await line.send(b"XCLIENT LOGIN=root\r\n.\r\n")
        assert await line.reply() == reply
        (summary,) = await it.notes.ended()
    assert summary.messages_accepted == 0
    assert b"XCLIENT" not in heard


async def test_a_client_and_an_upstream_lost_in_the_same_step_still_end_the_conversation(tmp_path: Path) -> None:
    behind = {"address": Address("nowhere.invalid", 25), "tls": "never"}
    async with house(tmp_path, 1, probed=False, behind=behind) as it:
        for _ in range(5):
            line = await it.connect()
            await line.send(b"NOOP\r\nEHLO x\r\n")
            await reset(line)
        endings = await it.notes.ended(5)
    assert all(summary.upstream_failure is UpstreamFailure.UNRESOLVED for summary in endings)


async def test_a_drain_that_begins_in_a_handshake_is_told_behind_it(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        line = await it.dial(implicit=True)
        await trio.testing.wait_all_tasks_blocked(0.05)
        it.stop.set()
        await trio.testing.wait_all_tasks_blocked(0.05)
        await line.secure()
        assert (await line.reply()).startswith(b"220")
        assert (await line.reply()).startswith(b"421 4.3.2")
        await it.left.wait()
    assert it.cut_off == [0]
