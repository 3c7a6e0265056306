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
from typing import Any, TextIO

import orjson
import structlog

from gatepost.observe.events import FIELDS
from gatepost.settings import LogFormat, LogLevel, LogNames, LogSettings

ECS = {"event.dataset": "gatepost", "ecs.version": "8.11.0"}


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


def configure(settings: LogSettings, stream: TextIO | None = None) -> structlog.typing.FilteringBoundLogger:
    """The logger; events below the level cost next to nothing."""
    stream = sys.stderr if stream is None else stream
    console = settings.format is LogFormat.CONSOLE or (settings.format is LogFormat.AUTO and stream.isatty())
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        Line(stream),
        processors=[structlog.processors.add_log_level, *(_words(stream) if console else _json(settings.names))],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.level]),
        cache_logger_on_first_use=True,
    )
    return logger


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
    try:
        text = orjson.dumps(event, default=repr)
    except TypeError:  # half a character, from the name of a file
        text = b"\xff"
    return text.decode() if text.isascii() else json.dumps(event, default=repr, separators=(",", ":"))


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
