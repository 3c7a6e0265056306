"""Whether every way of logging in that the settings open leads to the upstream, and leads there safely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gatepost.facts import Mechanism
from gatepost.settings.draft import Check, Draft, repeated
from gatepost.settings.forms import Place
from gatepost.settings.models import Auth, Grant, Represent, UpstreamTls
from gatepost.settings.problems import Problem, quote, write_key
from gatepost.settings.values import STRENGTH
from gatepost.settings.ways import BEARER, REPRESENTED_BY, Ways, accepted, keeps_apart

_KEYS_AT = ("jwks_url", "jwks_file")  # of the provider, for tokens that are checked without asking it
_TOKEN_SOURCES = (*_KEYS_AT, "introspection_url")


def _ways(draft: Draft) -> Ways:
    return Ways(
        mechanisms=draft.upstream["mechanisms"],
        relay=draft.upstream["relay"],
        represent=draft.upstream["represent"],
        users=draft.users is not None,
        verify_passwords=draft.users is not None and draft.users["verify_passwords"],
        tokens=draft.tokens is not None,
        client_ca=bool(draft.tls.given("client_ca")),
    )


# --- [upstream] ------------------------------------------------------------------------------------------------------


def _check_represent(draft: Draft) -> Iterator[Problem]:
    """What the way to represent a user needs in other tables."""
    represent = draft.upstream["represent"]
    if represent is Represent.SECRET and draft.users is None:
        yield Problem("users", "nothing", 'a table while upstream.represent is "secret"')
    if represent is Represent.TOKEN and draft.oauth is None:
        yield Problem("oauth", "nothing", 'a table while upstream.represent is "token"')
    if represent is Represent.CERTIFICATE and not draft.upstream.given("certificate", "key"):
        yield Problem("upstream.represent", '"certificate"', "upstream.certificate and upstream.key with it")


def _check_represented(draft: Draft) -> Iterator[Problem]:
    """Somebody must be proven for `represent` to mean something; without it, nobody need be."""
    represent = draft.upstream["represent"]
    if represent is None:
        for name, table in (("users", draft.users), ("tokens", draft.tokens)):
            if table is not None:
                yield Problem(name, "a table", "upstream.represent with it: how a user proven here is known there")
        return
    nobody = draft.users is None and draft.tokens is None and not draft.tls.given("client_ca")
    if nobody and represent is not Represent.SECRET:  # which needs [users] itself
        yield Problem("upstream.represent", quote(represent.value), "[users], [tokens] or tls.client_ca to prove users")


def _check_representing(draft: Draft) -> Iterator[Problem]:
    represent, mechanisms = draft.upstream["represent"], draft.upstream["mechanisms"]
    if represent in (None, Represent.XCLIENT) or mechanisms is None:
        return
    able = REPRESENTED_BY[represent]
    if not set(able) & set(mechanisms):
        yield Problem("upstream.mechanisms", "none for upstream.represent", f"{_either(able)} among them")


def _check_service(draft: Draft) -> Iterator[Problem]:
    names = ("service_user", "service_password_file")
    given = draft.upstream.given(*names)
    service = draft.upstream["represent"] is Represent.SERVICE
    for name in names:
        if service and name not in given:
            yield Problem(f"upstream.{name}", "nothing", 'a value while upstream.represent is "service"')
        if not service and name in given:
            yield Problem(f"upstream.{name}", "a value", 'nothing unless upstream.represent is "service"')


def _check_logins(draft: Draft) -> Iterator[Problem]:
    for index, client, first in repeated(draft.logins, "client"):
        expected = f"a login other than that of upstream.logins[{first}]"
        yield Problem(write_key(("upstream", "logins", index, "client")), quote(client), expected)


# --- [users], [tokens], [oauth] --------------------------------------------------------------------------------------


def _check_users(draft: Draft) -> Iterator[Problem]:
    if draft.users is not None and draft.users["learn"] and not draft.users["verify_passwords"]:
        yield Problem("users.learn", "true", "users.verify_passwords = true with it, for what was not checked teaches")


def _check_idle(draft: Draft) -> Iterator[Problem]:
    """A key without effect: whoever wrote it believes that it has one."""
    if draft.tls.given("client_identity") and not draft.tls.given("client_ca"):
        yield Problem("tls.client_identity", "a value", "nothing without client_ca")
    if draft.tokens is not None:
        sources = draft.tokens.given(*_TOKEN_SOURCES)
        for name, source in (("algorithms", "introspection_url"), ("ca", "jwks_file")):
            if sources == (source,) and draft.tokens.given(name):
                yield Problem(f"tokens.{name}", "a value", f"nothing with {source}")
    if draft.users is not None and draft.users.given("verifications") and not draft.users["verify_passwords"]:
        yield Problem("users.verifications", "a value", "nothing without verify_passwords = true")


def _check_token_source(draft: Draft) -> Iterator[Problem]:
    if draft.tokens is None:
        return
    given = draft.tokens.given(*_TOKEN_SOURCES)
    if len(given) != 1:
        expected = "one of jwks_url, jwks_file and introspection_url"
        yield Problem("tokens", " and ".join(given) or "none of them", expected)


def _check_token_claims(draft: Draft) -> Iterator[Problem]:
    """A good signature says who made a token; `iss` and `aud` say that it was made for this (RFC 8725 section 3)."""
    if draft.tokens is None or not draft.tokens.given(*_KEYS_AT):
        return
    for name, claim in (("issuer", "iss"), ("audience", "aud")):
        if draft.tokens.get(name) == "":
            yield Problem(f"tokens.{name}", "nothing", f"what `{claim}` must be, with jwks_url or jwks_file")


def _check_token_purpose(draft: Draft) -> Iterator[Problem]:
    """RFC 7662 section 2.2: a provider calls each token active that it issued, for whatever application it was."""
    if draft.tokens is None or not draft.tokens.given("introspection_url"):
        return
    if draft.tokens.get("audience") == draft.tokens.get("scope") == "":
        expected = "what `aud` must contain, or tokens.scope, with introspection_url: else a token for anything is good"
        yield Problem("tokens.audience", "nothing", expected)


def _check_token_client(draft: Draft) -> Iterator[Problem]:
    if draft.tokens is None:
        return
    names = ("client_id", "client_secret_file")
    given = draft.tokens.given(*names)
    sources = draft.tokens.given(*_TOKEN_SOURCES)
    for name in names:
        if "introspection_url" in sources and (name not in given or draft.tokens.get(name) == ""):
            yield Problem(f"tokens.{name}", "nothing", "a value with introspection_url")
        if "introspection_url" not in sources and sources and name in given:
            yield Problem(f"tokens.{name}", "a value", "nothing without introspection_url")


def _check_oauth(draft: Draft) -> Iterator[Problem]:
    if draft.oauth is not None and draft.upstream["represent"] is not Represent.TOKEN:
        yield Problem("oauth", "a table", 'nothing unless upstream.represent is "token"')


def _check_grant(draft: Draft) -> Iterator[Problem]:
    if draft.oauth is None:
        return
    grant = draft.oauth["grant"]
    if grant is Grant.REFRESH_TOKEN and draft.users is None:
        yield Problem("oauth.grant", '"refresh_token"', "[users] with it, which holds each user's refresh token")
    if grant is Grant.CLIENT_CREDENTIALS and not draft.oauth.given("client_secret_file"):
        yield Problem("oauth.client_secret_file", "nothing", 'a file while oauth.grant is "client_credentials"')


# --- [[listeners]], [[policies]] -------------------------------------------------------------------------------------


def _check_repeats(draft: Draft) -> Iterator[Problem]:
    for index, listener in enumerate(draft.listeners):
        yield from _find_repeats(("listeners", index, "mechanisms"), listener.each("mechanisms"))
    for name in ("mechanisms", "relay"):
        yield from _find_repeats(("upstream", name), draft.upstream.each(name))


def _find_repeats(place: Place, mechanisms: Iterator[tuple[int, Mechanism]]) -> Iterator[Problem]:
    first: dict[Mechanism, int] = {}
    for position, mechanism in mechanisms:
        if first.setdefault(mechanism, position) != position:
            expected = f"a mechanism other than in {write_key((*place, first[mechanism]))}"
            yield Problem(write_key((*place, position)), quote(mechanism.value), expected)


def _check_offers(draft: Draft) -> Iterator[Problem]:
    """A mechanism that is named must lead somewhere; the rest are left out of EHLO where they lead nowhere."""
    ways = _ways(draft)
    for index, listener in enumerate(draft.listeners):
        for position, mechanism in listener.each("mechanisms"):
            if ways.toward(mechanism) or (ways.proves(mechanism) and ways.represent):  # then it is represent's mistake
                continue
            key = write_key(("listeners", index, "mechanisms", position))
            yield Problem(key, quote(mechanism.value), f"with it {_needed(mechanism)}")


def _needed(mechanism: Mechanism) -> str:
    """Tell what lets a login by this mechanism reach the upstream."""
    if mechanism is Mechanism.EXTERNAL:
        return "tls.client_ca and upstream.represent"
    if mechanism in (Mechanism.PLAIN, Mechanism.LOGIN):
        return "a mechanism for passwords in upstream.mechanisms, or users.verify_passwords and upstream.represent"
    if mechanism in BEARER:
        return f"{_either(BEARER)} in upstream.mechanisms, or [tokens] and upstream.represent"
    return "[users] and upstream.represent, or its name in upstream.relay"


def _check_policy_listeners(draft: Draft) -> Iterator[Problem]:
    names = [name for listener in draft.listeners if (name := listener.get("name")) is not None]
    for index, policy in enumerate(draft.policies):
        for position, name in policy.each("listeners"):
            if name not in names:
                key = write_key(("policies", index, "listeners", position))
                yield Problem(key, quote(name), "the name of a listener: " + ", ".join(map(quote, names)))


def _check_policy_users(draft: Draft) -> Iterator[Problem]:
    """What is relayed is not read, so gatepost does not learn whose policy would count."""
    relayed = [mechanism for _, mechanism in draft.upstream.each("relay")]
    for index, policy in enumerate(draft.policies):
        minimum = policy.get("minimum")
        if minimum is None or not list(policy.each("users")):
            continue
        weak = [mechanism for mechanism in relayed if STRENGTH[mechanism] < STRENGTH[minimum]]
        if weak:
            expected = f"no users while upstream.relay has {_either(weak)}, which hides who logs in"
            yield Problem(write_key(("policies", index, "users")), "users", expected)


def _check_policy_names(draft: Draft) -> Iterator[Problem]:
    """A template that drops part of a login makes many logins one user, and a policy would see only one of them."""
    template = draft.upstream["login_template"]
    if keeps_apart(template):
        return
    for index, policy in enumerate(draft.policies):
        if list(policy.each("users")):
            found = f"users, while upstream.login_template is {quote(template)}, by which several logins are one user"
            expected = (
                'a template with "{login}", or with "{local}" and "{domain}"; [[upstream.logins]] renames single ones'
            )
            yield Problem(write_key(("policies", index, "users")), found, expected)


# --- what crosses the upstream leg -----------------------------------------------------------------------------------


def _check_password_path(draft: Draft) -> Iterator[Problem]:
    """No password or token over a channel that is clear, or that proves nothing about who is at its other end."""
    address, tls, trusted, pins, ca = (draft.upstream[key] for key in ("address", "tls", "trusted", "pins", "ca"))
    proven = tls in (UpstreamTls.STARTTLS, UpstreamTls.IMPLICIT) or (tls is UpstreamTls.OPPORTUNISTIC and (pins or ca))
    if proven or trusted or address.loopback:
        return
    ways = _ways(draft)
    exposed = {one for mechanism in _offered(draft) for one in ways.exposed(mechanism)}
    if not exposed:
        return
    what = "tokens" if exposed <= set(BEARER) else "passwords"
    channel = "in the clear" if tls is UpstreamTls.NEVER else "over a channel that proves nothing about its other end"
    found = f'"{tls.value}", so {what} would cross to {address} {channel}'
    expected = '"starttls" or "implicit", or trusted = true if the network up to it is as good as TLS'
    yield Problem("upstream.tls", found, expected)


def _offered(draft: Draft) -> Iterator[Mechanism]:
    """Yield what clients may use on any listener."""
    for listener in draft.listeners:
        if listener.get("auth") in (None, Auth.OFF):
            continue
        named = listener.given("mechanisms")
        yield from (one for _, one in listener.each("mechanisms")) if named else accepted(None)


def _either(mechanisms: Sequence[Mechanism]) -> str:
    *others, last = (f'"{mechanism.value}"' for mechanism in mechanisms)
    return f"{', '.join(others)} or {last}" if others else last


CHECKS: tuple[Check, ...] = (
    _check_represent,
    _check_represented,
    _check_representing,
    _check_service,
    _check_logins,
    _check_users,
    _check_idle,
    _check_token_source,
    _check_token_claims,
    _check_token_purpose,
    _check_token_client,
    _check_oauth,
    _check_grant,
    _check_repeats,
    _check_offers,
    _check_policy_listeners,
    _check_policy_users,
    _check_policy_names,
    _check_password_path,
)
