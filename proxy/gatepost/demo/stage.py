"""What the demonstration plays on: the legacy server, gatepost's files, gatepost itself, and ways to reach them."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import trio

from gatepost import app
from gatepost.demo.certificates import Certificates, write_certificates
from gatepost.demo.client import TIMEOUT_SECONDS, Account, Envelope, MailProgram
from gatepost.demo.legacy import LegacyServer, Login
from gatepost.demo.screen import Screen
from gatepost.settings import Address, load

SETTLING_SECONDS = 10.0  # for gatepost to be ready, and for its metrics to say what just happened
LOOK_AGAIN_SECONDS = 0.05

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

ACCOUNT = Account("demo", "throw-away-7391")
ENVELOPE = Envelope("demo@example.org", "berta@example.net")
LETTER = (
    "From: Demo <demo@example.org>\r\n"
    "To: Berta <berta@example.net>\r\n"
    "Subject: A letter\r\n"
    "\r\n"
    ".A line that begins with a dot, and one that is a dot:\r\n"
    ".\r\n"
    "Grüße aus Köln, 8-bit.\r\n"
    "..Two dots, then a long body:\r\n"
    + "".join(f"{number:04} the quick brown fox jumps over the lazy dog\r\n" for number in range(2000))
).encode()

GATE = """\
[upstream]
address = "127.0.0.1:{upstream}"
tls = "never"

[tls]
certificate = "{certificate}"
key = "{key}"

[[listeners]]
name = "submission"
bind = ["127.0.0.1:{submission}"]
tls = "starttls"

[[listeners]]
name = "submissions"
bind = ["127.0.0.1:{submissions}"]
tls = "implicit"

[observe]
bind = "127.0.0.1:{observe}"
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """What is set up, for the steps to play on."""

    screen: Screen
    legacy: LegacyServer
    mail_program: MailProgram
    certificates: Certificates
    submission: Address
    submissions: Address
    observe: Address
    logins: dict[str, Login] = field(default_factory=dict)  # listener -> what the legacy server saw of its client


async def set_up(nursery: trio.Nursery, screen: Screen, folder: Path) -> Stage:
    """Start the legacy server and gatepost, and wait until gatepost is ready."""
    screen.heading("gatepost in front of a legacy mail server")
    legacy = LegacyServer({ACCOUNT.user.encode(): ACCOUNT.password.encode()})
    port = await nursery.start(legacy.serve)
    certificates = write_certificates(folder)
    settings = load(_write_settings(folder, certificates, port))
    bound: app.Bound = await nursery.start(app.serve, settings)
    context = ssl.create_default_context(cafile=certificates.ca)
    stage = Stage(
        screen=screen,
        legacy=legacy,
        mail_program=MailProgram(ACCOUNT, context, screen.said),
        certificates=certificates,
        submission=Address(*bound.listeners["submission"][0]),
        submissions=Address(*bound.listeners["submissions"][0]),
        observe=Address(*bound.observe),
    )
    screen.say(f"legacy server  127.0.0.1:{port}   AUTH PLAIN LOGIN, no TLS")
    screen.say(f"submission     {text_of(stage.submission)}   STARTTLS")
    screen.say(f"submissions    {text_of(stage.submissions)}   implicit TLS")
    screen.say(f"metrics        http://{text_of(stage.observe)}/metrics")
    screen.say(f"settings       {folder / 'gate.toml'}")
    screen.say(f"gatepost's log {folder / 'gatepost.log'}")
    screen.verdict("gatepost is ready: /readyz says 200", held=await _becomes_ready(stage))
    return stage


def _write_settings(folder: Path, certificates: Certificates, upstream: int) -> Path:
    submission, submissions, observe = _free_ports([5587, 5465, 9587])
    (folder / "letter.eml").write_bytes(LETTER)
    file = folder / "gate.toml"
    file.write_text(
        GATE.format(
            upstream=upstream,
            certificate=certificates.certificate.name,
            key=certificates.key.name,
            submission=submission,
            submissions=submissions,
            observe=observe,
        )
    )
    return file


def _free_ports(preferred: Sequence[int]) -> list[int]:
    """The preferred ports of 127.0.0.1, each replaced by a free one when it is busy."""
    ports = []
    with ExitStack() as stack:
        for port in preferred:
            door = stack.enter_context(socket.socket())
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gatepost binds: TIME_WAIT is not busy
            try:
                door.bind(("127.0.0.1", port))
            except OSError:
                door.bind(("127.0.0.1", 0))
            ports.append(door.getsockname()[1])
    return ports


async def _becomes_ready(stage: Stage) -> bool:
    with trio.move_on_after(SETTLING_SECONDS):
        while True:
            status, _ = await in_thread(fetch, stage.observe, "/readyz")
            if status == HTTPStatus.OK:
                return True
            await trio.sleep(LOOK_AGAIN_SECONDS)
    return False


async def in_thread(do: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Call what blocks. A deadline leaves the thread behind; it ends by its own timeouts."""
    return await trio.to_thread.run_sync(do, *arguments, abandon_on_cancel=True)


def fetch(door: Address, path: str) -> tuple[int, str]:
    """Status and body of an HTTP GET. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection(door.host, door.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def text_of(door: Address) -> str:
    return f"{door.host}:{door.port}"
