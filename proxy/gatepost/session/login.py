"""AUTH: hear the client, plan, present to the upstream, answer (RFC 4954).

Runs on a TLS channel only: the table in `phases.py` has no AUTH on a clear one, and `expose` below is all that happens
there. What the upstream says about credentials is answered by a text of our own; its own trouble, or ours, is 454 and
never counts as a failed login.
"""

from __future__ import annotations

from gatepost.facts import (
    AuthBegan,
    AuthEnded,
    AuthResult,
    AuthRewritten,
    Channel,
    CredentialsExposed,
    Ending,
    Limit,
    Mechanism,
    Refusal,
    UpstreamFailure,
)
from gatepost.sasl.exchange import Malformed, Password, ServerExchange, decode, decode_initial, encode
from gatepost.sasl.plan import SERVER, plan
from gatepost.session.phases import Phase
from gatepost.session.talk import Hangup, Steps, Talk
from gatepost.session.upstream import authenticate, reach
from gatepost.session.vocabulary import ClientLate, ClientLost, UpstreamLost
from gatepost.wire import commands
from gatepost.wire.capabilities import mechanism_named
from gatepost.wire.commands import AUTH_LINE_BYTES, Command
from gatepost.wire.lines import LineTooLong
from gatepost.wire.replies import encode as encode_reply

ACCEPTED = encode_reply(235, b"2.7.0 Authentication successful")

# What an upstream's last reply to AUTH means (RFC 4954 section 6). Whatever is not here is its refusal of the
# mechanism or of the command: a fault of the settings, not of the client.
_JUDGED = {
    235: (AuthResult.ACCEPTED, None),
    535: (AuthResult.REJECTED, Refusal.CREDENTIALS_INVALID),
    525: (AuthResult.REJECTED, Refusal.ACCOUNT_DISABLED),
}
Outcome = tuple[AuthResult, Refusal | None]

_UNAVAILABLE: Outcome = (AuthResult.UPSTREAM_UNAVAILABLE, Refusal.AUTH_UNAVAILABLE)
_REFUSED: Outcome = (AuthResult.UPSTREAM_REFUSED, Refusal.AUTH_UNAVAILABLE)
_IMPOSSIBLE: Outcome = (AuthResult.IMPOSSIBLE, Refusal.AUTH_UNAVAILABLE)


class Cancelled(Exception):
    """The client sent "*"."""


_BROKEN_OFF: dict[type[Exception], Outcome] = {
    Malformed: (AuthResult.MALFORMED, Refusal.CANNOT_DECODE),
    LineTooLong: (AuthResult.MALFORMED, Refusal.AUTH_LINE_TOO_LONG),
    Cancelled: (AuthResult.CANCELLED, Refusal.AUTH_CANCELLED),
}


def expose(talk: Talk, command: Command) -> None:
    """AUTH on a clear channel: note the mechanism, and that a credential came along, without looking at it."""
    name, _, initial = command.argument.partition(b" ")
    mechanism = mechanism_named(name.upper())
    if initial:
        talk.summary.exposed = True
        talk.record(CredentialsExposed(mechanism))
    talk.record(AuthEnded(mechanism, Channel.CLEAR, AuthResult.CLEAR_REFUSED))


def auth(talk: Talk, command: Command) -> Steps[None]:
    try:
        name, initial = commands.auth(command)
    except commands.SyntaxFault:
        talk.refuse(Refusal.AUTH_SYNTAX)
        return
    mechanism = mechanism_named(name)
    talk.record(AuthBegan(mechanism))
    user = ""
    try:
        password, (result, refusal) = yield from _attempt(talk, mechanism, initial)
        user = password.authcid if password else ""
    except (ClientLost, ClientLate):
        talk.record(AuthEnded(mechanism, Channel.TLS, AuthResult.ABANDONED))
        raise
    talk.record(AuthEnded(mechanism, Channel.TLS, result, user))
    if refusal is None:
        _log_in(talk, mechanism, user)
    else:
        _turn_away(talk, result, refusal)


def _attempt(talk: Talk, mechanism: Mechanism, initial: bytes | None) -> Steps[tuple[Password | None, Outcome]]:
    if mechanism not in SERVER:
        return None, (AuthResult.MECHANISM_REFUSED, Refusal.MECHANISM_UNKNOWN)
    if talk.known is not None and mechanism not in talk.policy.mechanisms(talk.known):
        return None, _IMPOSSIBLE  # and the client is not asked for a password that leads nowhere
    try:
        password = yield from _hear(talk, SERVER[mechanism](), initial)
    except tuple(_BROKEN_OFF) as why:
        return None, _BROKEN_OFF[type(why)]
    try:
        return password, (yield from _present(talk, mechanism, password))
    except UpstreamLost as lost:
        if talk.upstream_open:  # otherwise `reach` has noted it
            talk.drop_upstream(lost.reason)
        return password, _UNAVAILABLE


def _hear(talk: Talk, exchange: ServerExchange, initial: bytes | None) -> Steps[Password]:
    """The client's side. Raises Malformed, LineTooLong, Cancelled."""
    challenge = next(exchange)
    response = decode_initial(initial)
    while True:
        if response is None:
            talk.answer(b"334 " + encode(challenge) + b"\r\n")
            talk.flush()
            line = yield from talk.line(talk.waits.response, AUTH_LINE_BYTES)
            if line == b"*\r\n":
                raise Cancelled
            if not line.endswith(b"\r\n"):
                raise Malformed("a line that does not end in CRLF")
            response = decode(line[:-2])
        try:
            challenge = exchange.send(response)
        except StopIteration as end:
            password: Password = end.value
            return password
        response = None


def _present(talk: Talk, mechanism: Mechanism, password: Password) -> Steps[Outcome]:
    """The upstream's side. Raises UpstreamLost."""
    yield from reach(talk)
    live = talk.live
    assert live is not None  # noqa: S101  reach returned
    chosen = plan(password, live.capabilities.mechanisms, guarded=live.guarded)
    if chosen is None:
        return _IMPOSSIBLE
    reply = yield from authenticate(talk, chosen)
    if reply.code == 421:  # noqa: PLR2004  RFC 5321 section 3.8: it is closing
        raise UpstreamLost(UpstreamFailure.CLOSED)
    outcome = _JUDGED.get(reply.code) or (_UNAVAILABLE if reply.transient else _REFUSED)
    talk.record(AuthRewritten(mechanism, chosen.mechanism, outcome[0]))
    talk.summary.upstream_mechanism = chosen.mechanism
    return outcome


def _log_in(talk: Talk, mechanism: Mechanism, user: str) -> None:
    talk.phase = Phase.LOGGED_IN_READY
    talk.summary.mechanism = mechanism
    talk.summary.user = user
    talk.answer(ACCEPTED)


def _turn_away(talk: Talk, result: AuthResult, refusal: Refusal) -> None:
    talk.refuse(refusal)
    if result is AuthResult.REJECTED:
        talk.failures += 1
        talk.summary.auth_failures += 1
        if talk.failures >= talk.policy.limits.login_failures:
            talk.limit(Limit.LOGIN_FAILURES)
            raise Hangup(Ending.REFUSED, Refusal.TOO_MANY_FAILURES)
