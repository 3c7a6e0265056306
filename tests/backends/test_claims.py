"""What a token must say, and what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gatepost.backends.claims import LEEWAY_SECONDS, TOKEN_BYTES, USER_CHARACTERS, find_holder, presentable
from gatepost.sasl.questions import Holder
from gatepost.sasl.secret import Secret
from gatepost.settings import TokenSettings

NOW = 1_800_000_000.0
CLAIMS = {"iss": "https://id.example", "aud": "mail", "exp": NOW + 600, "email": "alice@example.com", "sub": "4711"}
SETTINGS = TokenSettings(jwks_file=Path("keys.json"), issuer="https://id.example", audience="mail")
SCOPED = SETTINGS.model_copy(update={"scope": "smtp.send"})


def holder(settings: TokenSettings = SETTINGS, **changes: object) -> Holder | None:
    claims: dict[str, Any] = {**CLAIMS, **changes}
    return find_holder({name: value for name, value in claims.items() if value != "left out"}, settings, NOW)


def test_a_good_token() -> None:
    assert holder() == Holder("alice@example.com", 600.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://id.example/"},
        {"iss": "HTTPS://id.example"},
        {"iss": ["https://id.example"]},
        {"iss": "left out"},
        {"aud": "mail2"},
        {"aud": "Mail"},
        {"aud": ["web", "calendar"]},
        {"aud": []},
        {"aud": {"mail": 1}},
        {"aud": "left out"},
        {"exp": NOW - LEEWAY_SECONDS},
        {"exp": str(NOW + 600)},
        {"exp": True},
        {"exp": None},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"nbf": NOW + LEEWAY_SECONDS + 1},
        {"nbf": None},
        {"nbf": str(NOW)},
        {"iat": NOW + LEEWAY_SECONDS + 1},
        {"iat": float("nan")},
        {"iat": True},
        {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}},
        {"email": "left out"},
        {"email": ""},
        {"email": None},
        {"email": ["alice@example.com"]},
        {"email": "a" * (USER_CHARACTERS + 1)},
        {"email": "alice\0@example.com"},
        {"email": "alice\r\nRSET"},
        {"email": "alice\x7f"},
        {"email": "alice\x85"},
        {"email": "alice\ud800"},
        {"email": "alice\u2028"},
        {"email": "\u202ealice"},
        {"email_verified": False},
        {"email_verified": "false"},
        {"email_verified": "False"},
        {"email_verified": "no"},
        {"email_verified": "True"},
        {"email_verified": ""},
        {"email_verified": None},
        {"email_verified": 0},
        {"email_verified": 1},
        {"email_verified": ["true"]},
    ],
    ids=str,
)
def test_a_token_that_is_not_good_here(changes: dict[str, Any]) -> None:
    assert holder(**changes) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["web", "mail"]},
        {"nbf": NOW + LEEWAY_SECONDS},
        {"iat": NOW + LEEWAY_SECONDS},
        {"nbf": NOW - 1, "iat": NOW - 1},
        {"email_verified": True},
        {"email_verified": "true"},
        {"iat": 0},
    ],
    ids=str,
)
def test_a_token_that_is_good_here(changes: dict[str, Any]) -> None:
    assert holder(**changes) == Holder("alice@example.com", 600.0)


@pytest.mark.parametrize("user", ["a", "ålice", "alice smith", "a" * USER_CHARACTERS])
def test_logins_of_many_kinds(user: str) -> None:
    assert holder(email=user) == Holder(user, 600.0)


def test_another_claim_may_hold_the_login() -> None:
    settings = SETTINGS.model_copy(update={"user_claim": "sub"})
    assert holder(settings, email_verified=False) == Holder("4711", 600.0)


def test_what_the_leeway_let_in_lasts_as_long_as_the_leeway() -> None:
    assert holder(exp=NOW + 1) == Holder("alice@example.com", 1.0)
    assert holder(exp=NOW) == Holder("alice@example.com", LEEWAY_SECONDS)
    assert holder(exp=NOW - LEEWAY_SECONDS + 1) == Holder("alice@example.com", 1.0)


def test_a_token_without_an_end() -> None:
    assert holder(exp="left out") == Holder("alice@example.com", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "openid smtp.send"},
        {"scope": "smtp.send"},
        {"scp": "smtp.send mail.read"},
        {"scp": ["mail.read", "smtp.send"]},
        {"scope": "openid", "scp": ["smtp.send"]},
    ],
    ids=str,
)
def test_the_scope_is_a_word_of_the_tokens(changes: dict[str, Any]) -> None:
    assert holder(SCOPED, **changes) is not None


@pytest.mark.parametrize(
    "changes",
    [{}, {"scope": "smtp.sender"}, {"scope": "SMTP.SEND"}, {"scope": None}, {"scp": [["smtp.send"]]}, {"scp": 1}],
    ids=str,
)
def test_without_the_scope_a_token_is_not_good(changes: dict[str, Any]) -> None:
    assert holder(SCOPED, **changes) is None


def test_introspection_need_not_have_an_issuer_and_an_audience() -> None:
    settings = TokenSettings(introspection_url="https://id.example/introspect")
    assert holder(settings, iss="left out", aud="left out") is not None


@pytest.mark.parametrize(
    ("token", "good"),
    [
        (b"eyJ.eyJ.sig-_", True),
        (b"a+/~._-==", True),
        (b"x" * TOKEN_BYTES, True),
        (b"x" * (TOKEN_BYTES + 1), False),
        (b"", False),
        (b"=", False),
        (b"a=b", False),
        (b"a b", False),
        (b"a\n", False),
        (b"a\x01", False),
        ("tokén".encode(), False),
    ],
)
def test_the_form_of_a_bearer_token(*, token: bytes, good: bool) -> None:
    assert presentable(Secret(token)) is good
