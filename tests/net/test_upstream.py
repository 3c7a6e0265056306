"""Reaching the upstream: names, addresses that do not answer, and what the probe makes of it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import trio
from trio.testing import MockClock

from gatehouse import PATIENCE, Handler, Line, free_port, honest, house
from gatepost.facts import Peer, UpstreamFailure
from gatepost.net.channel import Channel
from gatepost.net.faults import failure
from gatepost.net.upstream import ConnectError, Dialer
from gatepost.settings import Address, UpstreamSettings, UpstreamTls

NAME = "legacy.example"
Found = (  # what the standard library answers
    tuple[Literal[socket.AddressFamily.AF_INET], socket.SocketKind, int, str, tuple[str, int]]
    | tuple[
        Literal[socket.AddressFamily.AF_INET6],
        socket.SocketKind,
        int,
        str,
        tuple[str, int, int, int] | tuple[int, bytes],
    ]
)


@dataclass
class Resolver(trio.abc.HostnameResolver):
    """Knows one name, whose addresses are ports of 127.0.0.1."""

    ports: list[int]
    fault: Exception | None = None
    silent: bool = False
    asked: list[str | bytes | None] = field(default_factory=list)

    async def getaddrinfo(  # noqa: PLR0917  Trio's signature
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> list[Found]:
        self.asked.append(host)
        if self.silent:
            await trio.sleep_forever()
        if self.fault:
            raise self.fault
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", number)) for number in self.ports]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise AssertionError("nobody asks who an address is")


def resolving(*ports: int, fault: Exception | None = None, silent: bool = False) -> Resolver:
    resolver = Resolver(list(ports), fault, silent)
    trio.socket.set_custom_hostname_resolver(resolver)  # for this run of Trio
    return resolver


def dialer(host: str = NAME, port: int = 25, seconds: float = PATIENCE) -> Dialer:
    return Dialer(UpstreamSettings(address=Address(host, port), tls=UpstreamTls.NEVER), seconds)


@contextmanager
def server(host: str = "127.0.0.1") -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listening:
        yield listening.getsockname()[1]


@contextmanager
def wall() -> Iterator[int]:
    """A port that answers no connection attempt, neither yes nor no: its backlog is full."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


@asynccontextmanager
async def connected(dialer: Dialer) -> AsyncIterator[Channel]:
    with trio.fail_after(PATIENCE):
        channel = await dialer.connect()
        try:
            yield channel
        finally:
            channel.close()


async def trouble(dialer: Dialer) -> UpstreamFailure:
    """Why it cannot be used; that may show only when it is."""
    try:
        async with connected(dialer) as channel:
            await channel.receive()
    except ConnectError as error:
        return error.reason
    except OSError as error:
        return failure(error)
    raise AssertionError("it can be used")


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [socket.gaierror(socket.EAI_NONAME, "no such name"), OSError("no network"), UnicodeError("label too long"), None],
    ids=lambda fault: type(fault).__name__,
)
async def test_a_name_without_addresses(fault: Exception | None) -> None:
    resolving(fault=fault)
    assert await trouble(dialer()) is UpstreamFailure.UNRESOLVED


async def test_a_resolver_that_does_not_answer_is_not_waited_for_for_ever(autojump_clock: MockClock) -> None:
    resolving(silent=True)
    began = trio.current_time()
    with pytest.raises(ConnectError) as caught:
        await dialer(seconds=7).connect()
    assert caught.value.reason is UpstreamFailure.UNRESOLVED
    assert trio.current_time() - began == 7


async def test_an_address_is_not_looked_up() -> None:
    resolver = resolving()
    with server() as port:
        async with connected(dialer("127.0.0.1", port)) as channel:
            assert channel.peer == Peer("127.0.0.1", port, loopback=True)
    assert resolver.asked == []


async def test_an_ipv6_address() -> None:
    with server("::1") as port:
        async with connected(dialer("::1", port)) as channel:
            assert channel.peer == Peer("::1", port, loopback=True)


# --- addresses -------------------------------------------------------------------------------------------------------


async def test_nobody_listens_there() -> None:
    assert await trouble(dialer("127.0.0.1", free_port())) is UpstreamFailure.UNREACHABLE


async def test_the_first_address_that_answers_is_used() -> None:
    with server() as port, server() as unused:
        resolving(free_port(), port, unused)
        async with connected(dialer()) as channel:
            assert channel.peer.port == port


async def test_no_address_answers() -> None:
    resolving(free_port(), free_port())
    assert await trouble(dialer()) is UpstreamFailure.UNREACHABLE


async def test_an_address_that_is_silent_keeps_nobody_from_the_next() -> None:
    with wall() as silent, server() as port:
        resolving(silent, port)
        async with connected(dialer(seconds=0.2)) as channel:
            assert channel.peer.port == port


async def test_a_family_that_this_machine_does_not_have_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket
    refused: list[object] = []

    def make(family: socket.AddressFamily, kind: int) -> socket.socket:
        if not refused:
            refused.append(family)
            raise OSError("address family not supported")
        return real(family, kind)

    with server() as port:
        resolving(port, port)
        with monkeypatch.context() as patched:
            patched.setattr(socket, "socket", make)
            async with connected(dialer()) as channel:
                assert channel.peer.port == port
    assert refused


def descriptors() -> int:
    """How many are open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_giving_up_leaves_no_socket_open() -> None:
    with wall() as silent:
        resolving(silent, silent)
        await trio.testing.wait_all_tasks_blocked()
        before = descriptors()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dialer().connect)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert descriptors() == before + 1
            nursery.cancel_scope.cancel()
        assert descriptors() == before


# --- the probe -------------------------------------------------------------------------------------------------------


def answering(*replies: bytes) -> Handler:
    """One reply after another, whatever is said; then hang up."""

    async def handle(leg: Line) -> None:
        for number, reply in enumerate(replies):
            if number:
                await leg.line()
            await leg.send(reply)

    return handle


async def silence(leg: Line) -> None:
    await leg.rest()


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (answering(), UpstreamFailure.CLOSED),
        (answering(b"220 legacy\r\n"), UpstreamFailure.CLOSED),
        (answering(b"554 go away\r\n"), UpstreamFailure.GREETING_REFUSED),
        (answering(b"220 legacy\r\n", b"550 no\r\n", b"550 no\r\n"), UpstreamFailure.HELLO_REFUSED),
        (answering(b"SSH-2.0-OpenSSH_9.2\r\n"), UpstreamFailure.GARBLED),
        (silence, UpstreamFailure.TIMED_OUT),
    ],
    ids=["hangs up", "hangs up at EHLO", "refuses", "refuses EHLO", "is no SMTP", "says nothing"],
)
async def test_what_is_wrong_with_it(tmp_path: Path, handler: Handler, reason: UpstreamFailure) -> None:
    async with house(tmp_path, handler, probed=False, timeouts={"upstream_login": 0.1}) as it:
        probed = await it.watch.probe()
        assert probed.failure is reason
        assert it.watch.failure is reason
        assert it.watch.upstream is None


async def test_the_last_good_answer_stays(tmp_path: Path) -> None:
    behave: list[Handler] = [honest]

    async def changing(leg: Line) -> None:
        await behave[0](leg)

    async with house(tmp_path, changing, probed=False) as it:
        assert it.watch.failure is UpstreamFailure.UNREACHABLE  # nobody has looked yet
        assert (await it.watch.probe()).failure is None
        good = it.watch.upstream
        assert good

        behave[0] = answering(b"421 busy\r\n")
        assert (await it.watch.probe()).failure is UpstreamFailure.GREETING_REFUSED
        assert it.watch.upstream is good

        behave[0] = honest
        assert (await it.watch.probe()).failure is None
        assert it.watch.failure is None
        assert it.watch.upstream is good  # what is remembered with it stays remembered

        behave[0] = answering(b"220 legacy\r\n", b"250 legacy\r\n", b"221 bye\r\n")
        assert (await it.watch.probe()).failure is None
        assert it.watch.upstream != good


async def test_an_upstream_that_does_not_take_leave_is_good_all_the_same(tmp_path: Path) -> None:
    async with house(tmp_path, answering(b"220 legacy\r\n", b"250 legacy\r\n"), probed=False) as it:
        assert (await it.watch.probe()).failure is None
        assert it.watch.upstream
