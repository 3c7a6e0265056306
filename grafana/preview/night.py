"""A night of traffic in front of a real gatepost, under the eyes of a real Prometheus.

A quarter of an hour lasts from one scrape to the next, so a night is over in a minute. What is done in which quarter is
one table, and it is the same in every night. In the middle the legacy server becomes slow, is gone, and comes back with
more mechanisms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cast import Cast, Tally
from gate import ACCOUNTS, Gate, gate
from legacy import Legacy
from processes import free_port, until
from prometheus import SCRAPE_SECONDS, Prometheus, prometheus
from strangers import Strangers

Act = Callable[[int], None]

QUARTERS = 46
SLOW, OUTAGE, BACK = 22, 28, 35


@dataclass(frozen=True)
class Night:
    """A night that is over. Prometheus and gatepost are still there, so that both can be asked."""

    prometheus: Prometheus
    gate: Gate
    tally: Tally
    began: float
    ended: float

    @property
    def span(self) -> tuple[float, float]:
        return self.began, self.ended


def schedule(cast: Cast, strangers: Strangers) -> list[tuple[range, Act]]:
    """Who comes in which quarters, in their order within a quarter."""
    return [
        (range(SLOW, SLOW + 1), cast.slow),
        (range(OUTAGE, OUTAGE + 1), cast.outage),
        (range(BACK, BACK + 1), cast.recovery),
        (range(OUTAGE), cast.staff),
        (range(OUTAGE, BACK), cast.staff_in_vain),
        (range(BACK, QUARTERS), cast.staff),
        (range(0, QUARTERS, 2), cast.copier),
        (range(1, OUTAGE, 3), cast.stranger),
        (range(BACK, QUARTERS, 3), cast.stranger),
        (range(4, SLOW, 5), cast.old_device),
        (range(6, SLOW, 7), cast.administrator),
        (range(BACK, QUARTERS, 7), cast.administrator),
        (range(3, 4), cast.idlers),
        (range(OUTAGE - 2, OUTAGE - 1), cast.idlers_leave),
        (range(BACK + 2, BACK + 3), cast.idlers),
        (range(QUARTERS - 2, QUARTERS - 1), cast.idlers_leave),
        (range(10, 20), cast.guesser),
        (range(12, 13), cast.unwanted),
        (range(BACK + 4, BACK + 5), cast.unwanted),
        (range(5, QUARTERS, 4), strangers.odd_tls),
        (range(8, QUARTERS, 5), strangers.scanner),
    ]


@contextmanager
def night(program: str, folder: Path, rules: list[Path]) -> Iterator[Night]:
    """Play it; the block is the morning. `program` is Prometheus's, and the folder is empty."""
    users = {account.user: account.password for account in ACCOUNTS}
    legacy = Legacy(users, folder / "legacy.pem", free_port())
    with gate(folder, legacy) as running_gate, prometheus(program, folder, running_gate.observe, rules) as watching:

        def await_upstream() -> None:
            until(lambda: watching.number("gatepost_upstream_up") == 1, "the upstream")

        cast = Cast(running_gate, legacy, await_upstream)
        began = watching.scraped() - SCRAPE_SECONDS  # so that the first scrape, with nothing done, is in
        _play(cast, Strangers(running_gate, cast.tally), watching)
        yield Night(watching, running_gate, cast.tally, began, time.time())


def _play(cast: Cast, strangers: Strangers, watching: Prometheus) -> None:
    acts = schedule(cast, strangers)
    for quarter in range(QUARTERS):
        for quarters, act in acts:
            if quarter in quarters:
                act(quarter)
        watching.await_scrape()
    ended = cast.tally.total("gatepost_conversations_total")
    until(lambda: watching.number("sum(gatepost_conversations_ended_total)") == ended, "the last conversation")
    watching.await_scrape()
