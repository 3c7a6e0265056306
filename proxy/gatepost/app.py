"""The composition root: settings become rules, contexts, doors and observers; signals become a drain."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from dataclasses import dataclass

import trio

from gatepost.facts import CertificatesRefused, Started, Stopped
from gatepost.net.listeners import Door, Gate, listen
from gatepost.net.probe import Watch
from gatepost.net.tls import Certificates
from gatepost.net.upstream import Dialer
from gatepost.observe import endpoint, logs
from gatepost.observe.metrics import Metrics
from gatepost.observe.observer import Observer
from gatepost.policy import Policy
from gatepost.session.talk import Rules, Waits
from gatepost.settings import Address, LimitSettings, Settings

RESERVED_DESCRIPTORS = 64  # for listeners, the endpoint, files, and the probe


class CannotStart(Exception):
    """gatepost cannot start; the message says what is in the way."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Where it really listens, for callers that asked for port 0."""

    listeners: dict[str, list[tuple[str, int]]]
    observe: tuple[str, int]

    def lines(self) -> list[str]:
        return [f"{name} {host}:{port}" for name, addresses in self.listeners.items() for host, port in addresses]


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once. Raises CannotStart."""
    trio.run(_run, settings, strict_exception_groups=False)


async def _run(settings: Settings) -> None:
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def heed() -> None:
                async for _ in signals:
                    if stop.is_set():
                        nursery.cancel_scope.cancel()
                    stop.set()

            nursery.start_soon(heed)
            await serve(settings, stop=stop)
            nursery.cancel_scope.cancel()


async def serve(
    settings: Settings,
    *,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The whole application, until `stop` is set and everyone has left, or cancelled. Raises CannotStart."""
    stop = trio.Event() if stop is None else stop
    metrics = Metrics([listener.name for listener in settings.listeners])
    log = logs.configure(settings.log.format, settings.log.level)
    observer = Observer(metrics, log, tuple(listener.name for listener in settings.listeners))
    certificates = _certificates(settings, observer)
    dialer = Dialer(settings.upstream, settings.timeouts.upstream_connect)
    doors = _open_doors(settings)
    watch = Watch(doors[0].rules, dialer)
    observer.record(await watch.probe())
    gate = Gate(_affordable(settings), dialer=dialer, watch=watch, certificates=certificates, observer=observer)
    async with trio.open_nursery() as nursery:
        pages = endpoint.Pages(metrics, lambda: _not_ready(watch, certificates, stop))
        observe = await _open_endpoint(nursery, settings.observe.bind, pages)
        nursery.start_soon(_keep_probing, watch, settings.upstream.probe_seconds, observer)
        nursery.start_soon(_keep_certificates, certificates, settings.tls.watch_seconds, observer)
        bound = Bound({door.name: [_name(listening) for listening in door.sockets] for door in doors}, observe)
        observer.record(Started(tuple(bound.lines())))
        task_status.started(bound)
        observer.record(Stopped(await gate.serve(doors, stop, settings.timeouts.drain)))
        nursery.cancel_scope.cancel()


# --- starting --------------------------------------------------------------------------------------------------------


def _certificates(settings: Settings, observer: Observer) -> Certificates:
    try:
        certificates = Certificates(settings.tls)
    except (OSError, ValueError) as error:
        raise CannotStart(f"the certificates cannot be loaded: {error}") from None
    for loaded in certificates.generation.loaded:
        observer.record(loaded)
    return certificates


def _open_doors(settings: Settings) -> list[Door]:
    hostname = (settings.smtp.hostname or socket.getfqdn()).encode("idna")
    waits = Waits(settings.timeouts)
    taken = {address.port for listener in settings.listeners for address in listener.bind if address.host == "0.0.0.0"}  # noqa: S104
    doors = []
    for listener in settings.listeners:
        policy = Policy(listener, settings.limits, hostname)
        rules = Rules(policy, settings.upstream, settings.smtp.lone_newlines, waits)
        sockets = tuple(_listen(address, dual=address.port not in taken) for address in listener.bind)
        doors.append(Door(listener.name, rules, sockets))
    return doors


def _listen(address: Address, *, dual: bool) -> socket.socket:
    try:
        return listen(address, dual=dual)
    except OSError as error:
        raise CannotStart(f"cannot listen on {address}: {os.strerror(error.errno or 0)}") from None


async def _open_endpoint(nursery: trio.Nursery, address: Address, pages: endpoint.Pages) -> tuple[str, int]:
    try:
        bound: tuple[str, int] = await nursery.start(endpoint.serve, address, pages)
    except OSError as error:
        raise CannotStart(f"cannot listen on {address}: {os.strerror(error.errno or 0)}") from None
    return bound


def _affordable(settings: Settings) -> LimitSettings:
    """The limits, with conversations lowered to what the file descriptors allow: two for each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * settings.limits.conversations + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings.limits
    return settings.limits.model_copy(update={"conversations": max(1, (soft - RESERVED_DESCRIPTORS) // 2)})


def _name(listening: socket.socket) -> tuple[str, int]:
    host, port = listening.getsockname()[:2]
    return host, port


# --- while running ---------------------------------------------------------------------------------------------------


async def _keep_probing(watch: Watch, seconds: float, observer: Observer) -> None:
    while True:
        await trio.sleep(seconds)
        observer.record(await watch.probe())


async def _keep_certificates(certificates: Certificates, seconds: float, observer: Observer) -> None:
    while True:
        await trio.sleep(seconds)
        try:
            changed = certificates.reload()
        except (OSError, ValueError) as error:
            observer.record(CertificatesRefused(str(error)))
        else:
            for loaded in certificates.generation.loaded if changed else ():
                observer.record(loaded)


def _not_ready(watch: Watch, certificates: Certificates, stop: trio.Event) -> list[str]:
    """Why no new client should be sent here; empty: ready."""
    reasons = []
    if stop.is_set():
        reasons.append("stopping")
    if watch.failure is not None:
        reasons.append(f"upstream: {watch.failure.value}")
    now = time.time()
    reasons += [
        f"certificate expired: {loaded.file}" for loaded in certificates.generation.loaded if loaded.not_after <= now
    ]
    return reasons
