"""AUTH: hear the client, prove or plan, present to the upstream, answer (RFC 4954).

Runs on a TLS channel only: the table in `phases.py` has no AUTH on a clear one, and `expose` below is all that happens
there. What the upstream says about credentials is answered by a text of our own; its own trouble, or ours, is 454 and
never counts as a failed login. Nothing of an attempt reaches the upstream before it is whole and, where gatepost is to
prove it, proven; except of a mechanism that settings ask to relay.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from gatepost.facts import (
    AuthBegan,
    AuthEnded,
    AuthHeard,
    AuthResult,
    Channel,
    Ending,
    Limit,
    Mechanism,
    PolicyDecided,
    Refusal,
)
from gatepost.sasl import bearer
from gatepost.sasl.claim import claimed_name
from gatepost.sasl.exchange import (
    Bearer,
    Denied,
    Evidence,
    Malformed,
    Password,
    Proven,
    ServerExchange,
    Surroundings,
    decode_initial,
    encode,
)
from gatepost.sasl.plan import SERVER, SERVER_FIRST, is_weaker
from gatepost.sasl.prepare import prepare_name
from gatepost.sasl.questions import CheckPassword, CheckToken, FindPassword, FindVerifier, Question
from gatepost.session.phases import Phase
from gatepost.session.represent import CANCELLED, UNAVAILABLE, Attempt, Outcome, present, relay
from gatepost.session.talk import Hangup, Steps, Talk
from gatepost.session.vocabulary import BackendLost, Expire, UpstreamLost
from gatepost.settings.ways import HANDED_OVER
from gatepost.wire import commands
from gatepost.wire.capabilities import mechanism_named
from gatepost.wire.commands import AUTH_LINE_BYTES, Command
from gatepost.wire.lines import LineTooLong
from gatepost.wire.replies import encode as encode_reply

ACCEPTED = encode_reply(235, b"2.7.0 Authentication successful")
HANDED_OVER_AT_ONCE = HANDED_OVER - {Mechanism.LOGIN}  # whose initial response is the name
FAILURES = frozenset({AuthResult.REJECTED, AuthResult.TRANSITION})  # of whoever guesses


class Cancelled(Exception):
    """The client sent "*"."""


class TooWeak(Exception):
    """The exchange has named its user, for whom the mechanism is too weak."""


_WEAK: Outcome = (AuthResult.WEAK, Refusal.MECHANISM_WEAK)
_OBJECTIONS = {
    AuthResult.MECHANISM_REFUSED: Refusal.MECHANISM_UNKNOWN,
    AuthResult.WEAK: Refusal.MECHANISM_WEAK,
    AuthResult.IMPOSSIBLE: Refusal.AUTH_UNAVAILABLE,
}
_DENIALS = {
    AuthResult.REJECTED: Refusal.CREDENTIALS_INVALID,
    AuthResult.CANCELLED: Refusal.CREDENTIALS_INVALID,
    AuthResult.TRANSITION: Refusal.PASSWORD_TRANSITION,
}
_BROKEN_OFF: dict[type[Exception], Outcome] = {
    Malformed: (AuthResult.MALFORMED, Refusal.CANNOT_DECODE),
    LineTooLong: (AuthResult.MALFORMED, Refusal.AUTH_LINE_TOO_LONG),
    Cancelled: CANCELLED,
    TooWeak: _WEAK,
    BackendLost: (AuthResult.BACKEND_UNAVAILABLE, Refusal.AUTH_UNAVAILABLE),
}


def expose(talk: Talk, command: Command) -> None:
    """AUTH on a clear channel: note the mechanism, and whose credential came along, without looking at that."""
    name, _, initial = command.argument.partition(b" ")
    mechanism = mechanism_named(name.upper())
    exposed = mechanism in HANDED_OVER_AT_ONCE and initial not in (b"", b"=")
    talk.summary.exposed = talk.summary.exposed or exposed
    user = claimed_name(mechanism, initial)
    talk.record(AuthEnded(mechanism, Channel.CLEAR, AuthResult.CLEAR_REFUSED, user, exposed=exposed))


def auth(talk: Talk, command: Command) -> Steps[None]:
    try:
        name, initial = commands.auth(command)
    except commands.SyntaxFault:
        talk.refuse(Refusal.AUTH_SYNTAX)
        return
    attempt = Attempt(mechanism_named(name))
    talk.record(AuthBegan(attempt.mechanism))
    try:
        attempt.result, refusal = yield from _attempt(talk, attempt, initial)
    finally:  # also when the client is lost meanwhile
        if attempt.minimum is not None:
            talk.record(PolicyDecided(attempt.minimum, refused=attempt.result is AuthResult.WEAK))
        record = AuthEnded(attempt.mechanism, Channel.TLS, attempt.result, attempt.user, attempt.upstream_mechanism)
        talk.record(record)
    if refusal is None:
        _log_in(talk, attempt)
    else:
        _turn_away(talk, attempt.result, refusal)


def _attempt(talk: Talk, attempt: Attempt, initial: bytes | None) -> Steps[Outcome]:
    if attempt.mechanism not in talk.offered:  # after HELO nothing was offered, and it may be good all the same
        objection = talk.policy.objection(attempt.mechanism, talk.known, talk.standing)
        if objection is AuthResult.WEAK:
            attempt.minimum = talk.standing.minimum
        if objection is not None:  # and the client is not asked for a password that leads nowhere
            return objection, _OBJECTIONS[objection]
    try:
        return (yield from _exchange(talk, attempt, initial))
    except tuple(_BROKEN_OFF) as why:
        return _BROKEN_OFF[type(why)]
    except UpstreamLost as lost:
        if talk.upstream_open:  # otherwise `reach` has noted it
            talk.drop_upstream(lost.reason)
        return UNAVAILABLE


def _exchange(talk: Talk, attempt: Attempt, initial: bytes | None) -> Steps[Outcome]:
    """Raises UpstreamLost, and what is in _BROKEN_OFF."""
    mechanism = attempt.mechanism
    if initial is not None and mechanism in SERVER_FIRST:
        return AuthResult.MALFORMED, Refusal.INITIAL_RESPONSE
    if talk.policy.means.relays(mechanism):
        return _WEAK if _is_weak(talk, attempt, ("",)) else (yield from relay(talk, attempt, initial))
    heard = yield from _hear(talk, attempt, initial)
    talk.record(AuthHeard(mechanism))
    attempt.user, users = _claimed(heard)
    if isinstance(heard, Denied):
        return _denial(talk, heard)
    named_later = isinstance(heard, Bearer) and talk.policy.means.ways.tokens  # by whoever checks the token
    if not named_later and _is_weak(talk, attempt, users):
        return _WEAK
    outcome = yield from _follow(talk, attempt, heard)
    if isinstance(heard, Bearer) and outcome[0] is AuthResult.REJECTED:
        attempt.result = outcome[0]  # curl does not wait for more than the explanation
        yield from _explain(talk, mechanism)
    return outcome


def _follow(talk: Talk, attempt: Attempt, heard: Evidence) -> Steps[Outcome]:
    """From what a client has shown to whether it is in. Raises UpstreamLost, BackendLost."""
    shown = yield from _prove(talk, heard)
    attempt.user, users = _claimed(shown)
    if isinstance(shown, Denied):
        return _denial(talk, shown)
    if _is_weak(talk, attempt, users):
        return _WEAK
    outcome = yield from present(talk, attempt, shown)
    ends = talk.policy.means.ends_with_token and outcome[0] is AuthResult.ACCEPTED
    if ends and isinstance(shown, Proven) and shown.seconds is not None:
        talk.actions.append(Expire(shown.seconds))
    return outcome


def _denial(talk: Talk, denied: Denied) -> Outcome:
    result = denied.result
    if result is AuthResult.TRANSITION and not _could_show_password(talk, denied.user):
        result = AuthResult.REJECTED
    return result, _DENIALS[result]


def _could_show_password(talk: Talk, user: str) -> bool:
    """Whether a login by PLAIN or LOGIN would be heard, which is what RFC 4954 section 6 sends the client to."""
    return any(
        talk.policy.objection(mechanism, talk.known, talk.standing) is None
        and not _is_weak(talk, Attempt(mechanism), (user,))
        for mechanism in (Mechanism.PLAIN, Mechanism.LOGIN)
    )


def _claimed(shown: Evidence | Denied) -> tuple[str, tuple[str, ...]]:
    """Who a client says it is, for logs; and every login that it would have the rights of."""
    if isinstance(shown, Password):
        return shown.authcid, (shown.authcid, shown.authzid or shown.authcid)
    user = shown.identity if isinstance(shown, Proven) else shown.user
    return user, (user,)


def _is_weak(talk: Talk, attempt: Attempt, users: tuple[str, ...]) -> bool:
    """Whether its mechanism is too weak for these users, and by which minimum that was decided."""
    attempt.minimum = talk.policy.minimum(talk.address, users)
    return attempt.minimum is not None and is_weaker(attempt.mechanism, attempt.minimum)


def _hear(talk: Talk, attempt: Attempt, initial: bytes | None) -> Steps[Evidence | Denied]:
    """The client's side. Raises Malformed, LineTooLong, Cancelled, TooWeak, BackendLost."""
    tls = talk.summary.tls
    around = Surroundings(talk.policy.hostname.decode(), tls.identity if tls else "", talk.policy.means.scope)
    exchange: ServerExchange = SERVER[attempt.mechanism](around)
    said = next(exchange)
    response = decode_initial(initial)
    while True:
        if isinstance(said, Question):
            _heed_user(talk, attempt, said)
            heard: object = yield from talk.ask(said)
        elif response is not None:
            heard, response = response, None
        else:
            heard = yield from _challenge(talk, said)
        try:
            said = exchange.send(heard)
        except StopIteration as end:
            evidence: Evidence | Denied = end.value
            return evidence


def _heed_user(talk: Talk, attempt: Attempt, question: Question[Any]) -> None:
    """A user who must not use this mechanism is told so before anything shows whether the password is right."""
    if isinstance(question, FindVerifier | FindPassword):
        attempt.user = question.user
        if _is_weak(talk, attempt, (question.user,)):
            raise TooWeak


def _challenge(talk: Talk, challenge: bytes) -> Steps[bytes]:
    talk.answer(b"334 " + encode(challenge) + b"\r\n")
    talk.flush()
    line = yield from talk.line(talk.waits.response, AUTH_LINE_BYTES)
    if line == b"*\r\n":
        raise Cancelled
    if not line.endswith(b"\r\n"):
        raise Malformed("a line that does not end in CRLF")
    return decode_initial(line[:-2]) or b""  # "=" as well: curl answers the empty challenge of EXTERNAL so


def _explain(talk: Talk, mechanism: Mechanism) -> Steps[None]:
    """What is wrong with a token comes in a challenge; the client's answer means nothing (RFC 7628 section 3.2.3)."""
    with suppress(Malformed, Cancelled, LineTooLong):
        yield from _challenge(talk, bearer.failure(mechanism, talk.policy.means.scope))


def _prove(talk: Talk, heard: Evidence) -> Steps[Evidence | Denied]:
    """What gatepost is to check itself becomes a proof, or is denied. Raises BackendLost."""
    means = talk.policy.means
    if isinstance(heard, Password) and means.ways.verify_passwords:
        user = prepare_name(heard.authcid)  # one user, one spelling
        if heard.authzid in ("", heard.authcid) and (yield from talk.ask(CheckPassword(user, heard.secret))):
            return Proven(user)
        return Denied(AuthResult.REJECTED, user)
    if isinstance(heard, Bearer) and means.ways.tokens:
        holder = yield from talk.ask(CheckToken(heard.token))
        if holder is not None and heard.user.casefold() in ("", holder.user.casefold()):
            return Proven(holder.user, holder.seconds)
        return Denied(AuthResult.REJECTED, heard.user)
    return heard


def _log_in(talk: Talk, attempt: Attempt) -> None:
    talk.phase = Phase.LOGGED_IN_READY
    talk.summary.mechanism = attempt.mechanism
    talk.summary.user = attempt.user
    talk.answer(ACCEPTED)


def _turn_away(talk: Talk, result: AuthResult, refusal: Refusal) -> None:
    talk.refuse(refusal)
    if result in FAILURES:
        talk.failures += 1
        talk.summary.auth_failures += 1
        if talk.failures >= talk.policy.limits.login_failures:
            talk.limit(Limit.LOGIN_FAILURES)
            raise Hangup(Ending.REFUSED, Refusal.TOO_MANY_FAILURES)
