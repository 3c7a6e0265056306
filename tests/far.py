"""A channel on a real socket, and its peer, whose TLS is done by hand: a test decides what goes over the wire."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from gatehouse import AUTHORITY, HOST, PATIENCE
from gatepost.facts import Peer
from gatepost.net.channel import SocketChannel

TLS_1_1, TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class Far:
    """The peer."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.cut = 65_536  # bytes that go at once
        self.raw = b""  # all that came, as it came
        self.tls: ssl.SSLObject
        self.said_goodbye = False
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    async def send(self, data: bytes) -> None:
        for start in range(0, len(data), self.cut):
            await self.stream.send_all(data[start : start + self.cut])

    async def receive(self) -> bytes:
        data = bytes(await self.stream.receive_some(65_536))
        self.raw += data
        return data

    async def hear(self, count: int) -> bytes:
        """So many bytes in the clear."""
        heard = b""
        while len(heard) < count and (data := await self.receive()):
            heard += data
        return heard

    def begin(
        self, context: ssl.SSLContext, *, server_side: bool = False, session: ssl.SSLSession | None = None
    ) -> None:
        name = None if server_side else HOST
        self.tls = context.wrap_bio(
            self._incoming, self.outgoing, server_side=server_side, server_hostname=name, session=session
        )

    async def shake_hands(self, *, and_say: bytes = b"") -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send(self.outgoing.read())
                data = await self.receive()
                assert data
                self._incoming.write(data)
            else:
                break
        await self.send(self.outgoing.read() + (self.sealed(and_say) if and_say else b""))

    def sealed(self, data: bytes) -> bytes:
        """As it goes over the wire."""
        self.tls.write(data)
        return self.outgoing.read()

    def goodbye(self) -> bytes:
        """A close_notify, as it goes over the wire."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    async def hear_sealed(self, count: int) -> bytes:
        """So many bytes, or fewer at the end."""
        heard = b""
        while len(heard) < count:
            try:
                data = self.tls.read(65_536)
            except ssl.SSLWantReadError:
                if not (more := await self.receive()):
                    break
                self._incoming.write(more)
            else:
                heard += data
                if not data:
                    self.said_goodbye = True
                    break
        return heard

    async def reset(self) -> None:
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(self.stream)


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[SocketChannel, Far]]:
    """A channel over loopback TCP, and who is at its other end."""
    with trio.fail_after(PATIENCE), socket.create_server(("127.0.0.1", 0)) as listening:
        far = trio.SocketStream(trio.socket.from_stdlib_socket(socket.create_connection(listening.getsockname())))
        connected, address = listening.accept()
        connected.settimeout(0)
        channel = SocketChannel(connected, Peer(address[0], address[1], loopback=True))
        async with far:
            try:
                yield channel, Far(far)
            finally:
                channel.close()


def trusting(version: ssl.TLSVersion = TLS_1_3) -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    return context


@asynccontextmanager
async def secured(
    server: ssl.SSLContext, version: ssl.TLSVersion = TLS_1_3
) -> AsyncIterator[tuple[SocketChannel, Far]]:
    """The same behind a good handshake."""
    async with linked() as (near, far):
        far.begin(trusting(version))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.shake_hands)
            await near.secure(server, server_side=True)
        yield near, far


async def received(near: SocketChannel, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await near.receive()
        assert piece
        data += piece
    return data
