"""Reaching the upstream: name to socket, socket to TLS."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import trio

from gatepost.facts import HandshakeFailure, Peer, Tls, UpstreamFailure
from gatepost.net.channel import Channel, SocketChannel
from gatepost.net.tls import HandshakeError, pinned, upstream_context
from gatepost.settings import UpstreamSettings, UpstreamTls

SocketAddress = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


class ConnectError(Exception):
    """No connection, for a reason of the closed list."""

    def __init__(self, reason: UpstreamFailure) -> None:
        super().__init__(reason.value)
        self.reason = reason


def is_loopback(address: str) -> bool:
    """Whether an IP literal is of this machine alone (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3)."""
    parsed = ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


class Dialer:
    """Opens and secures upstream legs."""

    def __init__(self, settings: UpstreamSettings, seconds: float) -> None:
        self._settings = settings
        self._seconds = seconds
        self._context = upstream_context(settings) if settings.tls is not UpstreamTls.NEVER else None
        self._server_name = settings.server_name or settings.address.host
        try:
            host = ip_address(settings.address.host)
        except ValueError:
            self._literal: SocketAddress | None = None
        else:
            family = socket.AF_INET if host.version == 4 else socket.AF_INET6  # noqa: PLR2004
            self._literal = (family, (str(host), settings.address.port))

    async def connect(self) -> Channel:
        """A connected channel, from the first address that answers. Raises ConnectError."""
        reason = UpstreamFailure.UNRESOLVED
        for family, address in await self._addresses():
            connecting = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                failed = await self._connect(connecting, address)
            except BaseException:
                connecting.close()
                raise
            if failed is None:
                connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return SocketChannel(connecting, Peer(address[0], address[1], is_loopback(address[0])))
            connecting.close()
            reason = failed
        raise ConnectError(reason)

    async def _connect(self, connecting: socket.socket, address: tuple[Any, ...]) -> UpstreamFailure | None:
        code = connecting.connect_ex(address)
        if code == errno.EINPROGRESS:
            with trio.move_on_after(self._seconds) as patience:
                await trio.lowlevel.wait_writable(connecting)
            if patience.cancelled_caught:
                return UpstreamFailure.TIMED_OUT
            code = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return UpstreamFailure.UNREACHABLE if code else None

    async def _addresses(self) -> list[SocketAddress]:
        if self._literal is not None:
            return [self._literal]
        host, port = self._settings.address
        with contextlib.suppress(OSError), trio.move_on_after(self._seconds):
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]  # only IP sockets
        return []

    async def secure(self, channel: Channel) -> Tls:
        """The handshake, and the pins. Raises HandshakeError, Woken."""
        assert self._context is not None  # noqa: S101  settings without TLS never ask for it
        tls = await channel.secure(self._context, server_side=False, server_name=self._server_name)
        if not self._settings.pins:
            return tls
        certificate = channel.peer_certificate()
        if certificate is None or not pinned(certificate, self._settings.pins):
            raise HandshakeError(HandshakeFailure.BAD_PIN)
        return replace(tls, verified=True)
