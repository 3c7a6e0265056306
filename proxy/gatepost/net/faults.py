"""What goes wrong, made into values: errors of the network, and bugs of our own."""

from __future__ import annotations

import errno
import traceback

from gatepost.facts import Crashed, UpstreamFailure

MOST_FRAMES = 10  # at either end
_UNREACHABLE = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT})


def failure(error: OSError) -> UpstreamFailure:
    """Why an upstream leg ended. Nobody answering its connection attempt may show only when it is first used."""
    return UpstreamFailure.UNREACHABLE if error.errno in _UNREACHABLE else UpstreamFailure.CLOSED


def crashed(bug: Exception) -> Crashed:
    """A bug of ours. What it says, and the values around it, may be secret: only its type and its place are told."""
    frames = [
        f"{frame.f_code.co_filename.rpartition('/gatepost/')[2]}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(bug.__traceback__)
    ]
    if len(frames) > 2 * MOST_FRAMES:  # it called itself
        frames[MOST_FRAMES:-MOST_FRAMES] = ["..."]
    return Crashed(type(bug).__name__, tuple(frames))
