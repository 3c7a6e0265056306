"""Everything that is made once, as gatepost starts; what can go wrong at a start goes wrong here."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gatepost.app.regime import Unfit, certificates_in_use, load_certificates, regime
from gatepost.backends.desk import Desk, staffed
from gatepost.backends.users import Users
from gatepost.net.listeners import Door, Regime, listen
from gatepost.net.systemd import Notifier, activated
from gatepost.observe import logs
from gatepost.observe.observer import Observer
from gatepost.settings import Address, Settings

OBSERVE = "observe"  # what a socket for [observe] is called that a service manager passes


class CannotStart(Exception):
    """gatepost cannot start; the message says what is in the way."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Where it really listens, for callers that asked for port 0."""

    listeners: dict[str, list[tuple[str, int]]]
    observe: tuple[str, int]

    def lines(self) -> list[str]:
        return [f"{name} {Address(*address)}" for name, addresses in self.listeners.items() for address in addresses]


@dataclass(frozen=True, slots=True)
class Parts:
    settings: Settings
    observer: Observer
    regime: Regime  # the first
    users: Users | None
    doors: list[Door]
    endpoint: socket.socket
    notifier: Notifier

    @classmethod
    def make(cls, settings: Settings) -> Parts:
        """Raises CannotStart."""
        observer = _observer(settings)
        try:
            first = regime(settings, load_certificates(settings))
            certificates = certificates_in_use(first, settings)
        except Unfit as error:
            raise CannotStart(str(error)) from None
        for each in certificates:
            observer.record(each)
        passed = _passed(settings)
        return cls(
            settings,
            observer,
            first,
            users=_users(settings, observer),
            doors=_open_doors(settings, passed),
            endpoint=(passed.get(OBSERVE) or [_listen(settings.observe.bind, dual=True)])[0],
            notifier=Notifier(),
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


def _users(settings: Settings, observer: Observer) -> Users | None:
    if settings.users is None:
        return None
    try:
        users = Users(settings.users, observer.record)
    except ValueError as error:
        raise CannotStart(str(error)) from None
    observer.record(users.loaded)
    return users


def _passed(settings: Settings) -> dict[str, list[socket.socket]]:
    """Sockets that a service manager opened, by the listener that they are for."""
    try:
        passed = activated()
    except ValueError as error:
        raise CannotStart(str(error)) from None
    known = [*(listener.name for listener in settings.listeners), OBSERVE]
    if unknown := sorted(passed.keys() - known):
        raise CannotStart(f"sockets were passed for {', '.join(unknown)}; those that can take one: {', '.join(known)}")
    if OBSERVE in passed and known.count(OBSERVE) > 1:
        raise CannotStart(f"a socket was passed for {OBSERVE}, and a listener has that name too")
    if len(passed.get(OBSERVE, ())) > 1:
        raise CannotStart(f"several sockets were passed for {OBSERVE}, which takes one")
    return passed


def _open_doors(settings: Settings, passed: dict[str, list[socket.socket]]) -> list[Door]:
    taken = {address.port for listener in settings.listeners for address in listener.bind if address.host == "0.0.0.0"}  # noqa: S104
    doors = []
    for listener in settings.listeners:
        sockets = passed.get(listener.name) or [
            _listen(address, dual=address.port not in taken) for address in listener.bind
        ]
        doors.append(Door(listener.name, tuple(sockets)))
    return doors


def _listen(address: Address, *, dual: bool) -> socket.socket:
    try:
        return listen(address, dual=dual)
    except OSError as error:
        raise CannotStart(f"cannot listen on {address}: {os.strerror(error.errno or 0)}") from None


def _name(listening: socket.socket) -> tuple[str, int]:
    host, port = listening.getsockname()[:2]
    return host, port
