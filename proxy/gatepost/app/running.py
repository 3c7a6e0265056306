"""The life of gatepost: it starts, serves, reads its settings again when told to, and drains."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import trio

from gatepost.app.keeping import keep, keep_time, keep_users, why_not_ready
from gatepost.app.parts import Bound, CannotStart, Parts
from gatepost.app.regime import Unfit, built_in_differently, certificates_in_use, load_certificates, regime
from gatepost.facts import SettingsLoaded, SettingsRefused, Started, Stopped
from gatepost.net.listeners import Gate, Regime
from gatepost.net.systemd import keep_watched
from gatepost.observe import endpoint
from gatepost.settings import Address, Settings, SettingsError

Load = Callable[[], Settings]  # reads them again; raises SettingsError


@dataclass(slots=True)
class Orders:
    """What the process was told by signals."""

    stop: trio.Event = field(default_factory=trio.Event)
    reload: trio.Event = field(default_factory=trio.Event)  # a new one for each time


def run(settings: Settings, load: Load) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once. Raises CannotStart.

    SIGHUP: what `load` gives holds for new conversations.
    """
    try:
        trio.run(_run, Parts.make(settings), load)
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


async def _run(parts: Parts, load: Load) -> None:
    orders = Orders()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:

            async def heed() -> None:
                async for number in signals:
                    if number == signal.SIGHUP:
                        orders.reload.set()
                    elif orders.stop.is_set():
                        nursery.cancel_scope.cancel()
                    else:
                        orders.stop.set()
                        parts.notifier.stopping()

            nursery.start_soon(heed)
            await _serve(parts, orders, load, trio.TASK_STATUS_IGNORED)
            nursery.cancel_scope.cancel()


async def serve(settings: Settings, *, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED) -> None:
    """The whole application, without signals, until cancelled. Raises CannotStart."""
    await _serve(Parts.make(settings), Orders(), lambda: settings, task_status)


async def _serve(parts: Parts, orders: Orders, load: Load, task_status: trio.TaskStatus[Bound]) -> None:
    """Until told to stop and everyone has left, or cancelled."""
    try:
        async with parts.desk() as desk, trio.open_nursery() as nursery:
            gate = Gate(parts.regime, parts.observer, desk.answer)
            life = Life(parts, orders, load, gate)
            life.begin(nursery)
            task_status.started(parts.bound())
            parts.observer.record(Stopped(await gate.serve(parts.doors, orders.stop)))
            nursery.cancel_scope.cancel()
    finally:
        parts.observer.finish()
        parts.notifier.close()


class Life:
    """What goes on beside the conversations."""

    def __init__(self, parts: Parts, orders: Orders, load: Load, gate: Gate) -> None:
        self._parts = parts
        self._orders = orders
        self._load = load
        self._gate = gate
        self._settings = parts.settings  # those that hold

    def begin(self, nursery: trio.Nursery) -> None:
        parts, observer, bound = self._parts, self._parts.observer, self._parts.bound()
        observe = Address(*bound.observe)
        pages = endpoint.Pages(
            observer,
            lambda: self._gate.measured(parts.doors),
            lambda: why_not_ready(self._gate.regime, self._settings, self._orders.stop),
            lambda: str(self._settings.upstream.address),
            loopback=observe.loopback,
        )
        nursery.start_soon(endpoint.serve, parts.endpoint, pages)
        nursery.start_soon(observer.keep_telling)
        nursery.start_soon(keep_time, observer)
        nursery.start_soon(self._govern)
        if parts.users is not None:
            nursery.start_soon(keep_users, parts.users, parts.settings.tls.watch_seconds, observer)
        limit = self._gate.regime.limits.conversations
        observer.record(Started(tuple(bound.lines()), limit, str(observe), not observe.loopback))
        self._tell_ready()
        nursery.start_soon(keep_watched, parts.notifier)
        _spare_the_collector()

    def _tell_ready(self) -> None:
        self._parts.notifier.ready(f"serving {', '.join(self._parts.bound().lines())}")

    async def _govern(self) -> None:
        """Look after the regime that holds; after a SIGHUP, after another one."""
        while True:
            async with trio.open_nursery() as keepers:
                keepers.start_soon(keep, self._gate.regime, self._settings, self._parts.observer)
                while not await self._reload():
                    self._tell_ready()
                keepers.cancel_scope.cancel()
            self._tell_ready()

    async def _reload(self) -> bool:
        """Wait for a SIGHUP; whether other settings hold from now on. The file is taken whole, or not at all."""
        await self._orders.reload.wait()
        self._orders.reload = trio.Event()
        self._parts.notifier.reloading()
        observer = self._parts.observer
        try:
            settings = await trio.to_thread.run_sync(self._load)
            following = self._following(settings)
            certificates = certificates_in_use(following, settings)
        except (SettingsError, Unfit) as error:
            observer.record(SettingsRefused("; ".join(str(error).splitlines())))
            return False
        observer.record(await following.watch.probe())
        for each in certificates:
            observer.record(each)
        self._settings = settings
        self._gate.adopt(following)
        observer.record(SettingsLoaded(following.limits.conversations))
        return True

    def _following(self, settings: Settings) -> Regime:
        """Raises Unfit."""
        if tables := built_in_differently(self._settings, settings):
            raise Unfit(f"a restart is needed for what has changed in: {', '.join(tables)}")
        holding = self._gate.regime
        same = settings.tls == self._settings.tls
        following = regime(settings, holding.certificates if same else load_certificates(settings))
        if settings.upstream == self._settings.upstream:
            following.watch.take_over(holding.watch)
        return following


def _spare_the_collector() -> None:
    """What was made at the start lives for ever, and conversations leave few cycles: look seldom (measured: 5% CPU)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
