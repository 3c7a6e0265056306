"""A gate on real loopback sockets, for tests: listeners, an upstream made to order, and clients that speak plainly.

Everything listens on free ports of 127.0.0.1 and ends with the test.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio
import trustme

from gatepost.facts import ConversationEnded, Fact, Peer, ProcessFact, Summary
from gatepost.net.listeners import Door, Gate, Regime, listen
from gatepost.net.probe import Watch
from gatepost.net.tls import Certificates
from gatepost.net.upstream import Dialer
from gatepost.policy import Policy
from gatepost.session.talk import Rules, Waits
from gatepost.settings import (
    Address,
    Auth,
    LimitSettings,
    ListenerSettings,
    ListenerTls,
    LoneNewlines,
    TimeoutSettings,
    TlsSettings,
    UpstreamSettings,
    UpstreamTls,
)

PATIENCE = 20.0  # seconds that a test gives anything before it calls it hanging
HOST = "mx.example"
AUTHORITY = trustme.CA()
EHLO = b"250-legacy\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN LOGIN\r\n"
PLAIN = b"AUTH PLAIN AGFsaWNlAHB3\r\n"

Handler = Callable[["Line"], Awaitable[None]]


class Line:
    """A stream, line by line."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.buffer = b""
        self.heard = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def line(self) -> bytes:
        """The next line without its CRLF; b"" at the end of the stream."""
        while b"\n" not in self.buffer:
            data = await self.receive()
            if not data:
                return b""
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r")

    async def reply(self) -> bytes:
        """A whole reply; its last line."""
        while (line := await self.line())[3:4] == b"-":
            pass
        return line

    async def said(self, command: bytes) -> bytes:
        """Send a command, and read its reply."""
        await self.send(command + b"\r\n")
        return await self.reply()

    async def receive(self) -> bytes:
        """Whatever comes; b"" at the end, orderly or not."""
        try:
            data = bytes(await self.stream.receive_some(65536))
        except trio.BrokenResourceError:
            data = b""
        self.heard += data
        return data

    async def rest(self) -> bytes:
        """Everything up to the end."""
        data = self.buffer
        while more := await self.receive():
            data += more
        return data

    async def starttls(self) -> None:
        assert (await self.said(b"EHLO me")).startswith(b"250")
        assert (await self.said(b"STARTTLS")).startswith(b"220")
        await self.secure()

    async def secure(self) -> None:
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        self.stream = trio.SSLStream(self.stream, context, server_hostname=HOST, https_compatible=True)
        await self.stream.do_handshake()

    async def log_in(self) -> None:
        await self.starttls()
        assert (await self.said(b"EHLO me")).startswith(b"250")
        assert (await self.said(PLAIN.strip())).startswith(b"235")

    async def close(self) -> None:
        await trio.aclose_forcefully(self.stream)


@dataclass
class Notebook:
    """An observer that keeps everything."""

    facts: list[Fact | ProcessFact] = field(default_factory=list)
    endings: list[Summary] = field(default_factory=list)
    _ended: trio.Event = field(default_factory=trio.Event)

    def record(self, fact: Fact | ProcessFact) -> None:
        self.facts.append(fact)
        if isinstance(fact, ConversationEnded):
            self.endings.append(fact.summary)
            self._ended.set()
            self._ended = trio.Event()

    def conversation(self, listener: str, peer: Peer) -> Notebook:
        return self

    async def ended(self, count: int = 1) -> list[Summary]:
        """Wait until so many conversations have ended."""
        while len(self.endings) < count:
            await self._ended.wait()
        return self.endings


@dataclass
class House:
    """What a test has in its hands."""

    port: int
    implicit_port: int
    notes: Notebook
    gate: Gate
    stop: trio.Event
    watch: Watch
    cut_off: list[int] = field(default_factory=list)
    left: trio.Event = field(default_factory=trio.Event)
    lines: list[Line] = field(default_factory=list)

    async def dial(self, *, implicit: bool = False) -> Line:
        """A client that has said nothing yet; it is hung up on behind the test."""
        line = Line(await trio.open_tcp_stream("127.0.0.1", self.implicit_port if implicit else self.port))
        self.lines.append(line)
        return line

    async def connect(self) -> Line:
        """A client that was greeted."""
        line = await self.dial()
        assert (await line.reply()).startswith(b"220")
        return line


@dataclass
class Upstream:
    """A server made to order; `legs` are its connections, in order."""

    handler: Handler
    legs: list[Line] = field(default_factory=list)

    async def serve(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        async def handle(stream: trio.SocketStream) -> None:
            leg = Line(stream)
            self.legs.append(leg)
            async with stream:
                with suppress(trio.BrokenResourceError):  # the gate hung up
                    await self.handler(leg)

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(handle, [listener])


ANSWERS = {b"EHLO": EHLO, b"AUTH": b"235 ok\r\n", b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}


async def honest(leg: Line) -> None:
    """A whole, good session."""
    await honest_until(leg, b"never")


async def honest_until(leg: Line, event: bytes) -> bool:
    """A good session up to a verb, or BODY (a message began), or DOT (it ended); False: that did not come."""
    await leg.send(b"220 legacy\r\n")
    while line := await leg.line():
        verb = line[:4].upper()
        if verb == event:
            return True
        await leg.send(ANSWERS.get(verb, b"250 ok\r\n"))
        if verb == b"QUIT":
            return False
        if verb == b"DATA" and await _message(leg, event):
            return True
    return False


async def _message(leg: Line, event: bytes) -> bool:
    while (line := await leg.line()) not in (b".", b""):
        if event == b"BODY":
            return True
    if event == b"DOT" and line:
        return True
    await leg.send(b"250 queued\r\n")
    return False


def certificates(folder: Path, name: str = HOST) -> TlsSettings:
    issued = AUTHORITY.issue_cert(name)
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return TlsSettings(certificate=folder / "cert.pem", key=folder / "key.pem")


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@asynccontextmanager
async def house(
    folder: Path,
    upstream: Handler | int = honest,
    *,
    auth: Auth = Auth.REQUIRED,
    limits: dict[str, object] | None = None,
    timeouts: dict[str, float] | None = None,
    probed: bool = True,
    behind: Mapping[str, object] | None = None,
) -> AsyncIterator[House]:
    """A gate in front of an upstream (a handler, or a port), with everything ended behind it."""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            port = upstream if isinstance(upstream, int) else await nursery.start(Upstream(upstream).serve)
            made = UpstreamSettings.model_validate(
                {"address": Address("127.0.0.1", port), "tls": UpstreamTls.NEVER} | dict(behind or {})
            )
            times = TimeoutSettings(**({"upstream_connect": 2.0, "upstream_login": 5.0} | (timeouts or {})))
            bounds = LimitSettings.model_validate(limits or {})
            dialer = Dialer(made, times.upstream_connect)
            listeners = [_listener(tls, auth) for tls in ListenerTls]
            rules = {listener.name: _rules(listener, made, bounds, times) for listener in listeners}
            doors = [Door(listener.name, (listen(listener.bind[0], dual=False),)) for listener in listeners]
            watch = Watch(rules[doors[0].name], dialer)
            watch.relays = False
            if probed:
                await watch.probe()
            notes = Notebook()
            regime = Regime(bounds, rules, dialer, watch, Certificates(certificates(folder)))
            gate = Gate(regime, notes)
            ports = [door.sockets[0].getsockname()[1] for door in doors]
            it = House(ports[0], ports[1], notes, gate, trio.Event(), watch)

            async def serve() -> None:
                it.cut_off.append(await gate.serve(doors, it.stop))
                it.left.set()

            nursery.start_soon(serve)
            yield it
            nursery.cancel_scope.cancel()
        for door in doors:
            door.sockets[0].close()
        for line in it.lines:
            await line.close()


def _listener(tls: ListenerTls, auth: Auth) -> ListenerSettings:
    return ListenerSettings(name=tls.value, bind=(Address("127.0.0.1", 0),), tls=tls, auth=auth)


def _rules(
    listener: ListenerSettings, upstream: UpstreamSettings, limits: LimitSettings, timeouts: TimeoutSettings
) -> Rules:
    return Rules(Policy(listener, limits, HOST.encode()), upstream, LoneNewlines.NORMALISE, Waits(timeouts))
