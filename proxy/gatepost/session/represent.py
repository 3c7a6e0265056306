"""Toward the upstream: what a client has shown becomes a login there, by the plan, or passes through untouched.

Nothing is sent upstream here that the client was not heard to the end for, except in `relay`, which settings must ask
for. A credential of gatepost's own that the upstream refuses is never called the client's fault.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gatepost.facts import AuthPresented, AuthResult, AuthRewritten, Mechanism, Refusal, UpstreamFailure
from gatepost.sasl.exchange import Bearer, ClientExchange, Malformed, Password, Proven, Unproven, decode, decode_initial
from gatepost.sasl.external import external_client
from gatepost.sasl.plan import BY_PASSWORD, BY_TOKEN
from gatepost.sasl.questions import FindUpstreamLogin, ForgetToken, ObtainToken
from gatepost.session import upstream
from gatepost.session.talk import Steps, Talk
from gatepost.session.vocabulary import ClientLate, ClientLost, UpstreamLost
from gatepost.settings import Represent
from gatepost.wire.commands import AUTH_LINE_BYTES
from gatepost.wire.lines import LineTooLong
from gatepost.wire.replies import Reply

MOST_LOGIN_BYTES = 160  # in xtext three times as long; Postfix takes XCLIENT commands of 512 octets

Outcome = tuple[AuthResult, Refusal | None]
Shown = Password | Bearer | Proven

CANCELLED: Outcome = (AuthResult.CANCELLED, Refusal.AUTH_CANCELLED)
UNAVAILABLE: Outcome = (AuthResult.UPSTREAM_UNAVAILABLE, Refusal.AUTH_UNAVAILABLE)
_ACCEPTED: Outcome = (AuthResult.ACCEPTED, None)
IMPOSSIBLE: Outcome = (AuthResult.IMPOSSIBLE, Refusal.AUTH_UNAVAILABLE)
_REFUSED: Outcome = (AuthResult.UPSTREAM_REFUSED, Refusal.AUTH_UNAVAILABLE)
_UNPROVEN: Outcome = (AuthResult.UPSTREAM_UNPROVEN, Refusal.AUTH_UNAVAILABLE)

# What an upstream's refusal of AUTH means (RFC 4954 section 6). Whatever is not here is its refusal of the mechanism
# or of the command: a fault of the settings, not of the client.
_JUDGED: dict[int, Outcome] = {
    535: (AuthResult.REJECTED, Refusal.CREDENTIALS_INVALID),
    525: (AuthResult.REJECTED, Refusal.ACCOUNT_DISABLED),
}


@dataclass(slots=True)
class Attempt:
    """One AUTH command, as far as it is known: whose, and by what it went to the upstream."""

    mechanism: Mechanism
    user: str = ""
    upstream_mechanism: Mechanism | None = None
    minimum: Mechanism | None = None  # the policies ask for, if any does
    result: AuthResult = AuthResult.ABANDONED  # should the client leave now


def present(talk: Talk, attempt: Attempt, shown: Shown) -> Steps[Outcome]:
    """Log in to the upstream with what the client has shown. Raises UpstreamLost, BackendLost."""
    credential = yield from _credential(talk, shown)
    if credential is None:
        return IMPOSSIBLE
    chosen = yield from _choose(talk, attempt, credential)
    if chosen is None:
        return IMPOSSIBLE
    if _is_too_odd(chosen, credential):
        return IMPOSSIBLE
    own = isinstance(shown, Proven)  # then what the upstream is shown is no credential of the client's
    outcome = yield from _carry_out(talk, attempt, chosen, _log_in(talk, chosen, credential, own=own))
    if isinstance(shown, Proven) and isinstance(credential, Bearer) and outcome is _REFUSED:
        yield from talk.ask(ForgetToken(shown.identity))
    return outcome


def _carry_out(talk: Talk, attempt: Attempt, chosen: Mechanism, steps: Steps[Outcome]) -> Steps[Outcome]:
    """Whatever becomes of it is recorded, and no upstream is kept of which it is not clear who is logged in there."""
    attempt.upstream_mechanism = talk.summary.upstream_mechanism = chosen
    talk.record(AuthPresented())
    try:
        outcome = yield from steps
    except Unproven:
        talk.drop_upstream(UpstreamFailure.UNPROVEN)
        outcome = _UNPROVEN
    except UpstreamLost as lost:
        talk.drop_upstream(lost.reason)
        outcome = UNAVAILABLE
    if outcome is not CANCELLED:
        talk.record(AuthRewritten(attempt.mechanism, chosen, outcome[0]))
    return outcome


def _credential(talk: Talk, shown: Shown) -> Steps[Shown | None]:
    """What to show the upstream, by the name that the user has there; None: nothing is known to show."""
    name = talk.policy.means.naming.upstream_name
    if isinstance(shown, Password):
        named = Password(name(shown.authcid), name(shown.authzid), shown.secret)
        return named if named.authcid and bool(named.authzid) == bool(shown.authzid) else None
    if isinstance(shown, Bearer):
        named_bearer = replace(shown, user=name(shown.user))
        return named_bearer if bool(named_bearer.user) == bool(shown.user) else None
    user = name(shown.identity)
    return (yield from _representation(talk, shown.identity, user)) if user else None


def _representation(talk: Talk, identity: str, user: str) -> Steps[Shown | None]:
    """What represents somebody who was proven here, and is called `user` at the upstream."""
    means = talk.policy.means
    if means.ways.represent is Represent.SECRET:
        found = yield from talk.ask(FindUpstreamLogin(identity))
        return Password(found.user or user, "", found.secret) if found else None
    if means.ways.represent is Represent.SERVICE:
        if means.service is None or user == means.service.authcid:  # nobody may become the account by its name
            return None
        return replace(means.service, authzid=user)
    if means.ways.represent is Represent.TOKEN:
        token = yield from talk.ask(ObtainToken(identity))
        return Bearer(user, token) if token else None
    return Proven(user)


def _choose(talk: Talk, attempt: Attempt, credential: Shown) -> Steps[Mechanism | None]:
    yield from upstream.reach(talk)
    live = talk.live
    assert live is not None  # noqa: S101  reach returned
    acting = isinstance(credential, Password) and credential.authzid not in ("", credential.authcid)
    return talk.policy.route(attempt.mechanism, live, acting=acting)


def _is_too_odd(chosen: Mechanism, credential: Shown) -> bool:
    """Whether a mechanism cannot carry this name, or would say something else by it."""
    if isinstance(credential, Bearer):
        return "\1" in credential.user or (chosen is Mechanism.XOAUTH2 and not credential.user)
    if isinstance(credential, Proven) and chosen is Mechanism.XCLIENT:  # Postfix takes "[UNAVAILABLE]" for nobody
        return credential.identity.startswith("[") or len(credential.identity.encode()) > MOST_LOGIN_BYTES
    return False


def _log_in(talk: Talk, chosen: Mechanism, credential: Shown, *, own: bool) -> Steps[Outcome]:
    """Raises UpstreamLost, BackendLost, Unproven."""
    if isinstance(credential, Proven) and chosen is Mechanism.XCLIENT:
        outcome = _judge((yield from upstream.state_login(talk, credential.identity.encode())), accepting=220)
    else:
        reply = yield from upstream.authenticate(talk, chosen, _exchange(chosen, credential))
        outcome = _REFUSED if reply is None else _judge(reply)
    return _REFUSED if own and outcome[0] is AuthResult.REJECTED else outcome


def _exchange(chosen: Mechanism, credential: Shown) -> ClientExchange:
    if isinstance(credential, Password):
        return BY_PASSWORD[chosen](credential)
    if isinstance(credential, Bearer):
        return BY_TOKEN[chosen](credential)
    return external_client(credential.identity)


def _judge(reply: Reply, *, accepting: int = 235) -> Outcome:
    """Raises UpstreamLost also for what is neither the acceptance nor a refusal: nobody knows who is logged in then."""
    if reply.code == accepting:
        return _ACCEPTED
    if reply.code == 421 or reply.code < 400:  # noqa: PLR2004  RFC 5321 section 3.8: it is closing
        raise UpstreamLost(UpstreamFailure.CLOSED if reply.code == 421 else UpstreamFailure.GARBLED)  # noqa: PLR2004
    return _JUDGED.get(reply.code) or (UNAVAILABLE if reply.transient else _REFUSED)


# --- relay -----------------------------------------------------------------------------------------------------------


def relay(talk: Talk, attempt: Attempt, initial: bytes | None) -> Steps[Outcome]:
    """A challenge mechanism between client and upstream, neither of which learns that we listen.

    Raises UpstreamLost, Malformed, LineTooLong.
    """
    decode_initial(initial)
    chosen = yield from _choose(talk, attempt, Proven(""))
    if chosen is None:
        return IMPOSSIBLE
    return (yield from _carry_out(talk, attempt, chosen, _pass_through(talk, chosen, initial)))


def _pass_through(talk: Talk, chosen: Mechanism, initial: bytes | None) -> Steps[Outcome]:
    reply = yield from upstream.begin(talk, chosen, initial)
    while reply.code == 334:  # noqa: PLR2004  RFC 4954 section 4
        talk.answer(reply.raw)
        talk.flush()
        line = yield from _answer(talk)
        if line == b"*\r\n":
            yield from upstream.cancel(talk)
            return CANCELLED
        talk.tell(line)
        reply = yield from talk.reply(talk.waits.login)
    return _judge(reply)


def _answer(talk: Talk) -> Steps[bytes]:
    """The client's next line, if it is one that may be passed on; otherwise the upstream is not kept waiting for it."""
    try:
        line = yield from talk.line(talk.waits.response, AUTH_LINE_BYTES)
        if line != b"*\r\n":
            decode(line.removesuffix(b"\r\n"))  # anything but base64 could be taken for a command
    except (Malformed, LineTooLong):
        yield from upstream.cancel(talk)
        raise
    except (ClientLost, ClientLate):
        talk.drop_upstream()
        raise
    return line
