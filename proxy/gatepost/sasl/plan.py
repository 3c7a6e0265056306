"""The plan: how what a client speaks becomes the upstream's AUTH. Pure, and a table.

What the client speaks and what the upstream understands are chosen apart, the strongest on each leg. The same function
decides what EHLO offers and what a login does, so nothing is offered that could not be carried out. The tables here are
`docs/mechanisms.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from gatepost.facts import Mechanism
from gatepost.sasl.bearer import oauthbearer, oauthbearer_client, xoauth2, xoauth2_client
from gatepost.sasl.cram import cram_md5, cram_md5_client
from gatepost.sasl.exchange import Bearer, ClientExchange, Password, ServerExchange, Surroundings
from gatepost.sasl.external import external
from gatepost.sasl.password import login, login_client, plain, plain_client
from gatepost.sasl.questions import Hash
from gatepost.sasl.scram import scram, scram_client
from gatepost.settings import STRENGTH
from gatepost.settings.ways import CAN_ACT, HANDED_OVER, Ways

# --- mechanisms ------------------------------------------------------------------------------------------------------

# What clients may speak, as EHLO lists it: the strongest first, since many clients take the first that they know.
SERVER: dict[Mechanism, Callable[[Surroundings], ServerExchange]] = {
    Mechanism.EXTERNAL: lambda around: external(around.certificate),
    Mechanism.OAUTHBEARER: lambda around: oauthbearer(around.scope),
    Mechanism.XOAUTH2: lambda _: xoauth2(),
    Mechanism.SCRAM_SHA_256: lambda _: scram(Hash.SHA_256),
    Mechanism.SCRAM_SHA_1: lambda _: scram(Hash.SHA_1),
    Mechanism.CRAM_MD5: lambda around: cram_md5(around.hostname),
    Mechanism.PLAIN: lambda _: plain(),
    Mechanism.LOGIN: lambda _: login(),
}
SERVER_FIRST = frozenset({Mechanism.CRAM_MD5})  # AUTH with an initial response is refused (RFC 4954 section 4)
SCRAMS = frozenset({Mechanism.SCRAM_SHA_1, Mechanism.SCRAM_SHA_256})

BY_PASSWORD: dict[Mechanism, Callable[[Password], ClientExchange]] = {
    Mechanism.SCRAM_SHA_256: lambda password: scram_client(password, Hash.SHA_256),
    Mechanism.SCRAM_SHA_1: lambda password: scram_client(password, Hash.SHA_1),
    Mechanism.CRAM_MD5: cram_md5_client,
    Mechanism.PLAIN: plain_client,
    Mechanism.LOGIN: login_client,
}
BY_TOKEN: dict[Mechanism, Callable[[Bearer], ClientExchange]] = {
    Mechanism.OAUTHBEARER: oauthbearer_client,
    Mechanism.XOAUTH2: xoauth2_client,
}

# --- what may be done ------------------------------------------------------------------------------------------------

_PLACE = re.compile(r"\{(login|local|domain)\}")


@dataclass(frozen=True, slots=True)
class Naming:
    """What a client's login is called at the upstream. The keys of the table are casefolded."""

    template: str = "{login}"
    table: Mapping[str, str] = field(default_factory=dict)

    def upstream_name(self, login: str) -> str:
        """Nobody stays nobody. "" for anybody else means that the template has no name for this login."""
        known = self.table.get(login.casefold())
        if not login or known:
            return known or ""
        if self.template == "{login}":
            return login
        local, _, domain = login.rpartition("@") if "@" in login else (login, "", "")
        parts = {"login": login, "local": local, "domain": domain}
        return _PLACE.sub(lambda found: parts[found[1]], self.template)


_SAME = Naming()
_PASSED_ON = Ways()


@dataclass(frozen=True)
class Means:
    """What the settings allow to be done with what clients show, and what it takes."""

    ways: Ways = _PASSED_ON
    service: Password | None = None  # the service account
    naming: Naming = _SAME
    scope: str = ""  # told to clients whose token is not valid
    ends_with_token: bool = False  # a conversation ends when the token expires that opened it

    @cached_property
    def routes(self) -> Mapping[Mechanism, tuple[Mechanism, ...]]:
        """By what each of the client's mechanisms may reach the upstream, strongest first."""
        return {client: self.ways.toward(client) for client in SERVER}

    def relays(self, client: Mechanism) -> bool:
        """Whether this mechanism passes through untouched."""
        return client in self.ways.relay


PASS_ON = Means()  # passwords and tokens, by the strongest mechanism


@dataclass(frozen=True, slots=True)
class Offered:
    """What the upstream takes. `binds`: also bound to its TLS channel. `guarded`: a password may cross the leg."""

    mechanisms: frozenset[Mechanism]
    binds: bool
    guarded: bool


def upstream_mechanism(client: Mechanism, means: Means, offered: Offered, *, acting: bool = False) -> Mechanism | None:
    """The strongest mechanism toward the upstream for a client that speaks this one; None: there is no way.

    `acting`: the client wants to act as somebody else, which must be said to the upstream.
    """
    if means.relays(client):
        return client if client in offered.mechanisms and not would_look_downgraded(client, offered) else None
    for each in means.routes[client]:
        fits = each in offered.mechanisms and (offered.guarded or each not in HANDED_OVER)
        if fits and (each in CAN_ACT or not acting):
            return each
    return None


def would_look_downgraded(client: Mechanism, offered: Offered) -> bool:
    """A client that could bind says so; hearing that, a server that offers it must take us for an attack.

    RFC 5802 section 6. The client is not offered -PLUS, since its TLS channel is not the upstream's.
    """
    return client in SCRAMS and offered.binds


def is_weaker(mechanism: Mechanism, minimum: Mechanism) -> bool:
    return STRENGTH[mechanism] < STRENGTH[minimum]
