"""A real Postfix as the legacy server: in a folder of its own, on free ports of 127.0.0.1, with Cyrus SASL.

The system's own Postfix, running or not, is not touched. Mail for example.net is taken from anyone, as an MX does;
mail for elsewhere only after AUTH, so its delivery proves a login. What is delivered goes to a `Mailroom`.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import smtplib
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from e2e.mailroom import Mailroom
from e2e.spoken import PATIENCE_SECONDS, Spoken
from peers import require

HOST = "legacy.example"
MARKED = r"disconnect from .* vrfy="  # nothing else says VRFY

MAIN = """\
compatibility_level = 3.6
config_directory = {folder}/etc
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = /dev/stdout
myhostname = {host}
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
fast_flush_domains =
relay_domains = example.net
default_transport = lmtp:inet:[127.0.0.1]:{mailroom}
relay_transport = $default_transport
lmtp_destination_recipient_limit = 1000
# Long lines would be broken on the way out, and missing header fields added to mail from this machine.
lmtp_line_length_limit = 0
local_header_rewrite_clients =
message_size_limit = 20000000
in_flow_delay = 0
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = {host}
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_tls_cert_file = {folder}/etc/cert.pem
smtpd_tls_key_file = {folder}/etc/key.pem
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
"""

# The two with TLS log every command they hear, so that a test can show what they did not hear.
MASTER = """\
127.0.0.1:{ports.clear} inet n - n - - smtpd
127.0.0.1:{ports.starttls} inet n - n - - smtpd
  -o smtpd_tls_security_level=may -o smtpd_tls_auth_only=yes -o debug_peer_list=127.0.0.1
127.0.0.1:{ports.implicit} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes -o debug_peer_list=127.0.0.1
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
"""

SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {folder}/etc/sasl/users.db
mech_list: PLAIN LOGIN
"""


@dataclass(frozen=True)
class Ports:
    """One for each way in which gatepost can reach it."""

    clear: int
    starttls: int
    implicit: int


@dataclass(frozen=True)
class Service:
    """One more port, which differs from `main.cf` by these options: name=value."""

    name: str
    options: tuple[str, ...]

    def entry(self, port: int) -> str:
        """As `master.cf` wants it."""
        lines = [f"127.0.0.1:{port} inet n - n - - smtpd", *(f"  -o {option}" for option in self.options)]
        return "".join(f"{line}\n" for line in lines)


TRUSTING = Service(  # as old servers are set: whoever comes from this machine may send anywhere
    "trusting", ("mynetworks=127.0.0.0/8", "smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination")
)


class Postfix:
    """One instance. Made by `installed`. `extra` are the ports of further services, by name."""

    def __init__(self, folder: Path, mailroom: Mailroom, services: Sequence[Service] = ()) -> None:
        self.folder = folder
        self.mailroom = mailroom
        self.services = services
        clear, starttls, implicit, *extra = free_ports(3 + len(services))
        self.ports = Ports(clear, starttls, implicit)
        self.extra = {service.name: port for service, port in zip(services, extra, strict=True)}
        self.log: Spoken
        self._starter: subprocess.Popen[str] | None = None

    def configure(self, certificate: trustme.LeafCert, users: dict[str, str]) -> None:
        etc = self.folder / "etc"
        (etc / "sasl").mkdir(parents=True)
        (self.folder / "queue").mkdir()
        (self.folder / "data").mkdir()
        os.chown(self.folder / "data", _postfix_user(), -1)
        values = {"folder": self.folder, "host": HOST, "mailroom": self.mailroom.port, "ports": self.ports}
        (etc / "main.cf").write_text(MAIN.format_map(values))
        entries = [service.entry(self.extra[service.name]) for service in self.services]
        (etc / "master.cf").write_text(MASTER.format_map(values) + "".join(entries))
        (etc / "sasl" / "smtpd.conf").write_text(SASL.format_map(values))  # Debian's Postfix looks for it here
        self.present(certificate)
        for user, password in users.items():
            self._enrol(user, password)

    def present(self, certificate: trustme.LeafCert) -> None:
        """The certificate to show from the next start on."""
        certificate.cert_chain_pems[0].write_to_path(self.folder / "etc" / "cert.pem")
        certificate.private_key_pem.write_to_path(self.folder / "etc" / "key.pem")

    def _enrol(self, user: str, password: str) -> None:
        users = self.folder / "etc" / "sasl" / "users.db"
        saslpasswd = require("saslpasswd2", package="sasl2-bin")
        command = [saslpasswd, "-p", "-c", "-f", str(users), "-u", HOST, user]
        subprocess.run(command, input=password, text=True, check=True, timeout=PATIENCE_SECONDS)
        os.chown(users, _postfix_user(), -1)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [require("postfix", package="postfix"), "-c", str(self.folder / "etc"), "start-fg"]
        self._starter = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._starter.stdout
        self.log = Spoken(self._starter.stdout)
        self.log.expect("daemon started")

    def settle(self) -> None:
        """Wait until all that happened so far is in the log: what is logged of a connection made now comes after it."""
        position = len(self.log)
        with smtplib.SMTP("127.0.0.1", self.ports.clear, timeout=PATIENCE_SECONDS) as marker:
            marker.ehlo("marker.example")
            marker.docmd("VRFY", "marker@example.com")
        self.log.expect(MARKED, position)

    def connections(self, since: int = 0) -> int:
        """How many there were since a position in the log, without those of `settle`."""
        self.settle()
        lines = self.log.lines(since)
        return sum("]: connect from" in line for line in lines) - sum(bool(re.search(MARKED, line)) for line in lines)

    def stop(self) -> None:
        """End the master, which takes its own with it."""
        if self._starter is None:
            return
        with self._starter as starter:
            master = int((self.folder / "queue" / "pid" / "master.pid").read_text())
            os.kill(master, 15)
            starter.wait(PATIENCE_SECONDS)
            self.log.join()
        self._starter = None


def _postfix_user() -> int:
    return pwd.getpwnam("postfix").pw_uid


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 where nobody listens, all different: they are taken together."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]


@contextmanager
def installed(
    certificate: trustme.LeafCert, users: dict[str, str], services: Sequence[Service] = ()
) -> Iterator[Postfix]:
    """A running Postfix, and its mailroom; skips the test where there can be none."""
    require("postfix", package="postfix")
    require("saslpasswd2", package="sasl2-bin")
    if os.geteuid() != 0:
        pytest.skip("Postfix must be started by root: run the tests as root")
    folder = Path(tempfile.mkdtemp(prefix="postfix-"))
    folder.chmod(0o755)  # its daemons are another user's
    mailroom = Mailroom()
    postfix = Postfix(folder, mailroom, services)
    try:
        with mailroom.open():
            postfix.configure(certificate, users)
            try:
                postfix.start()
                yield postfix
            finally:
                postfix.stop()
    finally:
        shutil.rmtree(folder)
