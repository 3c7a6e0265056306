"""gatepost as it is run: a process of its own, its log read as it comes, its pages fetched."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from e2e.spoken import PATIENCE_SECONDS, Spoken
from gatehouse import free_port

Event = dict[str, object]
Table = Mapping[str, object]
Series = tuple[str, ...]  # a metric's name without `gatepost_`, then its labels' values by the labels' names

SETTINGS = """\
[upstream]
{upstream}

[tls]
certificate = "cert.pem"
key = "key.pem"
watch_seconds = 0.2
{tls}

[[listeners]]
name = "submission"
bind = ["127.0.0.1:0"]
tls = "starttls"
{listeners}

[[listeners]]
name = "submissions"
bind = ["127.0.0.1:0"]
tls = "implicit"
{listeners}

[[listeners]]
name = "mx"
bind = ["127.0.0.1:0"]
tls = "starttls"
auth = "optional"
{listeners}

[observe]
bind = "127.0.0.1:{observe}"

[log]
level = "debug"

{tables}
"""
MODULE = ("-m", "gatepost")
CRASHING = (str(Path(__file__).with_name("crashing.py")),)  # the same, with a bug


@dataclass(frozen=True)
class Gatepost:
    """A running one."""

    process: subprocess.Popen[str]
    log: Spoken
    observe: int
    ports: Mapping[str, int]

    def page(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.observe, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def counts(self) -> dict[Series, float]:
        """Every counter that is not 0, in all."""
        return {
            (sample.name.removeprefix("gatepost_"), *dict(sorted(sample.labels.items())).values()): sample.value
            for family in text_string_to_metric_families(self.page("/metrics")[1])
            for sample in family.samples
            if family.type == "counter" and sample.name.startswith("gatepost_") and sample.value
        }

    def ready(self) -> None:
        """It has asked the upstream all that it asks by itself."""
        self.event("upstream up")
        self.log.expect('"event":"upstream (relays|does not relay)"')

    def settled(self) -> int:
        """Where the log stands, with the events of all logins that were counted in it: they come a little later."""
        counts = self.counts()
        if attempts := sum(number for (name, *_), number in counts.items() if name == "auth_attempts_total"):
            self.log.expect('"event":"authentication"', skip=int(attempts) - 1)
        return len(self.log)

    def events(self, name: str, since: int = 0) -> list[Event]:
        """All that were logged so far."""
        return [event for line in self.log.lines(since) if (event := named(line, name))]

    def event(self, name: str, since: int = 0) -> Event:
        """The first since a position in the log; waits for it."""
        return self.log.first(lambda line: named(line, name), since)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit code; its log is complete then."""
        code = self.process.wait(PATIENCE_SECONDS)
        self.log.join()
        return code


def named(line: str, name: str) -> Event | None:
    event: Event = json.loads(line)
    return event if event["event"] == name else None


@contextmanager
def running(
    folder: Path,
    upstream: Table,
    program: Sequence[str] = MODULE,
    more: Mapping[str, Table] | None = None,
    *,
    descriptors: Sequence[int] = (),
) -> Iterator[Gatepost]:
    """Start it on a folder with cert.pem and key.pem, and wait until it listens and has probed the upstream once.

    `more` are tables by their names: new ones, or more keys for "tls" and for each of the "listeners". `descriptors`
    are passed on to `program`.
    """
    observe = free_port()
    tables = {"tls": {}, "listeners": {}, **(more or {})}
    text = {name: _lines(tables.pop(name)) for name in ("tls", "listeners")}
    text["tables"] = "\n".join(f"[{name}]\n{_lines(table)}" for name, table in tables.items())
    file = folder / "gatepost.toml"
    file.write_text(SETTINGS.format(upstream=_lines(upstream), observe=observe, **text))
    command = [sys.executable, *program, "run", "--config", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=descriptors) as process:
        assert process.stderr
        log = Spoken(process.stderr)
        try:
            yield Gatepost(process, log, observe, log.first(_ports))
        finally:
            process.kill()
            process.wait()
            log.join()


def _lines(table: Table) -> str:
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())


def _ports(line: str) -> dict[str, int] | None:
    started = named(line, "started")
    if started is None:
        return None
    listeners = started["gatepost.listeners"]
    assert isinstance(listeners, list)
    return {name: int(address.rpartition(":")[2]) for name, address in map(str.split, listeners)}
