"""The plan: how evidence from the client becomes the upstream's AUTH. Pure.

What the client speaks and what the upstream understands are chosen apart. The same function decides what EHLO offers
and what a login does, so nothing is offered that could not be carried out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gatepost.facts import Mechanism
from gatepost.sasl.exchange import ClientExchange, Password, ServerExchange
from gatepost.sasl.password import login, login_client, plain, plain_client

# What clients may speak, as EHLO lists it.
SERVER: dict[Mechanism, Callable[[], ServerExchange]] = {Mechanism.PLAIN: plain, Mechanism.LOGIN: login}

# What may be spoken to the upstream with a password as evidence, strongest first. Both hand over the password.
CLIENT: dict[Mechanism, Callable[[Password], ClientExchange]] = {
    Mechanism.PLAIN: plain_client,
    Mechanism.LOGIN: login_client,
}


@dataclass(frozen=True, slots=True)
class Plan:
    mechanism: Mechanism
    exchange: ClientExchange


def upstream_mechanism(offered: frozenset[Mechanism], *, guarded: bool) -> Mechanism | None:
    """The strongest mechanism for a password among those that the upstream offers; None: there is no way.

    `guarded`: a password may cross the upstream leg as it is (TLS with a proven peer, loopback, or declared trusted).
    """
    if not guarded:
        return None
    return next((mechanism for mechanism in CLIENT if mechanism in offered), None)


def plan(password: Password, offered: frozenset[Mechanism], *, guarded: bool) -> Plan | None:
    """None: impossible. LOGIN cannot carry an identity to act as, so a password with one needs PLAIN."""
    mechanism = upstream_mechanism(offered, guarded=guarded)
    if mechanism is None:
        return None
    if mechanism is Mechanism.LOGIN and password.authzid not in ("", password.authcid):
        return None
    return Plan(mechanism, CLIENT[mechanism](password))
