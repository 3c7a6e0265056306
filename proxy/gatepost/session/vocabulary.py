"""What the machine says to the shell (actions), and what the shell's news become inside (interruptions).

Actions are imperative, facts are past tense. All state changes of a step are made before any of its actions is
performed.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.facts import Fact, Leg, UpstreamFailure


@dataclass(frozen=True, slots=True)
class Send:
    leg: Leg
    data: bytes


@dataclass(frozen=True, slots=True)
class Secure:
    """Do the TLS handshake on a leg; answer with `secured` or `gone`. Always the last action of a step."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class Open:
    """Connect the upstream leg; answer with `opened` or `gone`. Always the last action of a step."""


@dataclass(frozen=True, slots=True)
class Close:
    leg: Leg


@dataclass(frozen=True, slots=True)
class Record:
    fact: Fact


Action = Send | Secure | Open | Close | Record


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
