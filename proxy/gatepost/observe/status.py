"""What the status page shows, gathered from where it is kept."""

from __future__ import annotations

from collections import Counter

from gatepost import __version__
from gatepost.observe.observer import EXPIRY, Observer
from gatepost.observe.page import CertificateRow, Status, UpstreamState


def gather(observer: Observer, upstream: str, began: float) -> Status:
    """How things stand; `began` is when gatepost started, in seconds since the epoch."""
    metrics, started, probed = observer.metrics, observer.started, observer.upstream
    attempts: Counter[tuple[str, str]] = Counter()
    for (_, mechanism, _, result), count in metrics.values("gatepost_auth_attempts").items():
        attempts[mechanism, result] += int(count)
    failure = probed.failure if probed else None
    expiries = metrics.values(EXPIRY).items()
    return Status(
        version=__version__,
        started=began,
        listeners=started.listeners if started else (),
        observe=started.observe if started else "",
        exposed=started.exposed if started else False,
        upstream=UpstreamState(
            upstream,
            up=failure is None if probed else None,
            failure=failure.value if failure else "",
            probe_seconds=probed.seconds if probed else 0.0,
        ),
        certificates=tuple(CertificateRow(leg, file, name, not_after) for (leg, file, name), not_after in expiries),
        active={(name, phase): n for (name, phase), n in metrics.values("gatepost_conversations_active").items()},
        limit=int(metrics.values("gatepost_conversations_limit")[()]),
        attempts=attempts,
        refusals=tuple(observer.refusals),
    )
