"""A gatepost for one way of logging in and one mechanism of the upstream, and everything that the way needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from joserfc.jwk import ECKey

import users_made
from backends.provider import CLIENT, CLIENT_SECRET, Provider
from e2e.clients import NAME, Door
from e2e.dovecot import MASTER, MASTER_PASSWORD, XCLIENT, Legacy, Submission
from e2e.gateway import Gatepost, Table, running
from e2e.mailroom import Mailroom
from e2e.people import PASSWORD, USER
from e2e.saslclients import SaslLogin
from e2e.spoken import Spoken
from gatepost.backends.roster import Credentials, User
from gatepost.facts import Mechanism
from gatepost.sasl.questions import Hash, UpstreamLogin
from gatepost.sasl.reference import CHALLENGES, Way, travellers
from gatepost.sasl.secret import Secret
from gatepost.settings.ways import BEARER

OWN_PASSWORD = "Franz.jagt.im.Taxi"  # at gatepost, where USER has another one than at the upstream
STRANGER = "bob"


@dataclass(frozen=True)
class House:
    """What is behind, and who vouches for whom. The upstream refuses what `own_key` signed, which it does not know."""

    legacy: Legacy
    external: Submission
    provider: Provider
    authority: trustme.CA
    own_key: ECKey


@dataclass(frozen=True)
class Front:
    """A running gatepost, whose upstream offers one mechanism."""

    gate: Gatepost
    upstream: Mechanism
    way: Way
    house: House
    folder: Path

    @property
    def proves(self) -> bool:
        """Whether users are proven here, by what the upstream does not know."""
        return self.way not in (Way.PASSED_ON, Way.RELAYED)

    @property
    def mailroom(self) -> Mailroom:
        behind = self.house.external if self.upstream is Mechanism.EXTERNAL else self.house.legacy.postfix
        return behind.mailroom

    @property
    def log(self) -> Spoken:
        """The upstream's."""
        house = self.house
        return house.external.dovecot.log if self.upstream is Mechanism.EXTERNAL else house.legacy.postfix.log

    @property
    def logged_in(self) -> str:
        """What the upstream logs of a login of USER's by its mechanism."""
        if self.upstream is Mechanism.EXTERNAL:
            return f"Login: user=<{USER}>, method=EXTERNAL"
        return f"sasl_method={self.upstream.value}, sasl_username={USER}$"

    def door(self, scratch: Path) -> Door:
        return Door(self.gate.ports["submission"], implicit=False, authority=self.folder / "ca.pem", folder=scratch)

    def login(self, client: Mechanism) -> SaslLogin:
        """A good one."""
        password = OWN_PASSWORD if self.proves else PASSWORD
        if client in BEARER:
            password = self.house.provider.mint(USER, key=self.house.own_key if self.proves else None)
        return self._login(client, password, USER)

    def wrong(self, client: Mechanism) -> SaslLogin:
        """The same user with a wrong password, or with what is good for somebody else."""
        password = self.house.provider.mint(STRANGER) if client in BEARER else "wrong"
        return self._login(client, password, STRANGER)

    def certificate(self, holder: str) -> Path:
        return self.folder / f"{holder}.pem"

    def _login(self, client: Mechanism, password: str, holder: str) -> SaslLogin:
        if client is Mechanism.EXTERNAL:
            return SaslLogin(client.value, USER, "", certificate=self.certificate(holder))
        return SaslLogin(client.value, USER, password)


@contextmanager
def fronting(house: House, upstream: Mechanism, way: Way, folder: Path) -> Iterator[Front]:
    """Start one, in an empty folder."""
    _furnish(house, folder)
    more: dict[str, Table] = {"listeners": {"mechanisms": [client.value for client in travellers(way)]}}
    if way not in (Way.PASSED_ON, Way.RELAYED):
        more |= _proving(house.provider)
    if way is Way.TOKEN:
        more |= {"oauth": _oauth(house.provider)}
    table = {**_address(house, upstream), **_represented(way), "probe_seconds": 3600}
    with running(folder, table, more=more) as gate:
        gate.ready()
        yield Front(gate, upstream, way, house, folder)


def _furnish(house: House, folder: Path) -> None:
    """With every file that a way can need."""
    house.authority.cert_pem.write_to_path(folder / "ca.pem")
    shutil.copy(house.provider.ca_file, folder / "provider-ca.pem")
    for name, shown in (("", house.authority.issue_cert(NAME)), ("master-", _issue(house, MASTER))):
        shown.cert_chain_pems[0].write_to_path(folder / f"{name}cert.pem")
        shown.private_key_pem.write_to_path(folder / f"{name}key.pem")
    for name in (USER, STRANGER):
        _issue(house, name).private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    for name, text in (("service-password", MASTER_PASSWORD), ("client-secret", CLIENT_SECRET)):
        (folder / name).touch(0o600)
        (folder / name).write_text(text)
    users_made.write(folder / "users.toml", **{USER: _user()})


def _issue(house: House, name: str) -> trustme.LeafCert:
    return house.authority.issue_cert("client.example", common_name=name)


def _user() -> User:
    own = Secret(OWN_PASSWORD.encode())
    scram = users_made.scram(Hash.SHA_1, Hash.SHA_256, password=own).scram
    return User(Credentials(users_made.argon2(own), scram, own), UpstreamLogin(USER, Secret(PASSWORD.encode())))


def _address(house: House, upstream: Mechanism) -> Table:
    if upstream is Mechanism.EXTERNAL:
        own = {"certificate": "master-cert.pem", "key": "master-key.pem"}
        proof = {"tls": "starttls", "server_name": NAME, "ca": "ca.pem"}
        return {"address": f"127.0.0.1:{house.external.starttls}", **proof, **own}
    port = house.legacy.port(XCLIENT if upstream is Mechanism.XCLIENT else upstream.value)
    return {"address": f"127.0.0.1:{port}", "tls": "never"}


def _represented(way: Way) -> Table:
    if way is Way.PASSED_ON:
        return {}
    if way is Way.RELAYED:
        return {"relay": [mechanism.value for mechanism in CHALLENGES]}
    if way is Way.SERVICE:
        return {"represent": "service", "service_user": MASTER, "service_password_file": "service-password"}
    return {"represent": way.value}


def _proving(provider: Provider) -> Mapping[str, Table]:
    """By every mechanism."""
    return {
        "tls": {"client_ca": "ca.pem", "client_identity": "common_name"},
        "users": {"file": "users.toml", "verify_passwords": True},
        "tokens": {
            "jwks_url": provider.jwks_url,
            "issuer": provider.issuer,
            "audience": provider.audience,
            "ca": "provider-ca.pem",
        },
    }


def _oauth(provider: Provider) -> Table:
    client = {"client_id": CLIENT, "client_secret_file": "client-secret", "ca": "provider-ca.pem"}
    return {"token_url": provider.token_url, "grant": "client_credentials", **client}
