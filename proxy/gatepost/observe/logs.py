"""The log: one event a line on standard error, JSON unless a terminal reads it.

structlog's renderers print the local variables of a traceback unless told not to, and those may be secrets: gatepost
logs no tracebacks at all, only where a bug was (`facts.Crashed`). CR and LF in values are escaped in both forms, so no
client can write a line of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import sys
from collections.abc import Callable
from functools import partial
from select import PIPE_BUF
from typing import Any, TextIO

import orjson
import structlog

from gatepost.observe.events import FIELDS
from gatepost.settings import LogFormat, LogLevel, LogNames, LogSettings

MOST_WAITING_BYTES = 4 * 1024 * 1024  # some ten thousand events
ECS = {"event.dataset": "gatepost", "ecs.version": "8.11.0"}


class Line:
    """Keeps events, each a line, until there is room for them: mail goes on when nobody reads.

    A pipe that is ready takes 4 KiB without blocking (pipe(7)), so no more is written at a time. What would make too
    much wait is lost, and counted.
    """

    def __init__(self, stream: TextIO) -> None:
        self.lost = 0  # events
        self._waiting = bytearray()
        self._room: select.poll | None = None
        self._write: Callable[[bytes], int] = lambda data: stream.write(data.decode("ascii", "replace"))
        with contextlib.suppress(OSError):  # what is no file always has room
            self._write = partial(os.write, stream.fileno())
            self._room = select.poll()
            self._room.register(stream.fileno(), select.POLLOUT)

    def msg(self, event: str) -> None:
        line = event.encode() + b"\n"
        if len(self._waiting) + len(line) > MOST_WAITING_BYTES:
            self.lost += 1
        else:
            self._waiting += line

    debug = info = warning = error = msg

    def flush(self, seconds: float = 0.0) -> bool:
        """Whether all is written, or will never be; each wait for room takes at most so long."""
        while self._waiting:
            if self._room is not None and not self._room.poll(1000 * seconds):
                return False
            try:
                del self._waiting[: self._write(bytes(self._waiting[:PIPE_BUF]))]
            except OSError:  # whoever read is gone
                self._waiting.clear()
        return True


class Log:
    """The way out for events, and what has not gone out yet."""

    def __init__(self, logger: structlog.typing.FilteringBoundLogger, line: Line) -> None:
        self.debug, self.info = logger.debug, logger.info
        self.warning, self.error = logger.warning, logger.error
        self.line = line


LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}


def configure(settings: LogSettings, stream: TextIO | None = None) -> Log:
    """The log; events below the level cost next to nothing. Nothing is written before it is flushed."""
    stream = sys.stderr if stream is None else stream
    line = Line(stream)
    console = settings.format is LogFormat.CONSOLE or (settings.format is LogFormat.AUTO and stream.isatty())
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        line,
        processors=[structlog.processors.add_log_level, *(_words(stream) if console else _json(settings.names))],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.level]),
        cache_logger_on_first_use=True,
    )
    return Log(logger, line)


def _words(stream: TextIO) -> tuple[structlog.typing.Processor, ...]:
    render = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, repr_native_str=True
    )
    return structlog.processors.TimeStamper(fmt="iso", utc=True), render


def _json(names: LogNames) -> tuple[structlog.typing.Processor, ...]:
    render = structlog.processors.JSONRenderer(serializer=lambda event, **_: _encoded(event))
    if names is LogNames.OTEL:
        return structlog.processors.TimeStamper(fmt="iso", utc=True), render
    return _as_ecs, structlog.processors.TimeStamper(fmt="iso", utc=True, key="@timestamp"), render


def _encoded(event: object) -> str:
    """By orjson, which takes an eighth of the time, but lets characters pass that a terminal may take for commands."""
    with contextlib.suppress(TypeError):  # half a character, from the name of a file
        text = orjson.dumps(event, default=repr)
        if text.isascii():
            return text.decode()
    return json.dumps(event, default=repr, separators=(",", ":"))


def _as_ecs(_logger: object, _method: str, event: structlog.typing.EventDict) -> dict[str, Any]:
    """The same event by the names of the Elastic Common Schema; what has no name there keeps its own."""
    named: dict[str, Any] = {}
    for name, value in event.items():
        field = FIELDS.get(name)
        if field is None or not field.ecs:
            named[name] = value
        else:
            named |= dict.fromkeys(field.ecs, field.convert(value))
    named["event.action"] = named["message"] = named.pop("event")
    named["log.level"] = named.pop("level")
    if "gatepost.auth.result" in event:
        named["event.outcome"] = "success" if event["gatepost.auth.result"] == "accepted" else "failure"
    return named | ECS
