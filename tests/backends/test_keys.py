"""Key sets: which keys of them are used, and for what."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from gatepost.backends.asking import NoAnswer
from gatepost.backends.keys import KEYS, TRIED, choose, read_keys
from gatepost.facts import BackendResult

ALL = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
RSA = RSAKey.generate_key(2048).as_dict(private=False)
P256 = ECKey.generate_key("P-256").as_dict(private=False)
SHORT_RSA = RSA | {"n": RSA["n"][: len(RSA["n"]) // 2]}


def algorithms(*entries: object) -> list[str]:
    return [key.algorithm for key in read_keys({"keys": list(entries)}, ALL)]


@pytest.mark.parametrize(
    ("entry", "good"),
    [
        (RSA, ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        (RSA | {"alg": "PS256"}, ["PS256"]),
        (P256, ["ES256"]),
        (ECKey.generate_key("P-384").as_dict(private=False), ["ES384"]),
        (ECKey.generate_key("P-521").as_dict(private=False), ["ES512"]),
        (OKPKey.generate_key("Ed25519").as_dict(private=False), ["EdDSA"]),
        (P256 | {"use": "sig", "key_ops": ["verify"]}, ["ES256"]),
    ],
)
def test_a_key_is_used_with_the_algorithms_that_fit_its_type(entry: dict[str, Any], good: list[str]) -> None:
    assert algorithms(entry) == good


@pytest.mark.parametrize(
    "entry",
    [
        P256 | {"use": "enc"},
        P256 | {"key_ops": ["encrypt"]},
        P256 | {"key_ops": "verify"},
        P256 | {"alg": "RS256"},
        P256 | {"alg": "HS256"},
        P256 | {"alg": ["ES256"]},
        P256 | {"crv": "P-384"},
        P256 | {"x": P256["y"][::-1]},
        P256 | {"x": 1},
        P256 | {"kty": ["EC"]},
        P256 | {"kty": None},
        {**RSA, "e": "!"},
        SHORT_RSA,
        OctKey.generate_key(256).as_dict(),
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        {},
        "a text",
        None,
    ],
)
def test_a_key_of_no_use_is_passed_over(entry: object) -> None:
    assert algorithms(entry, RSA | {"alg": "RS256"}) == ["RS256"]


def test_only_algorithms_of_the_settings_are_used() -> None:
    assert [key.algorithm for key in read_keys({"keys": [RSA, P256]}, ("RS256",))] == ["RS256"]


def test_of_a_private_key_only_the_public_part_is_kept() -> None:
    private = ECKey.generate_key("P-256").as_dict(private=True)
    (key,) = read_keys({"keys": [private]}, ALL)
    assert not hasattr(key.key.key, "sign")
    assert str(private["d"]) not in repr(vars(key.key))


@pytest.mark.parametrize(
    "document", [{}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": [SHORT_RSA]}, {"keys": [P256] * (KEYS + 1)}]
)
def test_a_set_without_a_key_of_use_or_with_too_many_is_no_answer(document: dict[str, Any]) -> None:
    with pytest.raises(NoAnswer) as caught:
        read_keys(document, ALL)
    assert caught.value.result is BackendResult.GARBLED


def test_as_many_keys_as_a_set_may_have() -> None:
    assert len(algorithms(*[P256] * KEYS)) == KEYS


def test_a_token_gets_the_key_it_names() -> None:
    keys = read_keys({"keys": [P256 | {"kid": "a"}, P256 | {"kid": "b"}, RSA | {"kid": "a"}]}, ALL)
    assert choose(keys, "a", "ES256") == [keys[0]]
    assert [(key.id, key.algorithm) for key in choose(keys, "a", "RS256")] == [("a", "RS256")]
    assert choose(keys, "b", "RS256") == []
    assert choose(keys, "c", "ES256") == []


def test_a_token_that_names_no_key_gets_a_few_that_fit() -> None:
    keys = read_keys({"keys": [RSA | {"kid": "r"}, *(P256 | {"kid": str(number)} for number in range(KEYS - 1))]}, ALL)
    assert [key.id for key in choose(keys, None, "ES256")] == [str(number) for number in range(TRIED)]
    assert [key.id for key in choose(keys, None, "RS256")] == ["r"]


def test_a_key_that_has_no_name_is_not_found_by_one() -> None:
    keys = read_keys({"keys": [P256]}, ALL)
    assert choose(keys, "a", "ES256") == []
    assert choose(keys, None, "ES256") == keys
