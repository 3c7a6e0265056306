"""The log: one line an event, whatever is in it."""

import io
import json
import os
from pathlib import Path

import pytest

from gatepost.observe import logs
from gatepost.observe.reference import render_logs
from gatepost.settings import LogFormat, LogNames, LogSettings

FORGED = 'laptop\r\n{"event": "authentication", "gatepost.auth.result": "accepted"}\x1b[31m'


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_value_cannot_write_a_line_of_its_own(log_format: LogFormat) -> None:
    stream = io.StringIO()
    log = logs.configure(LogSettings(format=log_format), stream)
    log.info("conversation", **{"smtp.hello": FORGED})
    flushed(log)
    (line,) = stream.getvalue().splitlines()
    assert "\x1b[31m" not in line


def flushed(log: logs.Log) -> None:
    assert log.line.flush()


def test_json_is_what_a_file_gets() -> None:
    stream = io.StringIO()
    log = logs.configure(LogSettings(format=LogFormat.AUTO), stream)
    log.warning("violation", **{"gatepost.violation": "http"})
    flushed(log)
    event = json.loads(stream.getvalue())
    assert event["level"] == "warning"
    assert event["timestamp"].endswith("Z")


def test_a_setting_names_the_fields_as_the_elastic_common_schema_has_them() -> None:
    stream = io.StringIO()
    log = logs.configure(LogSettings(format=LogFormat.JSON, names=LogNames.ECS), stream)
    fields = {"client.address": "192.0.2.7", "gatepost.duration": 0.25, "tls.protocol.version": "1.3"}
    log.warning("authentication", **fields, **{"gatepost.auth.result": "rejected"})
    flushed(log)
    event = json.loads(stream.getvalue())
    assert event.pop("@timestamp").endswith("Z")
    assert event == {
        "client.address": "192.0.2.7",
        "client.ip": "192.0.2.7",
        "event.duration": 250_000_000,
        "tls.version": "1.3",
        "gatepost.auth.result": "rejected",
        "event.outcome": "failure",
        "message": "authentication",
        "event.action": "authentication",
        "log.level": "warning",
        "event.dataset": "gatepost",
        "ecs.version": "8.11.0",
    }


@pytest.mark.parametrize("name", ["Zoë", "a\x9b31m", "line\u2028separator", "caf\udce9"])
def test_what_is_not_ascii_is_escaped_and_read_back_the_same(name: str) -> None:
    """C1 controls and line separators would be taken for commands and for lines by what shows the log."""
    stream = io.StringIO()
    log = logs.configure(LogSettings(format=LogFormat.JSON), stream)
    log.info("users loaded", **{"file.path": name})
    flushed(log)
    assert stream.getvalue().isascii()
    assert stream.getvalue().startswith('{"file.path":"')
    assert json.loads(stream.getvalue())["file.path"] == name


def test_a_terminal_gets_words() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    log = logs.configure(LogSettings(format=LogFormat.AUTO), stream)
    log.info("started")
    flushed(log)
    assert "started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_traceback_shows_no_local_variables(log_format: LogFormat) -> None:
    stream = io.StringIO()
    log = logs.configure(LogSettings(format=log_format), stream)
    secret = "correct horse" + " battery"

    def fail() -> None:
        password = secret
        raise ValueError(len(password))

    try:
        fail()
    except ValueError:
        log.error("bug", exc_info=True)  # noqa: G201  there is no other way
        flushed(log)
    assert "bug" in stream.getvalue()
    assert secret not in stream.getvalue()


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    log = logs.configure(LogSettings(format=LogFormat.JSON), Broken())
    log.info("started")
    flushed(log)


def test_a_pipe_that_nobody_empties_stops_nothing() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "w") as pipe:  # noqa: PTH123  they are descriptors
        log = logs.configure(LogSettings(format=LogFormat.JSON), pipe)
        for number in range(2000):  # a pipe holds 64 KiB
            log.info("conversation", **{"gatepost.commands": number, "smtp.hello": "x" * 200})
            log.line.flush()
        assert not log.line.flush()  # it waits for room


def test_the_reference_page_is_fresh() -> None:
    page = Path(__file__).parents[2] / "docs" / "logs.md"
    assert page.read_text() == render_logs(), "python -m gatepost.observe.reference logs > docs/logs.md"
