"""A leg's byte stream: a non-blocking socket, and TLS over it once it is secured.

Not `trio.SSLStream`: that costs about twice the CPU per session (docs/decisions/0003). The socket is read only after it
is readable, TLS runs over `ssl.MemoryBIO`, and one task uses a channel at a time, which is what makes upgrading it
safe: nobody else can be reading while the handshake runs.

`wake` interrupts a wait from outside without losing bytes: it borrows `trio.lowlevel.notify_closing`, which wakes
whoever waits on the socket, and closes nothing.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Protocol

import trio

from gatepost.facts import HandshakeFailure, Peer, Tls
from gatepost.net.tls import HandshakeError, agreed, failure

RECORD_BYTES = 16_384  # RFC 8446 section 5.1: the most a TLS record carries
SMALL_BYTES = 16_384  # a read while commands are exchanged
LARGE_BYTES = 4 * (RECORD_BYTES + 256)  # a read inside a body: four whole TLS records

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


@lru_cache(maxsize=4096)
def known_as(host: str) -> tuple[str, bool]:
    """An IP literal as logs and limits know it, and whether it is of this machine alone.

    IPv4 has its own form also behind a dual-stack socket. Loopback: RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3.
    """
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address), (mapped or address).is_loopback


def peer_at(address: SocketAddress) -> Peer:
    """Who is at a socket's address."""
    host, loopback = known_as(address[0])
    return Peer(host, address[1], loopback)


class Woken(Exception):
    """The wait was interrupted by `wake`; nothing was lost, and it can be begun again."""


class Channel(Protocol):
    """What a conversation needs of a leg. Errors of the network are OSError."""

    peer: Peer

    async def receive(self) -> bytes:
        """At least one byte, or b"" at the end of the stream, orderly or not. Raises Woken."""

    def send(self, data: bytes) -> bool:
        """As much as goes without waiting; False: `flush` has to wait for the rest before anything else is sent."""

    async def flush(self) -> None:
        """Until all is sent. Raises Woken, after which the stream is good for nothing but receiving."""

    async def finish(self, last: bytes) -> None:
        """Send this, say goodbye as TLS does, and close, whatever happens. Raises Woken."""

    def received_already(self) -> bytes:
        """What can be had without waiting."""

    async def secure(self, context: ssl.SSLContext, *, server_side: bool, server_name: str = "") -> Tls:
        """Do the handshake. Raises HandshakeError, Woken."""

    def peer_certificate(self) -> bytes | None:
        """DER, or None when the peer showed none."""

    def wake(self) -> None:
        """Make a wait under way raise Woken."""

    def close(self) -> None:
        """At once and without a word."""


class SocketChannel:
    """A channel over a connected TCP socket."""

    __slots__ = (
        "_ended",
        "_incoming",
        "_outgoing",
        "_read_bytes",
        "_socket",
        "_tls",
        "_undecrypted",
        "_unsent",
        "peer",
    )

    def __init__(self, connected: socket.socket, peer: Peer) -> None:
        self.peer = peer
        self._socket = connected
        self._tls: ssl.SSLObject | None = None
        self._incoming: ssl.MemoryBIO
        self._outgoing: ssl.MemoryBIO
        self._read_bytes = SMALL_BYTES
        self._ended = False  # no plaintext will follow
        self._undecrypted = False  # records were read that nobody has looked at
        self._unsent = memoryview(b"")

    # --- receiving

    async def receive(self) -> bytes:
        while not self._ended:
            if self._undecrypted:
                self._undecrypted = False
                plaintext = self._decrypted()
                if self._outgoing.pending > RECORD_BYTES:  # answers to key updates pile up, and in a body nothing
                    self._ended = True  # is said that takes them along
                if plaintext:
                    return plaintext
            else:
                data = await self._read()
                if self._tls is None or not data:
                    return data
                self._incoming.write(data)
                self._undecrypted = True
        return b""

    def received_already(self) -> bytes:
        """For when sending failed: what the peer said before it went. A socket that was reset still gives it."""
        with contextlib.suppress(OSError):
            data = self._socket.recv(LARGE_BYTES)
            if self._tls is None:
                return data
            self._incoming.write(data)
            return self._decrypted()
        return b""

    async def _read(self) -> bytes:
        while True:
            try:
                await trio.lowlevel.wait_readable(self._socket)
                data = self._socket.recv(self._read_bytes)
            except trio.ClosedResourceError:
                raise Woken from None
            except BlockingIOError:
                continue
            # Whoever fills a read is sending a body: read more at once, and less again when it is over.
            self._read_bytes = LARGE_BYTES if len(data) >= SMALL_BYTES else SMALL_BYTES
            return data

    def _decrypted(self) -> bytes:
        """The plaintext of the whole records that were read, or b"" when there is none."""
        tls, incoming = self._tls, self._incoming
        assert tls is not None  # noqa: S101  the callers looked
        pieces = []
        try:
            while incoming.pending or tls.pending():
                piece = tls.read(RECORD_BYTES)
                if not piece:  # close_notify
                    self._ended = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass  # part of a record is left
        except ssl.SSLError:
            self._ended = True  # a forged or damaged record: what came before it was good
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # --- sending

    def send(self, data: bytes) -> bool:
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        return self._put(data)

    async def flush(self) -> None:
        while self._unsent:
            try:
                await trio.lowlevel.wait_writable(self._socket)
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except trio.ClosedResourceError:
                raise Woken from None
            except BlockingIOError:
                continue

    async def finish(self, last: bytes) -> None:
        try:
            if self._tls is not None:  # also when the peer has ended its side: what is said to it is never clear
                with contextlib.suppress(ssl.SSLError):  # SSLWantReadError: the peer's own goodbye is not waited for
                    if last:
                        self._tls.write(last)
                    self._tls.unwrap()  # (RFC 8446 section 6.1)
                last = self._outgoing.read()
            if last:
                if not self._put(last):
                    await self.flush()
                with contextlib.suppress(BlockingIOError):
                    self._socket.recv(LARGE_BYTES)  # unread bytes would turn the close into a reset, and lose `last`
        finally:
            self._socket.close()

    def _put(self, data: bytes) -> bool:
        """Whether all of it went; what did not is kept for `flush`."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return True
        self._unsent = memoryview(data)[sent:]
        return False

    # --- TLS

    async def secure(self, context: ssl.SSLContext, *, server_side: bool, server_name: str = "") -> Tls:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name or None
        )
        if server_side:  # the client speaks first
            await self._read_hello()
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send_flight()
                await self._read_flight()
            except (ssl.SSLError, ssl.CertificateError) as error:
                with contextlib.suppress(OSError):  # the alert tells the peer why
                    self._socket.send(self._outgoing.read())
                raise HandshakeError(failure(error)) from None
            else:
                break
        self._tls = tls
        self._undecrypted = True  # the peer may have spoken right behind its handshake
        # In TLS 1.3 only session tickets are left to be sent by a server: they go out with what it says next.
        if not (server_side and tls.version() == "TLSv1.3"):
            await self._send_flight()
        return agreed(tls)

    async def _send_flight(self) -> None:
        if self._outgoing.pending and not self._put(self._outgoing.read()):
            await self.flush()

    async def _read_hello(self) -> None:
        """Checks of an open port leave without one, in good order or by a reset."""
        try:
            await self._read_flight()
        except (OSError, HandshakeError):
            raise HandshakeError(HandshakeFailure.NO_HELLO) from None

    async def _read_flight(self) -> None:
        data = await self._read()
        if not data:
            raise HandshakeError(HandshakeFailure.PEER_CLOSED)
        self._incoming.write(data)

    def peer_certificate(self) -> bytes | None:
        """DER, or None when the peer showed none."""
        return self._tls.getpeercert(binary_form=True) if self._tls is not None else None

    # --- from outside, and the end

    def wake(self) -> None:
        trio.lowlevel.notify_closing(self._socket)

    def close(self) -> None:
        self._socket.close()
