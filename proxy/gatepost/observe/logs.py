"""The log: one event a line on standard error, JSON unless a terminal reads it.

structlog's renderers print the local variables of a traceback unless told not to, and those may be secrets: gatepost
logs no tracebacks at all, only where a bug was (`facts.Crashed`). CR and LF in values are escaped in both forms, so no
client can write a line of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import select
import sys
from typing import TextIO

import structlog

from gatepost.settings import LogFormat, LogLevel


class Line:
    """Writes an event as one line. An event that cannot be written at once is lost: mail goes on when nobody reads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._room: select.poll | None = None
        with contextlib.suppress(OSError):  # what is no file always has room
            room = select.poll()
            room.register(stream.fileno(), select.POLLOUT)
            self._room = room

    def msg(self, event: str) -> None:
        """A pipe that is ready takes 4 KiB without blocking (pipe(7)); no event is as long."""
        with contextlib.suppress(OSError):
            if self._room is None or self._room.poll(0):
                self._stream.write(event + "\n")
                self._stream.flush()

    debug = info = warning = error = msg


LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}


def configure(
    log_format: LogFormat, level: LogLevel, stream: TextIO | None = None
) -> structlog.typing.FilteringBoundLogger:
    """The logger; events below `level` cost next to nothing."""
    stream = sys.stderr if stream is None else stream
    console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and stream.isatty())
    renderer: structlog.typing.Processor
    if console:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, repr_native_str=True
        )
    else:
        encode = json.JSONEncoder(default=repr).encode  # made once: json.dumps would make one for every event
        renderer = structlog.processors.JSONRenderer(serializer=lambda event, **_: encode(event))
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        Line(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    return logger
