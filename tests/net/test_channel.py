"""A leg's bytes on real sockets: cut anywhere, more than fits, interrupted, truncated, and not to be believed."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from far import linked, received, secured
from gatehouse import certificates
from gatepost.facts import Tls
from gatepost.net.channel import SocketChannel, Woken, known_as
from gatepost.net.tls import Certificates
from gatepost.settings import TlsProfile

BODY = b"".join(b"line %d of a large body\r\n" % number for number in range(120_000))


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    return Certificates(certificates(tmp_path)).context(TlsProfile.INTERMEDIATE)


async def sent(near: SocketChannel, data: bytes) -> None:
    if not near.send(data):
        await near.flush()


# --- who it is -------------------------------------------------------------------------------------------------------


def test_an_ipv4_client_of_a_dual_stack_socket_keeps_its_own_form() -> None:
    assert known_as("::ffff:192.0.2.7") == ("192.0.2.7", False)
    assert known_as("::ffff:127.0.0.1") == ("127.0.0.1", True)
    assert known_as("fe80::1%eth0") == ("fe80::1", False)
    assert known_as("::1") == ("::1", True)


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("128.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_loopback(address: str, *, answer: bool) -> None:
    assert known_as(address)[1] is answer


# --- data ------------------------------------------------------------------------------------------------------------


async def test_records_cut_anywhere_come_whole_and_in_order(server: ssl.SSLContext) -> None:
    async with secured(server) as (near, far):
        text = b"".join(b"NOOP %d\r\n" % number for number in range(40))
        wire = b"".join(far.sealed(line) for line in text.splitlines(keepends=True))
        for cut in (1, 23, 1000, len(wire)):
            far.cut = cut
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far.send, wire)
                assert await received(near, len(text)) == text
            wire = far.sealed(text)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_large_body_comes_whole(server: ssl.SSLContext, *, tls: bool) -> None:
    async with secured(server) if tls else linked() as (near, far):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.send, far.sealed(BODY) if tls else BODY)
            assert await received(near, len(BODY)) == BODY
        await far.send(far.sealed(b".\r\n") if tls else b".\r\n")
        assert await received(near, 3) == b".\r\n"


@pytest.mark.parametrize("tls", [False, True])
async def test_more_than_the_peer_takes_at_once_waits_and_goes_whole(server: ssl.SSLContext, *, tls: bool) -> None:
    large = BODY * 4
    async with secured(server) if tls else linked() as (near, far):
        assert not near.send(large)
        flushed = trio.Event()

        async def flush() -> None:
            await near.flush()
            flushed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flush)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not flushed.is_set()
            assert await (far.hear_sealed if tls else far.hear)(len(large)) == large
        assert flushed.is_set()
        assert near.send(b"next\r\n")
        assert await (far.hear_sealed if tls else far.hear)(6) == b"next\r\n"


# --- being woken -----------------------------------------------------------------------------------------------------


async def woken(near: SocketChannel, wait: Callable[[], Awaitable[object]]) -> None:
    """Begin a wait, and wake it."""
    async with trio.open_nursery() as nursery:

        async def begin() -> None:
            with pytest.raises(Woken):
                await wait()

        nursery.start_soon(begin)
        await trio.testing.wait_all_tasks_blocked(0.01)
        near.wake()


@pytest.mark.parametrize("tls", [False, True])
async def test_waking_a_receiver_loses_nothing(server: ssl.SSLContext, *, tls: bool) -> None:
    async with secured(server) if tls else linked() as (near, far):
        wire = far.sealed(b"NOOP\r\n") if tls else b"NOOP\r\n"
        await woken(near, near.receive)
        if tls:
            await far.send(wire[:9])  # half a record is no data
            await woken(near, near.receive)
            await far.send(wire[9:])
        else:
            await far.send(wire)
        assert await received(near, 6) == b"NOOP\r\n"


async def test_waking_nobody_does_nothing() -> None:
    async with linked() as (near, far):
        near.wake()
        await far.send(b"NOOP\r\n")
        assert await near.receive() == b"NOOP\r\n"


async def test_who_waits_to_send_is_woken() -> None:
    async with linked() as (near, _):
        assert not near.send(BODY * 4)
        await woken(near, near.flush)


async def test_who_waits_in_a_handshake_is_woken(server: ssl.SSLContext) -> None:
    async with linked() as (near, far):
        await far.send(b"\x16\x03\x01")

        async def secure() -> Tls:
            return await near.secure(server, server_side=True)

        await woken(near, secure)


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orderly", [True, False])
async def test_data_before_the_end_come_first_and_the_end_stays(server: ssl.SSLContext, *, orderly: bool) -> None:
    async with secured(server) as (near, far):
        await far.send(far.sealed(b"half a li"))
        if orderly:
            await far.send(far.goodbye())  # and it leaves the connection open
        else:
            await far.stream.send_eof()
        assert await received(near, 9) == b"half a li"
        assert [await near.receive(), await near.receive()] == [b"", b""]


async def test_half_a_record_at_the_end_is_nothing(server: ssl.SSLContext) -> None:
    async with secured(server) as (near, far):
        await far.send(far.sealed(b"a line\r\n") + far.sealed(b".\r\n")[:-1])
        await far.stream.send_eof()
        assert await received(near, 8) == b"a line\r\n"
        assert await near.receive() == b""


async def test_nothing_behind_a_forged_record_is_believed(server: ssl.SSLContext) -> None:
    async with secured(server) as (near, far):
        forged = bytearray(far.sealed(b"forged\r\n"))
        forged[-1] ^= 1
        good = far.sealed(b"behind\r\n")
        await far.send(bytes(forged) + good)
        assert await near.receive() == b""
        await far.send(good)
        assert await near.receive() == b""


@pytest.mark.parametrize("said", [b"NOOP\r\n", b""])
async def test_who_makes_answers_pile_up_that_it_never_hears_is_let_go(server: ssl.SSLContext, said: bytes) -> None:
    """A key update (RFC 8446 section 4.6.3) is answered with the next thing said, and in a body nothing is."""
    async with secured(server) as (near, far):
        await far.send(far.sealed(b"EHLO me\r\n"))
        assert await received(near, 9) == b"EHLO me\r\n"
        near._outgoing.write(bytes(17_000))  # noqa: SLF001  the stdlib cannot ask for key updates, so they are made up
        await far.send(far.sealed(said) if said else far.sealed(b"half a record")[:-1])
        assert b"".join([await near.receive(), await near.receive()]) == said


@pytest.mark.parametrize("tls", [False, True])
async def test_last_words_arrive_though_the_peers_were_not_read(server: ssl.SSLContext, *, tls: bool) -> None:
    """A socket that is closed with something unread is reset, and its peer may lose what was on the way."""
    async with secured(server) if tls else linked() as (near, far):
        await far.send(far.sealed(b"NOOP\r\n" * 100) if tls else b"NOOP\r\n" * 100)
        await near.finish(b"221 bye\r\n")
        assert await (far.hear_sealed if tls else far.hear)(100) == b"221 bye\r\n"
        assert far.said_goodbye is tls
        assert await far.receive() == b""


async def test_last_words_are_never_in_the_clear_once_the_leg_is_tls(server: ssl.SSLContext) -> None:
    """Also when the peer said goodbye in one breath with its last command (RFC 8446 section 6.1: it still reads)."""
    async with secured(server) as (near, far):
        await far.send(far.sealed(b"QUIT\r\n") + far.goodbye())
        assert await received(near, 6) == b"QUIT\r\n"
        await near.finish(b"221 bye\r\n")
        while await far.receive():
            pass
        assert b"221 bye" not in far.raw
        assert len(far.raw) > len(b"221 bye\r\n")


async def test_last_words_to_who_sent_a_forged_record_are_not_in_the_clear_either(server: ssl.SSLContext) -> None:
    async with secured(server) as (near, far):
        await far.send(far.sealed(b"QUIT\r\n") + b"\x17\x03\x03\x00\x20" + bytes(32))
        assert await received(near, 6) == b"QUIT\r\n"
        await near.finish(b"221 bye\r\n")
        while await far.receive():
            pass
        assert b"221 bye" not in far.raw


async def test_closing_says_no_goodbye(server: ssl.SSLContext) -> None:
    async with secured(server) as (near, far):
        near.close()
        assert await far.hear_sealed(1) == b""
        assert not far.said_goodbye


async def test_finishing_with_a_peer_that_takes_nothing_ends_when_it_is_woken() -> None:
    async with linked() as (near, far):
        await woken(near, lambda: near.finish(BODY * 4))
        heard = await far.hear(len(BODY) * 4)
        assert len(heard) < len(BODY) * 4  # it was closed with the rest unsent


# --- what was said already -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
async def test_what_a_peer_said_before_it_reset_can_be_had(server: ssl.SSLContext, *, tls: bool) -> None:
    async with secured(server) if tls else linked() as (near, far):
        assert near.received_already() == b""
        await far.send(far.sealed(b"552 too big\r\n") if tls else b"552 too big\r\n")
        await far.reset()
        with pytest.raises(OSError):  # noqa: PT011, PT012  broken pipe or reset, at the first or the second
            while True:
                await sent(near, b"a line\r\n")
        assert near.received_already() == b"552 too big\r\n"
        assert near.received_already() == b""
