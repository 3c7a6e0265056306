"""What the machine says to the shell (actions), and what the shell's news become inside (interruptions).

Actions are imperative, facts are past tense. All state changes of a step are made before any of its actions is
performed. The actions are not frozen, since freezing triples the cost of making one, and each step makes several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from gatepost.facts import Fact, Leg, UpstreamFailure
from gatepost.sasl.questions import Question


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
class Expire:
    """In so many seconds, tell the machine `expired`."""

    seconds: float


@final
@dataclass(slots=True)
class Record:
    fact: Fact


Action = Send | Secure | Open | Close | Drop | Expire | Record


@dataclass(frozen=True, slots=True)
class Wait:
    """What to wait for, and for how many seconds: news of a leg, or the answer to a question.

    `boundary`: between two commands, so the conversation may be ended there.
    """

    source: Leg | Question[Any]
    seconds: float
    boundary: bool = False


class ClientLost(Exception):
    """The client is gone. In a body, nothing may be passed on that looks like its end."""


class ClientLate(Exception):
    """The client took longer than the wait allowed."""


class Parting(Exception):
    """The conversation is to end, and stands between two commands. Why is in the talk's `parting`."""


class BackendLost(Exception):
    """A question got no answer."""


class UpstreamLost(Exception):
    """The upstream cannot be used, or not any more. Carries the reason."""

    def __init__(self, reason: UpstreamFailure) -> None:
        super().__init__(reason.value)
        self.reason = reason
