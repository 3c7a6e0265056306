"""The mail programs in front: swaks, curl, msmtp and Python's smtplib, each asked for the same thing in its own words.

All of them verify gatepost's certificate: the authority, and where the program can, the name.
"""

from __future__ import annotations

import smtplib
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from e2e.spoken import PATIENCE_SECONDS
from peers import require

NAME = "localhost"  # what gatepost's certificate says, and every machine can resolve


@dataclass(frozen=True)
class Door:
    """Where to connect, and whom to trust. `folder` is for files that a program needs."""

    port: int
    implicit: bool
    authority: Path
    folder: Path


@dataclass(frozen=True)
class Login:
    mechanism: str
    user: str
    password: str


@dataclass(frozen=True)
class Mail:
    """A message with CRLF, and its envelope."""

    message: bytes
    sender: str = "ann@example.org"
    recipients: tuple[str, ...] = ("bob@example.com",)


@dataclass(frozen=True)
class Outcome:
    """Whether the program says that it worked, and its transcript."""

    worked: bool
    said: str = field(default="")


Client = Callable[[Door, Login, Mail], Outcome]


def swaks(door: Door, login: Login, mail: Mail) -> Outcome:
    data = door.folder / "data"
    data.write_bytes(mail.message.replace(b"\r\n", b"\n").removesuffix(b"\n"))  # it adds the last newline itself
    return _run(
        require("swaks", package="swaks"),
        *("--server", NAME, "--port", str(door.port), "--helo", "client.example"),
        *("--tls-on-connect" if door.implicit else "--tls", "--tls-verify", "--tls-ca-path", str(door.authority)),
        *("--auth", login.mechanism, "--auth-user", login.user, "--auth-password", login.password),
        *("--from", mail.sender, "--to", ",".join(mail.recipients), "--data", f"@{data}"),
    )


def curl(door: Door, login: Login, mail: Mail) -> Outcome:
    data = door.folder / "data"
    data.write_bytes(mail.message)
    scheme = "smtps" if door.implicit else "smtp"
    return _run(
        require("curl", package="curl"),
        *("--verbose", "--no-progress-meter", f"{scheme}://{NAME}:{door.port}/client.example", "--ssl-reqd"),
        *("--cacert", str(door.authority)),
        *("--user", f"{login.user}:{login.password}", "--login-options", f"AUTH={login.mechanism}"),
        *("--mail-from", mail.sender, "--upload-file", str(data)),
        *(word for recipient in mail.recipients for word in ("--mail-rcpt", recipient)),
    )


MSMTP = """\
account default
host {host}
port {port}
domain client.example
from {sender}
auth {mechanism}
user {user}
password {password}
tls on
tls_starttls {starttls}
tls_trust_file {authority}
"""


def msmtp(door: Door, login: Login, mail: Mail) -> Outcome:
    file = door.folder / "msmtprc"
    file.touch(mode=0o600)  # it refuses to read a password that others can read
    file.write_text(
        MSMTP.format(
            host=NAME,
            port=door.port,
            sender=mail.sender,
            mechanism=login.mechanism.lower(),
            user=login.user,
            password=login.password,
            starttls="off" if door.implicit else "on",
            authority=door.authority,
        )
    )
    program = require("msmtp", package="msmtp")
    text = mail.message.replace(b"\r\n", b"\n")
    return _run(program, "--debug", "--file", str(file), "--", *mail.recipients, text=text)


def smtplib_client(door: Door, login: Login, mail: Mail) -> Outcome:
    try:
        with connected(door) as client:
            client.ehlo("client.example")
            client.user, client.password = login.user, login.password
            exchange = client.auth_plain if login.mechanism == "PLAIN" else client.auth_login
            client.auth(login.mechanism, exchange)  # `login` would choose the mechanism itself
            options = ("BODY=8BITMIME",)
            refused = client.sendmail(mail.sender, mail.recipients, mail.message, mail_options=options)
    except (smtplib.SMTPException, ssl.SSLError) as error:
        return Outcome(worked=False, said=str(error))
    return Outcome(worked=not refused)


def connected(door: Door) -> smtplib.SMTP:
    """With TLS, and before EHLO on it."""
    context = ssl.create_default_context(cafile=door.authority)
    if door.implicit:
        return smtplib.SMTP_SSL(NAME, door.port, timeout=PATIENCE_SECONDS, context=context)
    client = smtplib.SMTP(NAME, door.port, timeout=PATIENCE_SECONDS)
    try:
        client.starttls(context=context)
    except BaseException:
        client.close()
        raise
    return client


CLIENTS: dict[str, Client] = {"swaks": swaks, "curl": curl, "msmtp": msmtp, "smtplib": smtplib_client}


def _run(*command: str, text: bytes = b"") -> Outcome:
    done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=PATIENCE_SECONDS)
    return Outcome(done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace"))
