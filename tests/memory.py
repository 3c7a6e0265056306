"""A channel without sockets, for conversations in virtual time: memory streams, and TLS that is only said to be."""

from __future__ import annotations

import ssl

import trio
from trio.testing import MemoryReceiveStream

from gatepost.facts import Peer, Tls
from gatepost.net.channel import Woken
from gatepost.net.upstream import Dialer
from gatepost.settings import Address, UpstreamSettings, UpstreamTls

PEER = Peer("127.0.0.1", 4711, loopback=True)


class MemoryChannel:
    """One end, as a conversation has it; `far` is the other, as the test has it."""

    def __init__(self) -> None:
        self.peer = PEER
        self._from_far, self._to_far = MemoryReceiveStream(), MemoryReceiveStream()
        self.far = Far(self._from_far, self._to_far)
        self._waiting = trio.CancelScope()
        self._unsent = b""
        self.choked = False  # the peer takes nothing more

    async def receive(self) -> bytes:
        with trio.CancelScope() as self._waiting:
            return bytes(await self._from_far.receive_some())
        raise Woken

    def send(self, data: bytes) -> bool:
        if self.choked:
            self._unsent += data
            return False
        self._to_far.put_data(data)
        return True

    async def flush(self) -> None:
        with trio.CancelScope() as self._waiting:
            await trio.sleep_forever()
        raise Woken

    async def finish(self, last: bytes) -> None:
        try:
            if last and not self.send(last):
                await self.flush()
        finally:
            self.close()

    def received_already(self) -> bytes:
        return b""

    async def secure(self, context: ssl.SSLContext, *, server_side: bool, server_name: str = "") -> Tls:
        with trio.CancelScope() as self._waiting:
            await self.far.shook_hands.wait()
            return Tls("TLSv1.3", "X", verified=True)
        raise Woken

    def peer_certificate(self) -> bytes | None:
        return None

    def wake(self) -> None:
        self._waiting.cancel()

    def close(self) -> None:
        self._to_far.put_eof()
        self.far.closed.set()


class Far:
    """The peer of a memory channel."""

    def __init__(self, to_near: MemoryReceiveStream, from_near: MemoryReceiveStream) -> None:
        self._to_near, self._from_near = to_near, from_near
        self._buffer = b""
        self.shook_hands = trio.Event()
        self.closed = trio.Event()

    def say(self, data: bytes) -> None:
        self._to_near.put_data(data)

    def leave(self) -> None:
        self._to_near.put_eof()

    async def hear(self) -> bytes:
        """The next line, without its CRLF; b"" at the end."""
        while b"\r\n" not in self._buffer:
            data = await self._from_near.receive_some()
            if not data:
                return b""
            self._buffer += bytes(data)
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line


class MemoryDialer(Dialer):
    """Gives out one memory channel after another."""

    def __init__(self) -> None:
        super().__init__(UpstreamSettings(address=Address("127.0.0.1", 25), tls=UpstreamTls.NEVER), 10.0)
        self.channels: list[MemoryChannel] = []
        self.dialled = trio.Event()

    async def connect(self) -> MemoryChannel:
        await trio.lowlevel.checkpoint()
        self.channels.append(MemoryChannel())
        self.dialled.set()
        return self.channels[-1]
