"""The log: one line an event, whatever is in it."""

import io
import json
import os

import pytest

from gatepost.observe import logs
from gatepost.settings import LogFormat, LogLevel

FORGED = 'laptop\r\n{"event": "authentication", "gatepost.auth.result": "accepted"}\x1b[31m'


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_value_cannot_write_a_line_of_its_own(log_format: LogFormat) -> None:
    stream = io.StringIO()
    logs.configure(log_format, LogLevel.INFO, stream).info("conversation", **{"smtp.hello": FORGED})
    (line,) = stream.getvalue().splitlines()
    assert "\x1b[31m" not in line


def test_json_is_what_a_file_gets() -> None:
    stream = io.StringIO()
    logs.configure(LogFormat.AUTO, LogLevel.INFO, stream).warning("violation", **{"gatepost.violation": "http"})
    event = json.loads(stream.getvalue())
    assert event["level"] == "warning"
    assert event["timestamp"].endswith("Z")


def test_a_terminal_gets_words() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    logs.configure(LogFormat.AUTO, LogLevel.INFO, stream).info("started")
    assert "started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_traceback_shows_no_local_variables(log_format: LogFormat) -> None:
    stream = io.StringIO()
    log = logs.configure(log_format, LogLevel.INFO, stream)
    secret = "correct horse" + " battery"

    def fail() -> None:
        password = secret
        raise ValueError(len(password))

    try:
        fail()
    except ValueError:
        log.exception("bug")
    assert "bug" in stream.getvalue()
    assert secret not in stream.getvalue()


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    logs.configure(LogFormat.JSON, LogLevel.INFO, Broken()).info("started")


def test_a_pipe_that_nobody_empties_stops_nothing() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "w") as pipe:  # noqa: PTH123  they are descriptors
        log = logs.configure(LogFormat.JSON, LogLevel.INFO, pipe)
        for number in range(2000):  # a pipe holds 64 KiB
            log.info("conversation", **{"gatepost.commands": number, "smtp.hello": "x" * 200})
