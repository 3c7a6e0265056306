"""A real Dovecot as the legacy server: SASL for a Postfix with a port for each mechanism, or all of it, for EXTERNAL.

Each runs from a folder of its own. The system's own, running or not, is not touched. These logins work at `serving`:

- a user's own, by password: PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256;
- a master's, who may act as any user (authzid), by PLAIN and by SCRAM, but never for itself;
- by a JWT, whose `email` must be the user's name: OAUTHBEARER, XOAUTH2. Its key must be known: `Dovecot.trust`.

And at `submitting`, since Postfix has no EXTERNAL: whomever the CN of the client's certificate names, masters for any.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from e2e.mailroom import Mailroom
from e2e.postfix import HOST, Postfix, Service, free_ports, installed
from e2e.spoken import PATIENCE_SECONDS, Spoken
from peers import require

PASSWORDS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256")
TOKENS = ("OAUTHBEARER", "XOAUTH2")
MECHANISMS = PASSWORDS + TOKENS
ALL = "all"  # the port that offers all of them
XCLIENT = "xclient"  # the same, and its clients may state a login
MASTER = "gatepost"  # a service account
MASTER_PASSWORD = "Heizoelrueckstossabdaempfung.1138"

SHARED = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
auth_verbose = yes
auth_debug = yes
# Any name is good, and none is changed.
auth_username_chars =
auth_username_format =
# Whoever fails need not wait.
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
# There is no `result_success = continue`, which would have it looked up whether the user exists: Dovecot 2.3 would then
# check a SCRAM proof against the user's password instead of the master's.
passdb {{
  driver = passwd-file
  master = yes
  args = scheme=PLAIN username_format=%u {folder}/masters
}}
"""

SASL = (
    SHARED
    + """\
protocols =
ssl = no
auth_mechanisms = {mechanisms}
passdb {{
  driver = passwd-file
  mechanisms = {passwords}
  args = scheme=PLAIN username_format=%u {folder}/users
}}
passdb {{
  driver = oauth2
  mechanisms = {tokens}
  args = {folder}/oauth2.conf
}}
service auth {{
  unix_listener {folder}/sasl {{
    mode = 0666
  }}
}}
"""
)

OAUTH2 = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = email
username_format = %u
"""

SUBMISSION = (
    SHARED
    + """\
protocols = submission
listen = 127.0.0.1
hostname = {host}
auth_mechanisms = external
auth_ssl_username_from_cert = yes
ssl = required
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
ssl_ca = <{folder}/ca.pem
ssl_require_crl = no
ssl_verify_client_cert = yes
ssl_cert_username_field = commonName
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
mail_location = mbox:/nonexistent
submission_relay_host = 127.0.0.1
submission_relay_port = {mailroom}
service submission-login {{
  inet_listener submission {{
    port = {starttls}
  }}
  inet_listener submissions {{
    port = {implicit}
    ssl = yes
  }}
}}
"""
)


class Dovecot:
    """One instance. Made by `running` and `submitting`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "sasl"
        self.log: Spoken
        self._process: subprocess.Popen[str] | None = None

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def trust(self, public_key: bytes, *, kid: str = "default", algorithm: str = "RS256", azp: str = "default") -> None:
        """Accept tokens that the owner of this key (in PEM) signed; a key stays what it was when it was first used."""
        keys = self.folder / "keys" / azp / algorithm
        keys.mkdir(parents=True, exist_ok=True)
        (keys / kid).write_bytes(public_key)

    def start(self, configuration: str) -> None:
        """Start it, and wait until it listens."""
        self.write("dovecot.conf", configuration)
        command = [require("dovecot", package="dovecot-core"), "-F", "-c", str(self.folder / "dovecot.conf")]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout
        self.log = Spoken(self._process.stdout)
        self.log.expect("starting up")

    def stop(self) -> None:
        if self._process is None:
            return
        with self._process as process:
            process.terminate()
            process.wait(PATIENCE_SECONDS)
            self.log.join()
        self._process = None


@contextmanager
def _housed() -> Iterator[Dovecot]:
    """One that is not started yet; skips the test where there can be none."""
    require("dovecot", package="dovecot-core")
    if os.geteuid() != 0:
        pytest.skip("Dovecot must be started by root: run the tests as root")
    folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
    folder.chmod(0o755)  # its daemons, and Postfix's, are other users'
    dovecot = Dovecot(folder)
    try:
        yield dovecot
    finally:
        dovecot.stop()
        shutil.rmtree(folder)


@contextmanager
def running(users: Mapping[str, str], masters: Mapping[str, str]) -> Iterator[Dovecot]:
    """A running one, which answers Postfix at `socket`. Users and masters are names with passwords."""
    with _housed() as dovecot:
        dovecot.write("oauth2.conf", OAUTH2.format(folder=dovecot.folder))
        for file, people in (("users", users), ("masters", masters)):
            dovecot.write(file, "".join(f"{name}:{password}\n" for name, password in people.items()))
        lists = {"mechanisms": MECHANISMS, "passwords": PASSWORDS, "tokens": TOKENS}
        words = {name: " ".join(mechanisms).lower() for name, mechanisms in lists.items()}
        dovecot.start(SASL.format(folder=dovecot.folder, **words))
        yield dovecot


@dataclass(frozen=True)
class Legacy:
    """Postfix with Dovecot behind it."""

    postfix: Postfix
    dovecot: Dovecot

    def port(self, offer: str) -> int:
        """The port that offers one mechanism, or ALL of them, or XCLIENT too; in the clear and after STARTTLS.

        Postfix filters its offer and nothing else: that a mechanism was used shows in its log as `sasl_method=`.
        """
        return self.postfix.extra[offer]


@contextmanager
def serving(certificate: trustme.LeafCert, users: Mapping[str, str], masters: Mapping[str, str]) -> Iterator[Legacy]:
    with running(users, masters) as dovecot:
        asking = ("smtpd_sasl_type=dovecot", f"smtpd_sasl_path={dovecot.socket}", "smtpd_tls_security_level=may")
        services = [
            *(Service(name, (*asking, f"smtpd_sasl_mechanism_filter={name}")) for name in MECHANISMS),
            Service(ALL, asking),
            Service(XCLIENT, (*asking, "smtpd_authorized_xclient_hosts=127.0.0.1")),
        ]
        with installed(certificate, {}, services) as postfix:
            yield Legacy(postfix, dovecot)


@dataclass(frozen=True)
class Submission:
    """Dovecot's own submission server, which takes nothing but EXTERNAL."""

    dovecot: Dovecot
    mailroom: Mailroom
    starttls: int
    implicit: int


@contextmanager
def submitting(certificate: trustme.LeafCert, authority: trustme.CA, masters: Sequence[str]) -> Iterator[Submission]:
    """With its certificate, the authority of its clients' certificates, and their CNs that may act as any user."""
    path = "/usr/lib/dovecot/submission"
    if not Path(path).exists():
        pytest.skip(f"{path} is missing: install the Debian package dovecot-submissiond")
    starttls, implicit = free_ports(2)
    mailroom = Mailroom()
    with mailroom.open(), _housed() as dovecot:
        certificate.cert_chain_pems[0].write_to_path(dovecot.folder / "cert.pem")
        certificate.private_key_pem.write_to_path(dovecot.folder / "key.pem")
        authority.cert_pem.write_to_path(dovecot.folder / "ca.pem")
        dovecot.write("masters", "".join(f"{name}:::::::nopassword\n" for name in masters))
        values = {"folder": dovecot.folder, "host": HOST, "mailroom": mailroom.port}
        dovecot.start(SUBMISSION.format(**values, starttls=starttls, implicit=implicit))
        yield Submission(dovecot, mailroom, starttls, implicit)
