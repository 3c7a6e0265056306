"""The composition root: settings become rules, contexts, doors and observers; signals become a drain."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import trio

from gatepost.backends.desk import Desk, staffed
from gatepost.backends.users import Users
from gatepost.facts import CertificatesRefused, Leg, Started, Stopped, TimerLate, UsersRefused
from gatepost.net.listeners import Door, Gate, listen
from gatepost.net.probe import Watch
from gatepost.net.tls import Certificates, loaded
from gatepost.net.upstream import Dialer
from gatepost.observe import endpoint, logs
from gatepost.observe.observer import Observer
from gatepost.policy import Policy
from gatepost.sasl.exchange import Password
from gatepost.sasl.plan import Means, Naming
from gatepost.sasl.secret import Secret
from gatepost.session.talk import Rules, Waits
from gatepost.settings import Address, Auth, LimitSettings, RelayCheckSettings, Settings
from gatepost.settings.files import strip_newline
from gatepost.settings.ways import Ways

RELAY_RETRY_SECONDS = 5.0  # while the upstream gives no answer
LAG_SECONDS = 0.5  # how often the loop's own lateness is looked at
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


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that can be made without waiting; what can go wrong at a start goes wrong here."""

    settings: Settings
    observer: Observer
    certificates: Certificates
    users: Users | None
    doors: list[Door]
    endpoint: socket.socket

    @classmethod
    def make(cls, settings: Settings) -> Parts:
        """Raises CannotStart."""
        observer = _observer(settings)
        return cls(
            settings,
            observer,
            certificates=_certificates(settings, observer),
            users=_users(settings, observer),
            doors=_open_doors(settings),
            endpoint=_listen(settings.observe.bind, dual=True),
        )

    def bound(self) -> Bound:
        listeners = {door.name: [_name(listening) for listening in door.sockets] for door in self.doors}
        return Bound(listeners, _name(self.endpoint))


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once. Raises CannotStart."""
    try:
        trio.run(_run, Parts.make(settings))
    except ExceptionGroup as group:
        if reasons := group.subgroup(CannotStart):
            raise CannotStart("; ".join(map(str, _leaves(reasons)))) from None
        raise


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _run(parts: Parts) -> None:
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def heed() -> None:
                async for _ in signals:
                    if stop.is_set():
                        nursery.cancel_scope.cancel()
                    stop.set()

            nursery.start_soon(heed)
            await _serve(parts, stop, trio.TASK_STATUS_IGNORED)
            nursery.cancel_scope.cancel()


async def serve(settings: Settings, *, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED) -> None:
    """The whole application, without signals, until cancelled. Raises CannotStart."""
    await _serve(Parts.make(settings), trio.Event(), task_status)


async def _serve(parts: Parts, stop: trio.Event, task_status: trio.TaskStatus[Bound]) -> None:
    """Until `stop` is set and everyone has left, or cancelled."""
    try:
        await _serve_until(parts, stop, task_status)
    finally:
        parts.observer.finish()


async def _serve_until(parts: Parts, stop: trio.Event, task_status: trio.TaskStatus[Bound]) -> None:
    settings, observer, certificates, users = parts.settings, parts.observer, parts.certificates, parts.users
    dialer = Dialer(settings.upstream, settings.timeouts.upstream_connect)
    watch = Watch(parts.doors[0].rules, dialer)
    limits = _affordable(settings)
    async with _desk(parts) as desk, trio.open_nursery() as nursery:
        gate = Gate(
            limits, dialer=dialer, watch=watch, certificates=certificates, observer=observer, answerer=desk.answer
        )
        pages = endpoint.Pages(
            observer,
            lambda: gate.measured(parts.doors),
            lambda: _not_ready(settings, watch, certificates, stop),
            str(settings.upstream.address),
            loopback=settings.observe.bind.loopback,
        )
        nursery.start_soon(endpoint.serve, parts.endpoint, pages)
        nursery.start_soon(observer.keep_telling)
        nursery.start_soon(_keep_time, observer)
        nursery.start_soon(_keep_probing, watch, settings.upstream.probe_seconds, observer)
        nursery.start_soon(_keep_certificates, certificates, settings.tls.watch_seconds, observer)
        if _admits_strangers(settings):
            nursery.start_soon(_keep_checking_relay, watch, settings.relay_check, observer)
        if users is not None:
            nursery.start_soon(_keep_users, users, settings.tls.watch_seconds, observer)
        bound = parts.bound()
        observe = str(Address(*bound.observe))
        exposed = not settings.observe.bind.loopback
        observer.record(Started(tuple(bound.lines()), limits.conversations, observe, exposed))
        _spare_the_collector()
        task_status.started(bound)
        observer.record(Stopped(await gate.serve(parts.doors, stop, settings.timeouts.drain)))
        nursery.cancel_scope.cancel()


# --- starting --------------------------------------------------------------------------------------------------------


def _observer(settings: Settings) -> Observer:
    try:
        return Observer(settings, logs.configure(settings.log))
    except OSError as error:
        raise CannotStart(f"cannot read {settings.log.hash_key_file}: {error.strerror}") from None


def _certificates(settings: Settings, observer: Observer) -> Certificates:
    own = settings.upstream.certificate
    try:
        certificates = Certificates(settings.tls)
        if own is not None:  # what gatepost shows the upstream
            observer.record(loaded(Leg.UPSTREAM, own))
    except (OSError, ValueError) as error:
        raise CannotStart(f"the certificates cannot be loaded: {error}") from None
    for served in certificates.generation.loaded:
        observer.record(served)
    return certificates


def _users(settings: Settings, observer: Observer) -> Users | None:
    if settings.users is None:
        return None
    try:
        users = Users(settings.users, observer.record)
    except ValueError as error:
        raise CannotStart(str(error)) from None
    observer.record(users.loaded)
    return users


@asynccontextmanager
async def _desk(parts: Parts) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        if parts.users is not None:
            stack.push_async_callback(parts.users.close)  # after the desk, where a token may come in to the last
        try:
            desk = await stack.enter_async_context(staffed(parts.settings, parts.users, parts.observer.record))
        except (OSError, ValueError) as error:
            raise CannotStart(f"a file for tokens cannot be used: {error}") from None
        yield desk


def _means(settings: Settings) -> Means:
    upstream, service = settings.upstream, None
    if upstream.service_user is not None and upstream.service_password_file is not None:
        try:
            secret = upstream.service_password_file.read_bytes()
        except OSError as error:
            raise CannotStart(f"cannot read {upstream.service_password_file}: {error.strerror}") from None
        service = Password(upstream.service_user, "", Secret(strip_newline(secret)))
    naming = Naming(upstream.login_template, {each.client.casefold(): each.upstream for each in upstream.logins})
    tokens = settings.tokens
    return Means(
        Ways.of(settings),
        service,
        naming,
        scope=tokens.scope if tokens else "",
        ends_with_token=tokens is not None and tokens.end_conversations,
    )


def _open_doors(settings: Settings) -> list[Door]:
    name = settings.smtp.hostname or socket.gethostname()
    try:
        hostname = name.encode("idna")
    except UnicodeError:
        raise CannotStart(f"{name!r} is no host name: set smtp.hostname") from None
    waits = Waits(settings.timeouts)
    means = _means(settings)
    taken = {address.port for listener in settings.listeners for address in listener.bind if address.host == "0.0.0.0"}  # noqa: S104
    doors = []
    for listener in settings.listeners:
        policies = tuple(each for each in settings.policies if each.covers(listener))
        local_domains = frozenset(settings.relay_check.local_domains)
        policy = Policy(listener, settings.limits, hostname, means, policies, local_domains)
        rules = Rules(policy, settings.upstream, settings.smtp.lone_newlines, waits)
        sockets = tuple(_listen(address, dual=address.port not in taken) for address in listener.bind)
        doors.append(Door(listener.name, rules, sockets))
    return doors


def _listen(address: Address, *, dual: bool) -> socket.socket:
    try:
        return listen(address, dual=dual)
    except OSError as error:
        raise CannotStart(f"cannot listen on {address}: {os.strerror(error.errno or 0)}") from None


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


def _spare_the_collector() -> None:
    """What was made at the start lives for ever, and conversations leave few cycles: look seldom (measured: 5% CPU)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _name(listening: socket.socket) -> tuple[str, int]:
    host, port = listening.getsockname()[:2]
    return host, port


# --- while running ---------------------------------------------------------------------------------------------------


async def _keep_time(observer: Observer) -> None:
    """How late a timer goes off is how long somebody who had something to do had to wait."""
    while True:
        due = trio.current_time() + LAG_SECONDS
        await trio.sleep_until(due)
        observer.record(TimerLate(max(0.0, trio.current_time() - due)))


async def _keep_probing(watch: Watch, seconds: float, observer: Observer) -> None:
    while True:
        observer.record(await watch.probe())
        await trio.sleep(seconds)


def _admits_strangers(settings: Settings) -> bool:
    """Whether mail may come without a login."""
    return any(listener.auth is not Auth.REQUIRED for listener in settings.listeners)


async def _keep_checking_relay(watch: Watch, settings: RelayCheckSettings, observer: Observer) -> None:
    while True:
        checked = await watch.check_relay(settings.domain)
        if checked is not None:
            observer.record(checked)
        await trio.sleep(RELAY_RETRY_SECONDS if checked is None else settings.seconds)


class Complaints:
    """What goes wrong with something that is tried again and again: each complaint is told once.

    `said` is the last one, until all is well.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.said = ""

    @contextmanager
    def told_once(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if str(error) != self.said:
                self.said = str(error)
                self._tell(self.said)
        else:
            self.said = ""


async def _keep_certificates(certificates: Certificates, seconds: float, observer: Observer) -> None:
    complaints = Complaints(lambda why: observer.record(CertificatesRefused(why)))
    while True:
        await trio.sleep(seconds)
        with complaints.told_once():
            changed = certificates.reload()
            for served in certificates.generation.loaded if changed or complaints.said else ():
                observer.record(served)


async def _keep_users(users: Users, seconds: float, observer: Observer) -> None:
    complaints = Complaints(lambda why: observer.record(UsersRefused(why)))
    while True:
        with trio.move_on_after(seconds):
            await users.wait_urgent()
        before = users.loaded
        await users.write_back()  # which takes over what somebody else wrote meanwhile
        with complaints.told_once():
            if await users.reload() or users.loaded != before or complaints.said:
                observer.record(users.loaded)


def _not_ready(settings: Settings, watch: Watch, certificates: Certificates, stop: trio.Event) -> list[str]:
    """Why no new client should be sent here; empty: ready."""
    reasons = []
    if stop.is_set():
        reasons.append("stopping")
    if watch.failure is not None:
        reasons.append(f"upstream: {watch.failure.value}")
    if watch.relays and _admits_strangers(settings) and not settings.relay_check.local_domains:
        reasons.append("relay: the upstream relays for anybody who comes from here; set relay_check.local_domains")
    now = time.time()
    reasons += [
        f"certificate expired: {served.file}" for served in certificates.generation.loaded if served.not_after <= now
    ]
    return reasons
