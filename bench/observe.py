"""What metrics and logs cost gatepost, and what a scrape does to those who wait: see README.md beside this file."""

from __future__ import annotations

import argparse
import io
import ssl
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import h11
import trio
import trustme
from auth import HERE, Gatepost, server_behind

from gatepost.facts import Measured, Started
from gatepost.observe import logs
from gatepost.observe.endpoint import Pages
from gatepost.observe.observer import Observer
from gatepost.session.phases import Phase
from gatepost.settings import (
    Address,
    ListenerSettings,
    ListenerTls,
    LogSettings,
    NetworkSettings,
    ObserveSettings,
    Settings,
    TlsSettings,
    UpstreamSettings,
    UpstreamTls,
)

UNOBSERVED = (str(Path(__file__).with_name("unobserved.py")),)
LISTENERS, NETWORKS, CONVERSATIONS, SCRAPES = 3, 8, 10_000, 50

# --- sessions ---------------------------------------------------------------------------------------------------------


def sessions_cost(rounds: int, sessions: int) -> dict[str, list[float]]:
    """CPU milliseconds per session, observed and not, one value for each round; they take turns."""
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with server_behind(1) as ports:
        gates = {
            "unobserved": Gatepost(HERE, ports["plain"], authority, UNOBSERVED),
            "observed": Gatepost(HERE, ports["plain"], authority),
        }
        taken: dict[str, list[float]] = {name: [] for name in gates}
        try:
            for gate in gates.values():
                gate.run(sessions, trust)  # warm
            for number in range(rounds):
                for name in list(gates)[:: 1 if number % 2 else -1]:
                    taken[name].append(gates[name].run(sessions, trust))
        finally:
            for gate in gates.values():
                gate.stop()
    return taken


# --- a scrape ---------------------------------------------------------------------------------------------------------


def observer() -> Observer:
    listeners = (
        ListenerSettings(name=f"listener-{number}", bind=(Address("127.0.0.1", 0),), tls=ListenerTls.STARTTLS)
        for number in range(LISTENERS)
    )
    networks = (
        NetworkSettings(name=f"network-{number}", addresses=(ip_network(f"10.{number}.0.0/16"),))
        for number in range(NETWORKS)
    )
    settings = Settings(
        upstream=UpstreamSettings(address=Address("127.0.0.1", 25), tls=UpstreamTls.NEVER),
        tls=TlsSettings(certificate=Path("cert.pem"), key=Path("key.pem")),
        listeners=tuple(listeners),
        observe=ObserveSettings(networks=tuple(networks)),
    )
    made = Observer(settings, logs.configure(LogSettings(), io.StringIO()))
    made.record(Started((), CONVERSATIONS))
    return made


def measure() -> Measured:
    """As the gate does it, over so many conversations."""
    phases = list(Phase)
    inside = ((f"listener-{number % LISTENERS}", phases[number % len(phases)]) for number in range(CONVERSATIONS))
    return Measured({(name, phase.name.lower()): count for (name, phase), count in Counter(inside).items()}, {})


async def scrape_cost(target: str) -> tuple[float, float]:
    """Milliseconds of one request, and the longest that somebody else had to wait for a turn meanwhile."""
    pages = Pages(observer(), measure, list, lambda: "127.0.0.1:25", loopback=True)
    accept = ("accept", "application/openmetrics-text; version=1.0.0")
    request = h11.Request(method="GET", target=target, headers=[("host", "127.0.0.1"), accept])
    longest = 0.0

    async def wait_for_turns() -> None:
        nonlocal longest
        before = time.perf_counter()
        while True:
            await trio.lowlevel.checkpoint()
            now = time.perf_counter()
            longest, before = max(longest, now - before), now

    times, waits = [], []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_turns)
        for _ in range(SCRAPES):
            await trio.lowlevel.checkpoint()
            longest, began = 0.0, time.perf_counter()
            await pages.answer(request)
            times.append(1000 * (time.perf_counter() - began))
            await trio.lowlevel.checkpoint()
            waits.append(1000 * longest)
        nursery.cancel_scope.cancel()
    return statistics.median(times), statistics.median(waits)


def report(taken: dict[str, list[float]]) -> Iterator[str]:
    yield "| | CPU ms per session, median | quartiles |\n|---|---:|---|"
    for what, values in taken.items():
        low, middle, high = statistics.quantiles(values, n=4)
        yield f"| {what} | {middle:.3f} | {low:.3f} to {high:.3f} |"
    ratios = [on / off for on, off in zip(taken["observed"], taken["unobserved"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    yield f"\nobserved is {middle:.3f} times unobserved, quartiles {low:.3f} to {high:.3f}, {len(ratios)} pairs"
    for target in ("/metrics", "/"):
        took, waited = trio.run(scrape_cost, target)
        yield f"{target} takes {took:.1f} ms, and nobody else waits for more than {waited:.1f} ms at a time"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--sessions", type=int, default=200)
    given = arguments.parse_args()
    for line in report(sessions_cost(given.rounds, given.sessions)):
        print(line)  # noqa: T201  this is its purpose


if __name__ == "__main__":
    main()
