"""The page of the mechanisms, made by asking the plan which login can take which way.

`python -m gatepost.sasl.reference > docs/mechanisms.md` brings the page up to date. `tests/e2e/test_matrix.py` runs
what is in `WORKING` against real servers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from enum import Enum
from itertools import product

from gatepost.facts import Mechanism
from gatepost.sasl.plan import (
    BY_PASSWORD,
    BY_TOKEN,
    PASS_ON,
    SCRAMS,
    SERVER,
    Means,
    Offered,
    upstream_mechanism,
)
from gatepost.settings import Represent
from gatepost.settings.ways import BEARER, CAN_ACT, HANDED_OVER, PASSWORD, REPRESENTED_BY

CLIENTS = tuple(mechanism for mechanism in Mechanism if mechanism in SERVER)
UPSTREAMS = (*CLIENTS, Mechanism.XCLIENT)
CHALLENGES = (Mechanism.CRAM_MD5, Mechanism.SCRAM_SHA_1, Mechanism.SCRAM_SHA_256)  # what `upstream.relay` may name

# --- ways ------------------------------------------------------------------------------------------------------------


class Way(Enum):
    """How a login gets from one leg to the other. The last five are the values of `upstream.represent`."""

    PASSED_ON = "passed on"
    RELAYED = "relayed"
    SECRET = "secret"  # noqa: S105  no password but the name of a way
    SERVICE = "service"
    XCLIENT = "xclient"
    TOKEN = "token"  # noqa: S105  as above
    CERTIFICATE = "certificate"


Cell = tuple[Mechanism, Mechanism, Way]  # the client's, the upstream's


def means(way: Way) -> Means:
    """The settings that open a way to all clients that can take it."""
    if way is Way.PASSED_ON:
        return PASS_ON
    if way is Way.RELAYED:
        return Means(replace(PASS_ON.ways, relay=CHALLENGES))
    proving = replace(PASS_ON.ways, users=True, verify_passwords=True, tokens=True, client_ca=True)
    return Means(replace(proving, represent=Represent(way.value)))


def travellers(way: Way) -> tuple[Mechanism, ...]:
    """What a client must speak to take this way, whatever the upstream offers."""
    own = means(way)
    return tuple(one for one in CLIENTS if own.ways.toward(one) and own.relays(one) is (way is Way.RELAYED))


def works(client: Mechanism, upstream: Mechanism, way: Way) -> bool:
    """Whether the plan leads this client along this way to an upstream that offers one mechanism."""
    offered = Offered(frozenset({upstream}), binds=False, guarded=True)
    chosen = upstream_mechanism(client, means(way), offered, acting=way is Way.SERVICE)
    return client in travellers(way) and chosen is upstream


ALL: tuple[Cell, ...] = tuple(product(CLIENTS, UPSTREAMS, Way))
WORKING: tuple[Cell, ...] = tuple(cell for cell in ALL if works(*cell))

# --- why not ---------------------------------------------------------------------------------------------------------


class Reason(Enum):
    """Why a login cannot take a way, as the page says it."""

    NOTHING_SHOWN = "The client proves who it is, and shows nothing that could be passed on."
    NO_CHALLENGE = "Only challenge mechanisms are relayed; the others are passed on, or proven here."
    UNCHANGED = "What is relayed stays the same mechanism."
    CANNOT_ACT = "CRAM-MD5 and LOGIN cannot say whom to act as."
    TAKES_PASSWORD = "A password is asked for, and this way has none."  # noqa: S105  no password
    TAKES_TOKEN = "A token is asked for, and this way has none."  # noqa: S105  as above
    TAKES_CERTIFICATE = (
        "A certificate must vouch: gatepost's own does so by `certificate` alone, a client's cannot be shown."
    )
    TAKES_WORD = "It is gatepost's word for who was proven here, and `xclient` alone gives that."


_TAKES = {  # by each mechanism toward the upstream, what a way without that ends in
    **dict.fromkeys(BY_PASSWORD, Reason.TAKES_PASSWORD),
    **dict.fromkeys(BY_TOKEN, Reason.TAKES_TOKEN),
    Mechanism.EXTERNAL: Reason.TAKES_CERTIFICATE,
    Mechanism.XCLIENT: Reason.TAKES_WORD,
}
_HAS = {  # what satisfies it
    Way.SECRET: Reason.TAKES_PASSWORD,
    Way.SERVICE: Reason.TAKES_PASSWORD,
    Way.XCLIENT: Reason.TAKES_WORD,
    Way.TOKEN: Reason.TAKES_TOKEN,
    Way.CERTIFICATE: Reason.TAKES_CERTIFICATE,
}
_SHOWS = {
    Mechanism.PLAIN: Reason.TAKES_PASSWORD,
    Mechanism.LOGIN: Reason.TAKES_PASSWORD,
    Mechanism.XOAUTH2: Reason.TAKES_TOKEN,
    Mechanism.OAUTHBEARER: Reason.TAKES_TOKEN,
}


def why_not(client: Mechanism, upstream: Mechanism, way: Way) -> Reason | None:
    """Why the plan does not lead there; None: it does. Reasoned from what mechanisms are, not from the plan."""
    if way is Way.RELAYED:
        if client not in CHALLENGES:
            return Reason.NO_CHALLENGE
        return None if client is upstream else Reason.UNCHANGED
    if way is Way.PASSED_ON and client not in _SHOWS:
        return Reason.NOTHING_SHOWN
    has = _SHOWS[client] if way is Way.PASSED_ON else _HAS[way]
    if _TAKES[upstream] is not has:
        return _TAKES[upstream]
    return Reason.CANNOT_ACT if way is Way.SERVICE and upstream not in CAN_ACT else None


# --- the page --------------------------------------------------------------------------------------------------------

_INTRODUCTION = """# Mechanisms

<!-- Made by `python -m gatepost.sasl.reference` from `sasl/plan.py` and `settings/ways.py`. Do not edit. -->

What a client speaks and what the upstream understands are chosen apart, the strongest that each leg allows. EHLO offers
a mechanism only while it leads to the upstream, and only over TLS. What can be done with a login follows from what the
client's mechanism teaches gatepost:

| Client speaks | gatepost learns | and without more settings | To prove the user here, set |
|---|---|---|---|
| PLAIN, LOGIN | the password | passes it on | `[users]` and `users.verify_passwords = true` |
| XOAUTH2, OAUTHBEARER | a token | passes it on | `[tokens]` |
| CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256 | that the client knows the password | does not offer them | `[users]` |
| EXTERNAL | the certificate's login | does not offer it | `tls.client_ca` |

A user who is proven here must be *represented* to the upstream, as `upstream.represent` says; what the client has shown
is not used again. A challenge mechanism can be *relayed* instead, by `upstream.relay`: then client and upstream deal
with each other, and gatepost learns nothing but the outcome. CRAM-MD5, which is weak and needs passwords that are
stored as they are, is offered only where `listeners.mechanisms` names it or it is relayed.
"""
_CHOICE = """
## How to choose

"""
_CHOICES = (  # what there is, what is wanted, what to set
    ("a server that checks passwords, by any mechanism", "TLS in front of it, and clients as they are", "nothing"),
    ("a server that takes tokens, by XOAUTH2 or OAUTHBEARER", "clients that speak the other one as well", "nothing"),
    ("a server and clients that speak SCRAM or CRAM-MD5", "passwords that gatepost never knows", "`upstream.relay`"),
    (
        "a Postfix that may trust gatepost's address",
        "clients by SCRAM, token or certificate, and no password behind gatepost",
        '`upstream.represent = "xclient"`; in Postfix `smtpd_authorized_xclient_hosts`',
    ),
    (
        "a server with an account that may act as others (Dovecot's master users, Cyrus' proxy users)",
        "the same, with one password behind gatepost",
        '`upstream.represent = "service"`, `service_user`, `service_password_file`',
    ),
    (
        "a server that knows nothing but each user's own password",
        "the same, or other passwords in front",
        '`upstream.represent = "secret"`, and in `[users]` an [upstream secret](users.md) for each',
    ),
    (
        "a server that takes nothing but tokens, and devices that have nothing but a password",
        "the devices to go on",
        '`upstream.represent = "token"`, `[oauth]`, `[users]` with `verify_passwords = true`',
    ),
    (
        "a server that takes a certificate (EXTERNAL) and lets it act as others",
        "no password behind gatepost",
        '`upstream.represent = "certificate"`, `upstream.certificate`, `upstream.key`',
    ),
)
_CHOSEN = """
With `represent`, also set what proves the users, from the last column of the table above: one or several. Passwords and
tokens that nothing proves here are passed on as before. The names of users can be changed on the way, by
`upstream.login_template` and `[[upstream.logins]]`, except in what is relayed. [Settings](settings.md) explains every
key, and `gatepost check` says what will become of each mechanism.
"""
_MATRIX = """
## The matrix

Each row is what a client speaks, each column what the upstream understands, XCLIENT beside the mechanisms of SASL. A
cell names the ways that work. Every one of them is run end to end against a real Postfix or Dovecot, by
`tests/e2e/test_matrix.py`, which takes its list from where this table comes from.

"""
_IMPOSSIBLE = """
## What is impossible, and why

All other ways, without exception.

"""
_STRONGEST = """
## Strongest first

Of what the upstream offers and `upstream.mechanisms` allows, the first is used:

"""
_NOTES = """
EHLO lists what clients may use, strongest first too, since many take the first that they know:
{offer}. `[[policies]]` can demand a minimum.
What is relayed is not restricted by `upstream.mechanisms`.

## What must be guarded

{naked} hand over the password or the token itself. Toward the upstream they are used only
over TLS with a verified peer, over loopback, or with `upstream.trusted = true`; otherwise they count as not offered.
Challenge mechanisms can cross a clear leg, though whoever listens there can try passwords against what was said.

## Acting as somebody else

A client of PLAIN may log in as one user to act as another (authzid). That is passed on by
{acting}; with nothing but other mechanisms upstream it is answered with 454. Whoever is
proven here may act as itself only.

## -PLUS

gatepost offers no mechanism that is bound to the TLS channel (SCRAM-SHA-256-PLUS): Python has no binding for TLS 1.3
(RFC 9266), and a client of a relayed one would bind to a channel that is not the upstream's. For that reason
{scrams} are not relayed to an upstream that offers -PLUS. A client that could bind says that it
was offered nothing of the kind, and the upstream must take that for an attack (RFC 5802 section 6). For all other ways
it makes no difference what the upstream offers beside. [Decision 0010](decisions/0010-no-channel-binding.md) has more.

## When it fails

- The upstream refuses what the client itself has shown: 535 5.7.8, and it counts as a failed login.
- gatepost's check says no: the same. For a bad token, a challenge with JSON comes first (RFC 7628 section 3.2.3).
- The upstream refuses the credential by which gatepost represents a user, or the command: 454 4.7.0. The client has
  done nothing wrong and must not ask its user for another password, so it does not count as a failed login, and
  `gatepost_auth_rewrites_total` has it as `upstream_refused`.
- There is no upstream secret or token for this user, or no mechanism for this case: 454 4.7.0, `impossible`.
- The upstream, the users file or the provider does not answer: 454 4.7.0, `upstream_unavailable` or
  `backend_unavailable`.

[Replies](replies.md) has the exact texts.

## Traps

- **Dovecot's master users and SCRAM.** With `result_success = continue` in the master passdb, Dovecot 2.3 checks the
  SCRAM proof of a master against the password of the user whom it acts as, and refuses it. With
  `upstream.represent = "service"`, set `upstream.mechanisms = ["PLAIN"]`, or leave that line out in Dovecot.
- **An upstream that offers more than it can do.** SCRAM and CRAM-MD5 need a password in a form made for them. A Dovecot
  that has only other hashes, or a Postfix whose Cyrus SASL offers them beside saslauthd, answers a good password with
  535, and gatepost believes it. Set `upstream.mechanisms = ["PLAIN", "LOGIN"]`.
- **OAUTHBEARER without a user.** Its clients may leave the name to the token, XOAUTH2 may not. Such a login
  cannot become XOAUTH2, and Dovecot refuses it as OAUTHBEARER, too. With `[tokens]`, the token says who it is.
- **SCRAM for users of whom only an Argon2 hash is stored** cannot work yet: see [users](users.md), `users.learn`.
"""


def render() -> str:
    """Return the whole page, in Markdown."""
    notes = _NOTES.format(
        offer=_names(SERVER),
        naked=_enumerate(HANDED_OVER, "and"),
        acting=_enumerate(CAN_ACT, "or"),
        scrams=_enumerate(SCRAMS, "and"),
    )
    parts = (
        _INTRODUCTION,
        _CHOICE,
        _choices(),
        _CHOSEN,
        _MATRIX,
        _matrix(),
        _IMPOSSIBLE,
        _impossible(),
        _STRONGEST,
        _strongest(),
        notes,
    )
    return "".join(parts)


def _choices() -> str:
    return _table(["You have", "You want", "Set this"], map(list, _CHOICES))


def _matrix() -> str:
    rows = ([client.value, *(_ways(client, upstream) for upstream in UPSTREAMS)] for client in CLIENTS)
    return _table(["", *(upstream.value for upstream in UPSTREAMS)], rows)


def _ways(client: Mechanism, upstream: Mechanism) -> str:
    return ", ".join(way.value for way in Way if (client, upstream, way) in WORKING)


def _impossible() -> str:
    """Each way with what it cannot do, as products of clients and upstreams."""
    found: dict[tuple[Way, Reason, tuple[Mechanism, ...]], list[Mechanism]] = {}
    for way, client, reason in product(Way, CLIENTS, Reason):
        upstreams = tuple(upstream for upstream in UPSTREAMS if why_not(client, upstream, way) is reason)
        if upstreams:
            found.setdefault((way, reason, upstreams), []).append(client)
    rows = (
        [way.value, _names(clients, CLIENTS), _names(upstreams, UPSTREAMS), reason.value]
        for (way, reason, upstreams), clients in found.items()
    )
    return _table(["Way", "Client", "Upstream", "Impossible, because"], rows)


def _strongest() -> str:
    orders = {"a password that is passed on": PASSWORD, "a token that is passed on": BEARER}
    orders |= {f'`upstream.represent = "{one.value}"`': REPRESENTED_BY[one] for one in Represent}
    return _table(["For", "In this order"], ([what, _names(order)] for what, order in orders.items()))


def _names(mechanisms: Collection[Mechanism], everything: Collection[Mechanism] = ()) -> str:
    return "all" if len(mechanisms) == len(everything) else ", ".join(mechanism.value for mechanism in mechanisms)


def _enumerate(mechanisms: Collection[Mechanism], word: str) -> str:
    *others, last = (mechanism.value for mechanism in CLIENTS if mechanism in mechanisms)
    return f"{', '.join(others)} {word} {last}"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    first, *rest = (f"| {' | '.join(line)} |\n" for line in (head, *rows))
    return "".join([first, "|---" * len(head) + "|\n", *rest])


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201  this is its purpose
