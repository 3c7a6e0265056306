"""The gatepost of the night: a process of its own, with throw-away certificates, users, and names for networks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import trustme

from client import Account
from gatepost.backends import userformat
from gatepost.backends.roster import Credentials, Roster, User
from gatepost.sasl.questions import Hash, UpstreamLogin
from gatepost.sasl.scram import salted_password, verifier
from gatepost.sasl.secret import Secret
from legacy import Legacy
from processes import PATIENCE_SECONDS, free_port, running, until

HOST, OTHER_HOST, LEGACY_HOST = "mail.example.org", "smtp.example.net", "legacy.example"
LISTENERS = ("submission", "submissions", "mx", "devices")
NETWORKS = {"staff": "127.0.1", "printers": "127.0.2", "elsewhere": "127.0.3"}  # of 24 bits each

ALICE = Account("alice@example.org", "made-up-4711")
BERTA = Account("berta@example.org", "made-up-0815")
ROOT = Account("root@example.org", "made-up-1234")
ADMINISTRATOR = f"{NETWORKS['staff']}.9"  # from there, nothing weaker than SCRAM-SHA-256 will do
COPIER = Account("copier@example.org", "made-up-2222")  # knows nothing of TLS
GUESSED = Account("info@example.org", "made-up-9876")  # whose password somebody tries to guess
ACCOUNTS = (ALICE, BERTA, ROOT, COPIER, GUESSED)
ITERATIONS = 4096
HASHES = {Hash.SHA_1: b"a salt for sha-1", Hash.SHA_256: b"and for sha-256 "}

SETTINGS = """\
[upstream]
address = "127.0.0.1:{legacy}"
tls = "starttls"
profile = "old"
ca = "ca.pem"
server_name = "{LEGACY_HOST}"
probe_seconds = 1
relay = ["CRAM-MD5"]
represent = "secret"

[tls]
certificate = "cert.pem"
key = "cert.pem"

[[tls.certificates]]
certificate = "other.pem"
key = "other.pem"

[[listeners]]
name = "submission"
bind = ["127.0.0.1:{submission}"]
tls = "starttls"

[[listeners]]
name = "submissions"
bind = ["127.0.0.1:{submissions}"]
tls = "implicit"

[[listeners]]
name = "mx"
bind = ["127.0.0.1:{mx}"]
tls = "starttls"
auth = "optional"

[[listeners]]
name = "devices"
bind = ["127.0.0.1:{devices}"]
tls = "starttls"
profile = "old"

[[policies]]
minimum = "SCRAM-SHA-256"
networks = ["{ADMINISTRATOR}/32"]

[users]
file = "users.toml"

[relay_check]
local_domains = ["example.com", "example.org"]

[observe]
bind = "127.0.0.1:{observe}"

[log]
format = "json"
"""
NETWORK = """
[[observe.networks]]
name = "{name}"
addresses = ["{prefix}.0/24"]
"""


@dataclass(frozen=True)
class Gate:
    """A running one."""

    ports: Mapping[str, int]
    observe: str
    ca: Path
    log: Path


@contextmanager
def gate(folder: Path, legacy: Legacy) -> Iterator[Gate]:
    """Run it on an empty folder until the end of the block, in front of the legacy server, which is started."""
    write_certificates(folder)
    legacy.start()
    try:
        with _run(folder, legacy.port) as made:
            yield made
    finally:
        legacy.stop()


@contextmanager
def _run(folder: Path, legacy: int) -> Iterator[Gate]:
    write_users(folder / "users.toml")
    ports = {name: free_port() for name in LISTENERS}
    observe, log, settings = free_port(), folder / "gatepost.log", folder / "gatepost.toml"
    values = {"ADMINISTRATOR": ADMINISTRATOR, "LEGACY_HOST": LEGACY_HOST, "legacy": legacy, "observe": observe}
    networks = "".join(NETWORK.format(name=name, prefix=prefix) for name, prefix in NETWORKS.items())
    settings.write_text(SETTINGS.format(**values, **ports) + networks)
    command = [sys.executable, "-m", "gatepost", "run", "--config", str(settings)]
    with running(command, log) as process:
        until(lambda: process.poll() is not None or _is_ready(observe), f"gatepost: {log.read_text()}")
        if process.poll() is not None:
            raise RuntimeError(log.read_text())
        yield Gate(ports, f"127.0.0.1:{observe}", folder / "ca.pem", log)


def _is_ready(observe: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{observe}/readyz", timeout=PATIENCE_SECONDS).is_success
    except httpx.TransportError:
        return False


def write_certificates(folder: Path) -> None:
    """The authority, two certificates for gatepost and one for the legacy server, each file with its key."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for file, name, days in (("cert", HOST, 80), ("other", OTHER_HOST, 40), ("legacy", LEGACY_HOST, 200)):
        issued = authority.issue_cert(name, not_after=datetime.now(UTC) + timedelta(days=days))
        issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{file}.pem")


def write_users(file: Path) -> None:
    """For SCRAM with clients, and for what logs in at the legacy server in their place."""
    users = {account.user: _user(account.password.encode()) for account in (ALICE, BERTA, ROOT)}
    file.write_text(userformat.write(Roster(Secret(bytes(32)), users), as_json=False))
    file.chmod(0o600)


def _user(password: bytes) -> User:
    secret = Secret(password)
    verifiers = {
        hash_: verifier(hash_, salted_password(hash_, secret, salt, ITERATIONS), salt, ITERATIONS)
        for hash_, salt in HASHES.items()
    }
    return User(Credentials(scram=verifiers), UpstreamLogin("", secret))
