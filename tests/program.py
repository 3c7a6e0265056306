"""gatepost as a program: started as an operator starts it, asked by its log and its pages."""

from __future__ import annotations

import http.client
import json
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gatehouse import AUTHORITY, HOST, certificates, free_port

LISTENERS = """\
[[listeners]]
name = "submission"
bind = ["127.0.0.1:0", "[::1]:0"]
tls = "starttls"

[[listeners]]
name = "submissions"
bind = ["127.0.0.1:0"]
tls = "implicit"
"""
SETTINGS = """\
[upstream]
address = "127.0.0.1:{upstream}"
{leg}
probe_seconds = 1

[tls]
certificate = "cert.pem"
key = "key.pem"
watch_seconds = 0.1

{listeners}

[observe]
bind = "127.0.0.1:{observe}"
"""


@dataclass
class Program:
    """A running gatepost."""

    process: subprocess.Popen[str]
    observe: int
    ports: dict[str, int]
    folder: Path

    def event(self, name: str) -> dict[str, object]:
        """The next log event of that name."""
        assert self.process.stderr
        for line in self.process.stderr:
            event: dict[str, object] = json.loads(line)
            if event["event"] == name:
                return event
        raise AssertionError(f"it ended without {name!r}")

    def page(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.observe, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def client(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        client = smtplib.SMTP("127.0.0.1", self.ports["submission"], timeout=20)
        client._host = HOST  # type: ignore[attr-defined]  # noqa: SLF001  the name to verify
        client.starttls(context=context)
        return client


@contextmanager
def running(folder: Path, upstream: int, leg: str = 'tls = "never"', listeners: str = LISTENERS) -> Iterator[Program]:
    """A gatepost in front of a port of 127.0.0.1; `leg` and `listeners` are TOML."""
    certificates(folder)
    observe = free_port()
    settings = SETTINGS.format(upstream=upstream, observe=observe, leg=leg, listeners=listeners)
    (folder / "gate.toml").write_text(settings)
    command = [sys.executable, "-m", "gatepost", "run", "--config", str(folder / "gate.toml")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        program = Program(process, observe, {}, folder)
        try:
            bound = program.event("started")["gatepost.listeners"]
            assert isinstance(bound, list)
            for listener in reversed(bound):
                name, address = listener.split()
                program.ports[name] = int(address.rpartition(":")[2])
            yield program
        finally:
            process.kill()
