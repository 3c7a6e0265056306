"""Secrets stay secret, and base64 is strict."""

import copy
import pickle
import traceback

import pytest

from gatepost.sasl.exchange import Malformed, Password, Secret, decode, decode_initial, encode

TEXT = b"tanzende Baeren 7391"


def test_a_secret_shows_itself_in_no_way_but_one() -> None:
    secret = Secret(TEXT)
    password = Password("alice", "", secret)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{password}", repr([password])):
        assert TEXT.decode() not in shown
        assert "***" in shown
    assert secret.reveal() == TEXT


def test_a_secret_cannot_be_carried_away() -> None:
    for carry in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            carry(Secret(TEXT))
    with pytest.raises(TypeError):
        bytes(Secret(TEXT))  # type: ignore[call-overload]  # that is the point


def test_a_secret_is_in_no_traceback() -> None:
    with pytest.raises(KeyError) as caught:
        {Secret(b"other"): 1}[Secret(TEXT)]
    assert TEXT.decode() not in "".join(traceback.format_exception(caught.value))


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


def test_initial_responses() -> None:
    assert decode_initial(None) is None
    assert decode_initial(b"=") == b""
    assert decode_initial(b"YQ==") == b"a"
