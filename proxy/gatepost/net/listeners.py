"""The doors: listening sockets, who is let in, how many at once, how long they may wait, and how all of them leave."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

import trio

from gatepost.facts import ConnectionRefused, DrainBegan, Limit, Measured, Peer, Refusal
from gatepost.net.answering import Answerer, nobody
from gatepost.net.channel import SocketChannel, peer_at
from gatepost.net.clients import ClientSide
from gatepost.net.conversation import Conversation
from gatepost.net.observing import Observer
from gatepost.net.probe import Watch
from gatepost.net.tls import Certificates
from gatepost.net.upstream import Dialer
from gatepost.policy import is_within
from gatepost.session.machine import Machine, converse
from gatepost.session.talk import Rules, Talk
from gatepost.settings import Address, LimitSettings, ListenerTls
from gatepost.wire.refusals import REFUSALS

BACKLOG = 4096
BATCH = 64  # connections taken from one listener before the others have their turn
SWEEP_SECONDS = 1.0
TCP_INFO_BYTES = 28  # of `struct tcp_info` (linux/tcp.h), up to and with tcpi_unacked
TURNED_AWAY = {
    Limit.CONVERSATIONS: Refusal.TOO_MANY_CONVERSATIONS,
    Limit.CONVERSATIONS_PER_CLIENT: Refusal.TOO_MANY_FROM_CLIENT,
}
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def listen(address: Address, *, dual: bool) -> socket.socket:
    """A listening socket; `dual`: an IPv6 one for all addresses takes IPv4 too. Raises OSError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # accepted sockets inherit these
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family is socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        listening.bind(tuple(address))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def counted_as(address: str) -> str:
    """Whom an address stands for in limits: itself, or its /64, since one IPv6 host has that many (RFC 6177)."""
    parsed = ip_address(address)
    return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64" if isinstance(parsed, IPv6Address) else address


def _waiting(listening: socket.socket) -> int:
    """Connections that the kernel has made and nobody has accepted: tcpi_unacked of a listening socket (tcp(7))."""
    try:
        info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    except OSError:  # it is closed: gatepost is stopping
        return 0
    return int.from_bytes(info[-4:], sys.byteorder)


@dataclass(frozen=True, slots=True)
class Regime:
    """What holds for new conversations."""

    limits: LimitSettings
    rules: Mapping[str, Rules]  # by listener
    dialer: Dialer
    watch: Watch
    certificates: Certificates


@dataclass(frozen=True, slots=True)
class Door:
    """One listener, open."""

    name: str
    sockets: tuple[socket.socket, ...]


class Gate:
    """All doors, and everyone inside."""

    def __init__(self, regime: Regime, observer: Observer, answerer: Answerer = nobody) -> None:
        self.adopt(regime)
        self._observer = observer
        self._answerer = answerer
        self._inside: dict[Conversation, Talk] = {}
        self._per_client: Counter[str] = Counter()
        self._left = trio.Event()  # set when the last one leaves

    def adopt(self, regime: Regime) -> None:
        """New conversations are held to this one from now on."""
        self.regime = regime
        self._client = lru_cache(maxsize=4096)(self._counted_client)

    async def serve(self, doors: Sequence[Door], stop: trio.Event) -> int:
        """Until told to stop, and then until everyone has left or the time is up; how many were cut off."""
        async with trio.open_nursery() as inside:
            inside.start_soon(self._sweep)
            async with trio.open_nursery() as accepting:
                for door in doors:
                    for listening in door.sockets:
                        accepting.start_soon(self._accept, door, listening, inside)
                await stop.wait()
                accepting.cancel_scope.cancel()
            for door in doors:
                for listening in door.sockets:
                    listening.close()
            cut_off = await self._drain(doors)
            inside.cancel_scope.cancel()
        return cut_off

    async def _drain(self, doors: Sequence[Door]) -> int:
        seconds = self.regime.rules[doors[0].name].waits.drain_seconds
        self._observer.record(DrainBegan(len(self._inside)))
        for conversation in self._inside:
            conversation.drain()
        with trio.move_on_after(seconds):
            while self._inside:
                self._left = trio.Event()
                await self._left.wait()
        return len(self._inside)

    async def _sweep(self) -> None:
        """Wake whoever is past the deadline. Once a second is fine enough for deadlines of seconds and minutes."""
        while True:
            await trio.sleep(SWEEP_SECONDS)
            now = trio.current_time()
            for conversation in self._inside:
                conversation.sweep(now)

    def measured(self, doors: Sequence[Door]) -> Measured:
        """How many stand where."""
        standing = Counter((talk.policy.listener.name, talk.phase) for talk in self._inside.values())
        active = {(listener, phase.name.lower()): count for (listener, phase), count in standing.items()}
        return Measured(active, {door.name: sum(map(_waiting, door.sockets)) for door in doors})

    # --- letting in

    async def _accept(self, door: Door, listening: socket.socket, inside: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(listening)
            for _ in range(BATCH):
                try:
                    connected, address = listening.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in EXHAUSTED:
                        self._observer.record(ConnectionRefused(door.name, Limit.FILE_DESCRIPTORS))
                        await trio.sleep(SWEEP_SECONDS)
                        break
                    continue  # the client was gone before it was let in
                connected.settimeout(0)
                self._admit(door, connected, peer_at(address), inside)

    def _admit(self, door: Door, connected: socket.socket, peer: Peer, inside: trio.Nursery) -> None:
        regime, client = self.regime, self._client(peer.address)
        if len(self._inside) >= regime.limits.conversations:
            self._turn_away(door, connected, peer, Limit.CONVERSATIONS)
        elif client is not None and self._per_client[client] >= regime.limits.conversations_per_client:
            self._turn_away(door, connected, peer, Limit.CONVERSATIONS_PER_CLIENT)
        else:
            rules = regime.rules[door.name]
            talk = Talk(rules, regime.watch.upstream, peer.address, relays=regime.watch.relays)
            recorder = self._observer.conversation(door.name, peer)
            conversation = Conversation(Machine(talk, converse), recorder, regime.dialer, self._answerer)
            context = regime.certificates.context(rules.policy.listener.profile)
            side = ClientSide(context, regime.certificates.identity)
            conversation.accept(SocketChannel(connected, peer), side)
            self._inside[conversation] = talk
            if client is not None:
                self._per_client[client] += 1
            inside.start_soon(self._converse, conversation, client)

    async def _converse(self, conversation: Conversation, client: str | None) -> None:
        try:
            await conversation.run()
        finally:
            del self._inside[conversation]
            if client is not None:
                self._per_client[client] -= 1
                if not self._per_client[client]:
                    del self._per_client[client]
            if not self._inside:
                self._left.set()

    def _turn_away(self, door: Door, connected: socket.socket, peer: Peer, limit: Limit) -> None:
        """Say why where that is possible without TLS, and close; this must cost next to nothing."""
        self._observer.record(ConnectionRefused(door.name, limit, peer.address))
        if self.regime.rules[door.name].policy.listener.tls is ListenerTls.STARTTLS:
            with contextlib.suppress(OSError):
                connected.send(REFUSALS[TURNED_AWAY[limit]])
        connected.close()

    def _counted_client(self, address: str) -> str | None:
        """None: the address stands for many clients, and is not counted."""
        return None if is_within(address, self.regime.limits.uncounted) else counted_as(address)
