"""The password goes to the upstream, as an answer to AUTH, and nowhere else: in no other command, in no exception."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from traceback import format_exception

import pytest

from dialogue import PASSWORD, USER, Dialogue, Play, load
from gatepost.sasl.exchange import Malformed, Password, decode, decode_initial
from gatepost.sasl.password import login, plain
from gatepost.sasl.secret import Secret
from gatepost.wire.commands import BadCharacters, SyntaxFault, auth, parse

SECRET = PASSWORD.encode()
SECRET_64 = b64encode(SECRET)
PLAIN_64 = b64encode(f"\0{USER}\0{PASSWORD}".encode())
FORMS = (SECRET, SECRET_64, PLAIN_64)
DIALOGUES = list(load())


def carriers(play: Play) -> list[bytes]:
    """The lines sent to the upstream that have the password in them, in any form."""
    return [line for line in play.to_upstream.splitlines() if any(form in line for form in FORMS)]


@pytest.mark.parametrize("script", DIALOGUES, ids=lambda script: script.title)
def test_the_upstream_gets_the_password_in_an_answer_to_auth_alone(script: Dialogue) -> None:
    play = Play(script, 1_000_000)
    play.play()
    assert set(carriers(play)) <= {b"AUTH PLAIN " + PLAIN_64, PLAIN_64, SECRET_64}


def test_there_are_dialogues_in_which_the_upstream_gets_it() -> None:
    seen: set[bytes] = set()
    for script in DIALOGUES:
        play = Play(script, 1_000_000)
        play.play()
        seen |= set(carriers(play))
    assert seen == {b"AUTH PLAIN " + PLAIN_64, SECRET_64}


def _plain(message: bytes) -> None:
    exchange = plain()
    next(exchange)
    exchange.send(message)


def _login(secret: bytes) -> None:
    exchange = login()
    next(exchange)
    exchange.send(b"alice")
    exchange.send(secret)


FAULTS: list[tuple[Callable[[], object], type[Exception]]] = [
    (lambda: decode(SECRET), Malformed),
    (lambda: decode(SECRET_64 + b"!"), Malformed),
    (lambda: decode_initial(SECRET_64[:-1]), Malformed),
    (lambda: _plain(b"alice\0" + SECRET), Malformed),
    (lambda: _plain(b"\0alice\0" + SECRET + b"\0"), Malformed),
    (lambda: _plain(b"\0alice\xff\0" + SECRET), Malformed),
    (lambda: _login(SECRET + b"\0"), Malformed),
    (lambda: _login(SECRET + b"\xff"), Malformed),
    (lambda: parse(b"AUTH PLAIN\0" + SECRET_64 + b"\r\n"), BadCharacters),
    (lambda: parse(b"AUTH PLAIN " + SECRET_64 + b"\xff\r\n"), BadCharacters),
    (lambda: auth(parse(b"AUTH PLAIN x " + PLAIN_64 + b"\r\n")), SyntaxFault),
]


@pytest.mark.parametrize(("provoke", "kind"), FAULTS)
def test_no_exception_quotes_it(provoke: Callable[[], object], kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        provoke()
    said = "".join(format_exception(raised.value)) + repr(raised.value) + repr(raised.value.__context__)
    assert not any(form.decode() in said for form in (*FORMS, SECRET[:8], SECRET_64[:8]))


def test_evidence_does_not_print_it() -> None:
    assert PASSWORD not in repr(Password(USER, "", Secret(SECRET)))
