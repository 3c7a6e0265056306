"""PLAIN and LOGIN, both roles."""

from collections.abc import Callable

import pytest

from gatepost.sasl.exchange import Malformed, Password, ServerExchange
from gatepost.sasl.password import login, login_client, plain, plain_client
from gatepost.sasl.secret import Secret


def serve(exchange: ServerExchange, *responses: bytes) -> tuple[list[bytes], Password]:
    """The challenges, and what was learned."""
    challenges = [_challenge(next(exchange))]
    for response in responses:
        try:
            challenges.append(_challenge(exchange.send(response)))
        except StopIteration as end:
            learned: Password = end.value
            return challenges, learned
    raise AssertionError("the exchange wants more")


def _challenge(shown: object) -> bytes:
    assert isinstance(shown, bytes)
    return shown


def test_plain() -> None:
    """The examples of RFC 4616 section 4."""
    assert serve(plain(), b"\0tim\0tanstaaftanstaaf") == ([b""], Password("tim", "", Secret(b"tanstaaftanstaaf")))
    assert serve(plain(), b"Ursel\0Kurt\0xipj3plmq")[1] == Password("Kurt", "Ursel", Secret(b"xipj3plmq"))


def test_plain_takes_utf8() -> None:
    assert serve(plain(), "\0bärta\0pässwort".encode())[1].authcid == "bärta"


@pytest.mark.parametrize(
    "message",
    [b"", b"alice", b"\0alice", b"\0alice\0pw\0", b"\0\0pw", b"\0alice\0", b"\0al\xffice\0pw", b"\0alice\0\xff"],
)
def test_what_is_no_plain(message: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        serve(plain(), message)
    assert "alice" not in str(caught.value)


def test_login() -> None:
    challenges, learned = serve(login(), b"alice", b"pw")
    assert challenges == [b"Username:", b"Password:"]
    assert learned == Password("alice", "", Secret(b"pw"))


@pytest.mark.parametrize(
    "responses", [(b"", b"pw"), (b"alice", b""), (b"al\0ice", b"pw"), (b"alice", b"p\0w"), (b"\xff", b"x")]
)
def test_what_is_no_login(responses: tuple[bytes, bytes]) -> None:
    with pytest.raises(Malformed):
        serve(login(), *responses)


def test_plain_to_an_upstream() -> None:
    assert list(plain_client(Password("alice", "boss", Secret(b"pw")))) == [b"boss\0alice\0pw"]


def test_login_to_an_upstream_has_no_initial_response() -> None:
    assert list(login_client(Password("alice", "", Secret(b"pw")))) == [None, b"alice", b"pw"]


@pytest.mark.parametrize(("server", "client"), [(plain, plain_client), (login, login_client)])
def test_each_role_understands_the_other(
    server: Callable[[], ServerExchange], client: Callable[[Password], object]
) -> None:
    password = Password("bärta", "", Secret("pässwort".encode()))
    responses = [response for response in client(password) if response is not None]  # type: ignore[attr-defined]
    assert serve(server(), *responses)[1] == password
