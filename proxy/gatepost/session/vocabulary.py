"""What the machine says to the shell (actions), and what the shell's news become inside (interruptions).

Actions are imperative, facts are past tense. All state changes of a step are made before any of its actions is
performed. The actions are not frozen, since freezing triples the cost of making one, and each step makes several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from gatepost.facts import Fact, Leg, UpstreamFailure


@final
@dataclass(slots=True)
class Send:
    leg: Leg
    data: bytes


@final
@dataclass(slots=True)
class Secure:
    """Do the TLS handshake on a leg; answer with `secured` or `gone`. Always the last action of a step."""

    leg: Leg


@final
@dataclass(slots=True)
class Open:
    """Begin to connect the upstream leg; answer with `opened` or `gone`. Always the last action of a step.

    Whether a server answers may show only when it is heard or told something.
    """


@final
@dataclass(slots=True)
class Close:
    """Send `last` if there is any, say goodbye as the channel does, and close; all in one write if it can be."""

    leg: Leg
    last: bytes = b""


@final
@dataclass(slots=True)
class Drop:
    """Close at once and without a word: what was sent so far must not look finished."""

    leg: Leg


@final
@dataclass(slots=True)
class Record:
    fact: Fact


Action = Send | Secure | Open | Close | Drop | Record


@dataclass(frozen=True, slots=True)
class Wait:
    """A leg to wait for, and for how many seconds. `boundary`: between two commands, so a drain may end it."""

    leg: Leg
    seconds: float
    boundary: bool = False


class ClientLost(Exception):
    """The client is gone. In a body, nothing may be passed on that looks like its end."""


class ClientLate(Exception):
    """The client took longer than the wait allowed."""


class Drained(Exception):
    """gatepost is stopping, and the conversation stands between two commands."""


class UpstreamLost(Exception):
    """The upstream cannot be used, or not any more. Carries the reason."""

    def __init__(self, reason: UpstreamFailure) -> None:
        super().__init__(reason.value)
        self.reason = reason
