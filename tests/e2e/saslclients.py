"""Mail programs that log in by every mechanism, each asked for the same thing in its own words.

Which program speaks what, as Debian 12 builds it:

| mechanism     | swaks | curl | msmtp | Python |
|---------------|-------|------|-------|--------|
| PLAIN         | yes   | yes, also for another (authzid) | yes | |
| LOGIN         | yes   | yes  | yes   |        |
| CRAM-MD5      | yes   | yes  | yes   |        |
| SCRAM-SHA-1   |       | its build has no GNU SASL | yes | yes, also for another |
| SCRAM-SHA-256 |       | its build has no GNU SASL | yes | yes, also for another |
| OAUTHBEARER   |       | yes  | yes   |        |
| XOAUTH2       |       | yes  | yes   |        |
| EXTERNAL      |       | yes  | yes   |        |

curl leaves when XOAUTH2 tells it what is wrong with its token, and does not wait for the 535 (RFC 7628 section 3.2.3).
With a token it takes OAUTHBEARER where both are offered, whatever `--login-options` says.
All of them verify the server's certificate, as those in `clients.py` do.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import smtplib
import ssl
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from e2e.clients import NAME, Door, Login, Mail, Outcome, connected, swaks
from e2e.spoken import PATIENCE_SECONDS
from peers import require

TOKENS = ("OAUTHBEARER", "XOAUTH2")


@dataclass(frozen=True)
class SaslLogin(Login):
    """A login whose `password` may be a token. `certificate`, shown at the handshake, is a PEM file with its key."""

    authzid: str = ""
    certificate: Path | None = None


SaslClient = Callable[[Door, SaslLogin, Mail], Outcome]


def curl(door: Door, login: SaslLogin, mail: Mail) -> Outcome:
    data = door.folder / "data"
    data.write_bytes(mail.message)
    token = login.mechanism in TOKENS
    return _run(
        require("curl", package="curl"),
        *("--verbose", "--no-progress-meter", "--ssl-reqd", "--cacert", str(door.authority)),
        f"{'smtps' if door.implicit else 'smtp'}://{NAME}:{door.port}/client.example",
        *("--login-options", f"AUTH={login.mechanism}"),
        *("--user", f"{login.user}:{'' if token else login.password}"),  # EXTERNAL only without a password
        *(("--oauth2-bearer", login.password) if token else ()),
        *(("--sasl-authzid", login.authzid) if login.authzid else ()),
        *(("--cert", str(login.certificate)) if login.certificate else ()),
        *("--mail-from", mail.sender, "--upload-file", str(data)),
        *(word for recipient in mail.recipients for word in ("--mail-rcpt", recipient)),
    )


def msmtp(door: Door, login: SaslLogin, mail: Mail) -> Outcome:
    file, password = door.folder / "msmtprc", door.folder / "password"
    password.write_text(login.password + "\n")
    lines = [
        "account default",
        f"host {NAME}",
        f"port {door.port}",
        "domain client.example",
        f"from {mail.sender}",
        f"auth {login.mechanism.lower()}",
        f"user {login.user}",
        f"passwordeval cat {password}",  # a line of this file has no room for a token
        "tls on",
        f"tls_starttls {'off' if door.implicit else 'on'}",
        f"tls_trust_file {door.authority}",
    ]
    if login.certificate:
        lines += [f"tls_cert_file {login.certificate}", f"tls_key_file {login.certificate}"]
    file.write_text("\n".join(lines) + "\n")
    program = require("msmtp", package="msmtp")
    text = mail.message.replace(b"\r\n", b"\n")
    return _run(program, "--debug", "--file", str(file), "--", *mail.recipients, text=text)


def python(door: Door, login: SaslLogin, mail: Mail) -> Outcome:
    """smtplib with SCRAM, which it does not know."""
    try:
        with connected(door) as client:
            client.ehlo("client.example")
            client.auth(login.mechanism, Scram(login).respond)
            refused = client.sendmail(mail.sender, mail.recipients, mail.message, mail_options=("BODY=8BITMIME",))
    except (smtplib.SMTPException, ssl.SSLError) as error:
        return Outcome(worked=False, said=str(error))
    return Outcome(worked=not refused)


class Unproven(smtplib.SMTPException):
    """The server does not know the password."""


class Scram:
    """RFC 5802, without channel binding, for names and passwords in ASCII."""

    def __init__(self, login: SaslLogin) -> None:
        self._hash = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[login.mechanism]
        self._password = login.password.encode()
        self._header = f"n,{f'a={login.authzid}' if login.authzid else ''},"
        self._first = f"n={login.user},r={secrets.token_hex()}"
        self._steps = iter((self._client_first, self._client_final, self._verify))
        self._signature = b""

    def respond(self, challenge: bytes | None = None, /) -> str:
        return next(self._steps)((challenge or b"").decode())

    def _client_first(self, _: str) -> str:
        return self._header + self._first

    def _client_final(self, server_first: str) -> str:
        fields = dict(field.split("=", 1) for field in server_first.split(","))
        if not f"r={fields['r']}".startswith(self._first.partition(",")[2]):
            raise Unproven
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, b64decode(fields["s"]), int(fields["i"]))
        without_proof = f"c={b64encode(self._header.encode()).decode()},r={fields['r']}"
        message = f"{self._first},{server_first},{without_proof}".encode()
        client_key = self._hmac(salted, b"Client Key")
        signature = self._hmac(hashlib.new(self._hash, client_key).digest(), message)
        self._signature = self._hmac(self._hmac(salted, b"Server Key"), message)
        proof = bytes(key ^ sign for key, sign in zip(client_key, signature, strict=True))
        return f"{without_proof},p={b64encode(proof).decode()}"

    def _verify(self, server_final: str) -> str:
        if server_final != f"v={b64encode(self._signature).decode()}":
            raise Unproven
        return ""

    def _hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, self._hash)


_SPOKEN: dict[str, tuple[SaslClient, tuple[str, ...]]] = {
    "swaks": (swaks, ("PLAIN", "LOGIN", "CRAM-MD5")),
    "curl": (curl, ("PLAIN", "LOGIN", "CRAM-MD5", *TOKENS, "EXTERNAL")),
    "msmtp": (msmtp, ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", *TOKENS, "EXTERNAL")),
    "python": (python, ("SCRAM-SHA-1", "SCRAM-SHA-256")),
}
# The table above, as (program, mechanism).
SASL_CLIENTS: dict[tuple[str, str], SaslClient] = {
    (program, mechanism): client for program, (client, mechanisms) in _SPOKEN.items() for mechanism in mechanisms
}


def _run(*command: str, text: bytes = b"") -> Outcome:
    done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=PATIENCE_SECONDS)
    return Outcome(done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace"))
