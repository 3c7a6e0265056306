"""Secrets stay secret, and base64 is strict."""

import contextlib
import copy
import dataclasses
import json
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.sasl.exchange import Malformed, Password, decode, decode_initial, encode
from gatepost.sasl.secret import Secret

TEXT = b"tanzende Baeren 7391"


def test_a_secret_shows_itself_in_no_way_but_one() -> None:
    secret = Secret(TEXT)
    password = Password("alice", "", secret)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{secret!s}", f"{secret!a}", ascii(secret)]
    shown += ["%s %r" % (secret, secret), "{} {!r}".format(secret, secret)]  # noqa: UP031, UP032
    shown += [f"{password}", repr([password]), repr({secret: password})]
    for text in shown:
        assert TEXT.decode() not in text
        assert "***" in text
    assert secret.reveal() == TEXT


def test_a_secret_cannot_be_carried_away() -> None:
    for thing in (Secret(TEXT), Password("alice", "", Secret(TEXT))):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(thing, protocol)
        with pytest.raises(TypeError):
            copy.deepcopy(thing)
        with pytest.raises(TypeError):
            json.dumps(thing)
    with pytest.raises(TypeError):
        copy.copy(Secret(TEXT))
    with pytest.raises(TypeError):
        dataclasses.asdict(Password("alice", "", Secret(TEXT)))
    with pytest.raises(TypeError):
        bytes(Secret(TEXT))  # type: ignore[call-overload]  # that is the point
    with pytest.raises(TypeError):
        vars(Secret(TEXT))
    with pytest.raises(TypeError):
        format(Secret(TEXT), ">20")


def test_a_secret_is_in_no_traceback() -> None:
    """Not in the message, and not in the local variables that some renderers print."""
    with pytest.raises(KeyError) as caught:
        _fail(Secret(TEXT), Password("alice", "", Secret(TEXT)))
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    text = "".join(report.format())
    assert "secret = ***" in text
    assert "alice" in text
    assert TEXT.decode() not in text


def _fail(secret: Secret, password: Password) -> None:
    {Secret(b"other"): password}[secret]


def test_secrets_are_compared_by_what_they_are() -> None:
    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret(b"other")
    assert Secret(TEXT) != TEXT
    assert hash(Secret(TEXT)) == hash(Secret(TEXT))


def test_base64_goes_there_and_back() -> None:
    for data in (b"", b"a", b"\0alice\0pw", bytes(range(256))):
        assert decode(encode(data)) == data
        assert b"\n" not in encode(data)


PADDED_FOR_NOTHING = [b"YWJj=", b"YWJj==", b"YWJj===", b"YWJj===="]  # what binascii calls strict lets these pass


@pytest.mark.parametrize("text", PADDED_FOR_NOTHING)
def test_padding_belongs_to_an_unfinished_group_alone(text: bytes) -> None:
    with pytest.raises(Malformed):
        decode(text)


@pytest.mark.parametrize("text", [b"a", b"ab", b"YQ", b"YQ=", b"Y Q==", b"YQ==\n", b"%%%%", b"YQ==YQ==", b"=", b"\xff"])
def test_what_is_no_base64(text: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        decode(text)
    assert str(caught.value) == "not base64"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.binary(max_size=30))
def test_one_text_for_each_value_and_one_value_for_each_text(text: bytes) -> None:
    """Base64 that may be written in two ways could be judged in two ways, here and by the upstream."""
    assert decode(encode(text)) == text
    with contextlib.suppress(Malformed):
        assert encode(decode(text)) == text


def test_initial_responses() -> None:
    assert decode_initial(None) is None
    assert decode_initial(b"=") == b""
    assert decode_initial(b"YQ==") == b"a"
