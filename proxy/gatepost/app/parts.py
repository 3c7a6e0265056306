"""Everything that is made once, as gatepost starts; what can go wrong at a start goes wrong here."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gatepost.app.regime import Unfit, load_certificates, regime
from gatepost.backends.desk import Desk, staffed
from gatepost.backends.users import Users
from gatepost.facts import Leg
from gatepost.net.listeners import Door, Regime, listen
from gatepost.net.tls import loaded
from gatepost.observe import logs
from gatepost.observe.observer import Observer
from gatepost.settings import Address, Settings


class CannotStart(Exception):
    """gatepost cannot start; the message says what is in the way."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Where it really listens, for callers that asked for port 0."""

    listeners: dict[str, list[tuple[str, int]]]
    observe: tuple[str, int]

    def lines(self) -> list[str]:
        return [f"{name} {host}:{port}" for name, addresses in self.listeners.items() for host, port in addresses]


@dataclass(frozen=True, slots=True)
class Parts:
    settings: Settings
    observer: Observer
    regime: Regime  # the first
    users: Users | None
    doors: list[Door]
    endpoint: socket.socket

    @classmethod
    def make(cls, settings: Settings) -> Parts:
        """Raises CannotStart."""
        observer = _observer(settings)
        try:
            first = regime(settings, load_certificates(settings))
        except Unfit as error:
            raise CannotStart(str(error)) from None
        _tell_certificates(first, settings, observer)
        return cls(
            settings,
            observer,
            first,
            users=_users(settings, observer),
            doors=_open_doors(settings),
            endpoint=_listen(settings.observe.bind, dual=True),
        )

    def bound(self) -> Bound:
        listeners = {door.name: [_name(listening) for listening in door.sockets] for door in self.doors}
        return Bound(listeners, _name(self.endpoint))

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[Desk]:
        """Raises CannotStart."""
        async with AsyncExitStack() as stack:
            if self.users is not None:
                stack.push_async_callback(self.users.close)  # after the desk, where a token may come in to the last
            try:
                desk = await stack.enter_async_context(staffed(self.settings, self.users, self.observer.record))
            except (OSError, ValueError) as error:
                raise CannotStart(f"a file for tokens cannot be used: {error}") from None
            yield desk


def _observer(settings: Settings) -> Observer:
    try:
        return Observer(settings, logs.configure(settings.log))
    except OSError as error:
        raise CannotStart(f"cannot read {settings.log.hash_key_file}: {error.strerror}") from None


def _tell_certificates(first: Regime, settings: Settings, observer: Observer) -> None:
    for served in first.certificates.generation.loaded:
        observer.record(served)
    if settings.upstream.certificate is not None:  # what gatepost shows the upstream
        try:
            observer.record(loaded(Leg.UPSTREAM, settings.upstream.certificate))
        except (OSError, ValueError) as error:
            raise CannotStart(f"the certificates cannot be loaded: {error}") from None


def _users(settings: Settings, observer: Observer) -> Users | None:
    if settings.users is None:
        return None
    try:
        users = Users(settings.users, observer.record)
    except ValueError as error:
        raise CannotStart(str(error)) from None
    observer.record(users.loaded)
    return users


def _open_doors(settings: Settings) -> list[Door]:
    taken = {address.port for listener in settings.listeners for address in listener.bind if address.host == "0.0.0.0"}  # noqa: S104
    return [
        Door(listener.name, tuple(_listen(address, dual=address.port not in taken) for address in listener.bind))
        for listener in settings.listeners
    ]


def _listen(address: Address, *, dual: bool) -> socket.socket:
    try:
        return listen(address, dual=dual)
    except OSError as error:
        raise CannotStart(f"cannot listen on {address}: {os.strerror(error.errno or 0)}") from None


def _name(listening: socket.socket) -> tuple[str, int]:
    host, port = listening.getsockname()[:2]
    return host, port
