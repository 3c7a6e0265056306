"""Reaching the upstream: name to socket, socket to TLS."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import replace
from ipaddress import ip_address

import trio

from gatepost.facts import HandshakeFailure, Tls, UpstreamFailure
from gatepost.net.channel import Channel, SocketAddress, SocketChannel, peer_at
from gatepost.net.tls import HandshakeError, expiry, pinned, upstream_context
from gatepost.settings import UpstreamSettings, UpstreamTls

Target = tuple[socket.AddressFamily, SocketAddress]

NON_BLOCKING_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK  # combining enum members takes as long as a system call


class ConnectError(Exception):
    """No connection, for a reason of the closed list."""

    def __init__(self, reason: UpstreamFailure) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Dialer:
    """Opens and secures upstream legs."""

    def __init__(self, settings: UpstreamSettings, seconds: float) -> None:
        self._settings = settings
        self._seconds = seconds
        self._context = upstream_context(settings) if settings.tls is not UpstreamTls.NEVER else None
        self.server_name = settings.server_name or settings.address.host
        try:
            host = ip_address(settings.address.host)
        except ValueError:
            self._literal: Target | None = None
        else:
            family = socket.AF_INET if host.version == 4 else socket.AF_INET6  # noqa: PLR2004
            self._literal = (family, (str(host), settings.address.port))

    async def connect(self) -> Channel:
        """A channel to the first address that answers. Raises ConnectError.

        The last address is not waited for: whether anyone answers there shows as soon as the channel is used, and
        the usual upstream has just one.
        """
        addresses = await self._addresses()
        reason = UpstreamFailure.UNRESOLVED
        for family, address in addresses:
            reason = UpstreamFailure.UNREACHABLE
            try:
                connecting = socket.socket(family, NON_BLOCKING_STREAM)
            except OSError:  # no descriptor left, or no such family here
                continue
            try:
                if await self._connects(connecting, address, last=address is addresses[-1][1]):
                    return SocketChannel(connecting, peer_at(address))
            except BaseException:
                connecting.close()
                raise
            connecting.close()
        raise ConnectError(reason)

    async def _connects(self, connecting: socket.socket, address: SocketAddress, *, last: bool) -> bool:
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = connecting.connect_ex(address)
        if code == errno.EINPROGRESS and not last:
            code = await self._outcome(connecting)
        return code in (0, errno.EINPROGRESS)

    async def _outcome(self, connecting: socket.socket) -> int:
        """An errno; 0: connected."""
        with trio.move_on_after(self._seconds):
            await trio.lowlevel.wait_writable(connecting)
            return connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return errno.ETIMEDOUT

    async def _addresses(self) -> list[Target]:
        if self._literal is not None:
            return [self._literal]
        host, port = self._settings.address
        with contextlib.suppress(OSError, UnicodeError), trio.move_on_after(self._seconds):
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]  # only IP sockets
        return []

    async def secure(self, channel: Channel) -> Tls:
        """The handshake, and the pins. Raises HandshakeError, Woken."""
        assert self._context is not None  # noqa: S101  settings without TLS never ask for it
        tls = await channel.secure(self._context, server_side=False, server_name=self.server_name)
        certificate = channel.peer_certificate() or b""
        if tls.verified:  # otherwise nobody looks at the date
            tls = replace(tls, not_after=expiry(certificate))
        if not self._settings.pins:
            return tls
        if not pinned(certificate, self._settings.pins):
            raise HandshakeError(HandshakeFailure.BAD_PIN)
        return replace(tls, verified=True)
