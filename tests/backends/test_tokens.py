"""JWTs from a real provider: who is believed, how its keys are followed, and what becomes of it in trouble."""

from __future__ import annotations

import hmac
import json
import os
import time
import traceback
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
import trio
import trustme
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from trio.testing import MockClock, wait_all_tasks_blocked

from backends.listening import Told
from backends.provider import KEYS, Answer, Provider, running
from gatepost.backends.asking import NoAnswer
from gatepost.backends.claims import LEEWAY_SECONDS
from gatepost.backends.keys import (
    ASK_SECONDS,
    ASKINGS,
    KEEP_SECONDS,
    MISSING_SECONDS,
    RENEW_SECONDS,
    RETRY_SECONDS,
    TRIED,
)
from gatepost.backends.tokens import TokenCheck, token_check
from gatepost.backends.web import ANSWER_SECONDS
from gatepost.facts import Backend, BackendResult
from gatepost.sasl.questions import Holder
from gatepost.sasl.secret import Secret
from gatepost.settings import TokenSettings

ALICE = "alice@example.com"
AUTHORITY = trustme.CA()
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig", "alg": "RS256"})
EC = ECKey.generate_key("P-256", {"kid": "ec", "use": "sig", "alg": "ES256"})


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running(AUTHORITY) as provider:
        yield provider


def by_url(provider: Provider, **more: Any) -> TokenSettings:  # noqa: ANN401
    return TokenSettings(
        jwks_url=provider.jwks_url, issuer=provider.issuer, audience=provider.audience, ca=provider.ca_file, **more
    )


@asynccontextmanager
async def checking(provider: Provider, told: Told | None = None) -> AsyncIterator[TokenCheck]:
    """With the keys fetched, or tried to."""
    told = told or Told()
    async with token_check(by_url(provider), told.record) as check:
        await told.wait_for(1)
        await wait_all_tasks_blocked()
        yield check


async def user(check: TokenCheck, token: str) -> str | None:
    holder = await check.check(Secret(token.encode()))
    return None if holder is None else holder.user


async def trouble(check: TokenCheck, token: str) -> BackendResult:
    with pytest.raises(NoAnswer) as caught:
        await check.check(Secret(token.encode()))
    assert caught.value.__context__ is None
    assert token not in "".join(traceback.format_exception(caught.value))
    return caught.value.result


# --- who is believed: a second library must say the same -------------------------------------------------------------


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def craft(provider: Provider, header: dict[str, Any], sign: Any) -> str:  # noqa: ANN401
    content = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(provider.claims()).encode())}"
    return f"{content}.{encode(sign(content.encode()))}"


def signed_with_the_public_key(provider: Provider, public: bytes) -> str:
    header = {"alg": "HS256", "kid": EC.kid}
    return craft(provider, header, lambda content: hmac.digest(public, content, "sha256"))


def tampered(token: str) -> str:
    header, claims, signature = token.split(".")
    return ".".join((header, claims, ("B" if signature[0] == "A" else "A") + signature[1:]))


def for_someone_else(provider: Provider) -> str:
    header, _, signature = provider.mint().split(".")
    return ".".join((header, encode(json.dumps(provider.claims("mallory@example.com")).encode()), signature))


def tokens(provider: Provider) -> dict[str, tuple[str, bool]]:
    now = time.time()
    other = ECKey.generate_key("P-256", {"kid": "ec", "alg": "ES256"})
    return {
        "good": (provider.mint(), True),
        "by another key of the set": (provider.mint(key=RSA), True),
        "several audiences": (provider.mint(aud=["web", "gatepost"]), True),
        "begun": (provider.mint(nbf=int(now) - 5), True),
        "just expired": (provider.mint(exp=int(now - LEEWAY_SECONDS + 20)), True),
        "no algorithm": (craft(provider, {"alg": "none", "kid": EC.kid}, lambda _: b""), False),
        "no Algorithm": (craft(provider, {"alg": "nOnE", "kid": EC.kid}, lambda _: b""), False),
        "algorithm without signature": (craft(provider, {"alg": "ES256", "kid": EC.kid}, lambda _: b""), False),
        "a signature of zeros": (craft(provider, {"alg": "ES256", "kid": EC.kid}, lambda _: bytes(64)), False),
        "public key as a secret, PEM": (signed_with_the_public_key(provider, EC.as_pem(private=False)), False),
        "public key as a secret, DER": (signed_with_the_public_key(provider, EC.as_der(private=False)), False),
        "another algorithm than the key's": (provider.mint(key=RSA, header={"alg": "RS256", "kid": EC.kid}), False),
        "wrong audience": (provider.mint(aud="someone"), False),
        "no audience": (provider.mint(aud=None), False),
        "wrong issuer": (provider.mint(iss="https://id.example"), False),
        "no issuer": (provider.mint(iss=None), False),
        "expired": (provider.mint(exp=int(now - LEEWAY_SECONDS - 20)), False),
        "no end": (provider.mint(exp=None), False),
        "not yet": (provider.mint(nbf=int(now + LEEWAY_SECONDS + 20)), False),
        "from the future": (provider.mint(iat=int(now + LEEWAY_SECONDS + 20)), False),
        "bad signature": (tampered(provider.mint()), False),
        "other claims than those signed": (for_someone_else(provider), False),
        "another's key of the same name": (provider.mint(key=other), False),
        "a key that is not known": (provider.mint(header={"kid": "unknown"}), False),
        "two parts": (provider.mint().rpartition(".")[0], False),
        "five parts": (provider.mint() + ".a.b", False),
        "no JSON": ("a.b.c", False),
    }


def second_opinion(provider: Provider, token: str) -> bool:
    """By joserfc, in the words of its own documentation."""
    registry = jwt.JWTClaimsRegistry(
        now=int(time.time()),
        leeway=int(LEEWAY_SECONDS),
        iss={"essential": True, "value": provider.issuer},
        aud={"essential": True, "value": provider.audience},
        exp={"essential": True},
    )
    try:
        decoded = jwt.decode(token, KeySet(provider.keys), ["RS256", "ES256"])
        registry.validate(decoded.claims)
    except (JoseError, ValueError):
        return False
    return True


async def test_two_libraries_agree_on_who_is_believed(provider: Provider) -> None:
    provider.keys = [EC, RSA]
    cases = tokens(provider)
    async with checking(provider) as check:
        ours = {name: await user(check, token) == ALICE for name, (token, _) in cases.items()}
    assert ours == {name: good for name, (_, good) in cases.items()}
    assert ours == {name: second_opinion(provider, token) for name, (token, _) in cases.items()}


async def test_how_long_a_token_stays_valid(provider: Provider) -> None:
    begin = 1_800_000_000
    async with token_check(by_url(provider), Told().record, lambda: begin + 0.5) as check:
        token = provider.mint(iat=begin, exp=begin + 100)
        assert await check.check(Secret(token.encode())) == Holder(ALICE, 99.5)


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        (None, True),
        ("JWT", True),
        ("jwt", True),
        ("at+jwt", True),
        ("application/at+jwt", True),
        ("logout+jwt", False),
        ("dpop+jwt", False),
        ("secevent+jwt", False),
        ("", False),
    ],
)
async def test_a_token_of_another_kind_is_refused(provider: Provider, kind: str | None, *, good: bool) -> None:
    async with checking(provider) as check:
        assert (await user(check, provider.mint(header={"typ": kind})) == ALICE) is good


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": True},
        {"crit": []},
        {"crit": None},
        {"b64": False},
        {"typ": 1},
        {"alg": ["ES256"]},
        {"alg": None},
        {"kid": 1},
        {"kid": ["ec"]},
    ],
    ids=str,
)
async def test_a_header_that_is_not_understood_is_refused(provider: Provider, header: dict[str, Any]) -> None:
    provider.keys = [EC]
    algorithm = pyjwt.get_algorithm_by_name("ES256")
    key = pyjwt.PyJWK(EC.as_dict(private=True)).key
    async with checking(provider) as check:
        good = craft(provider, {"alg": "ES256", "kid": "ec"}, lambda content: algorithm.sign(content, key))
        bad = craft(provider, {"alg": "ES256", "kid": "ec", **header}, lambda content: algorithm.sign(content, key))
        assert await user(check, good) == ALICE
        assert await user(check, bad) is None
    assert provider.asked[KEYS] == 1


async def test_claims_that_are_no_object_are_refused(provider: Provider) -> None:
    provider.keys = [EC]
    key = pyjwt.PyJWK(EC.as_dict(private=True)).key
    async with checking(provider) as check:
        for payload in (b"[]", b'["exp"]', b"text", b"\xff", b"[" * 5_000, b'{"exp":' + b"9" * 5_000 + b"}"):
            token = pyjwt.PyJWS().encode(payload, key, "ES256", {"kid": "ec"})
            assert await user(check, token) is None


async def test_a_token_without_a_key_name_is_verified_by_whichever_key_fits(provider: Provider) -> None:
    old, new, stranger = (ECKey.generate_key("P-256", {"kid": kid, "alg": "ES256"}) for kid in ("old", "new", "other"))
    provider.keys = [old, RSA, new]
    async with checking(provider) as check:
        for key, whose in ((old, ALICE), (new, ALICE), (RSA, ALICE), (stranger, None)):
            assert await user(check, provider.mint(key=key, header={"kid": None})) == whose
        assert await user(check, provider.mint(key=new, header={"kid": None}, exp=None)) is None
    assert provider.asked[KEYS] == 1


async def test_of_many_keys_only_a_few_are_tried_for_a_token_without_a_key_name(provider: Provider) -> None:
    provider.keys = [ECKey.generate_key("P-256", {"kid": str(number), "alg": "ES256"}) for number in range(TRIED + 1)]
    async with checking(provider) as check:
        assert await user(check, provider.mint(key=provider.keys[TRIED - 1], header={"kid": None})) == ALICE
        assert await user(check, provider.mint(key=provider.keys[TRIED], header={"kid": None})) is None
        assert await user(check, provider.mint(key=provider.keys[TRIED])) == ALICE


async def test_a_key_for_encryption_verifies_nothing(provider: Provider) -> None:
    provider.keys = [ECKey.import_key(EC.as_dict(private=True) | {"use": "enc"}), RSA]
    async with checking(provider) as check:
        assert await user(check, provider.mint(key=EC)) is None
        assert await user(check, provider.mint(key=RSA)) == ALICE


async def test_a_token_that_is_too_long_is_not_looked_at(provider: Provider) -> None:
    async with checking(provider) as check:
        assert await user(check, provider.mint(pad="x" * 20_000)) is None
        assert await user(check, provider.mint(pad="x" * 2_000)) == ALICE


# --- following the provider's keys -----------------------------------------------------------------------------------


async def test_a_known_key_is_used_without_asking(provider: Provider, mock_clock: MockClock) -> None:
    told = Told()
    async with checking(provider, told) as check:
        for _ in range(5):
            mock_clock.jump(ASK_SECONDS)
            assert await user(check, provider.mint()) == ALICE
    assert provider.asked[KEYS] == 1
    assert told.results(Backend.KEYS) == [BackendResult.ANSWERED] + 5 * [BackendResult.CACHED]


@pytest.mark.parametrize("seconds", [0, 1, ASK_SECONDS])
async def test_a_rotation_is_followed_within_one_login(
    provider: Provider, mock_clock: MockClock, seconds: float
) -> None:
    async with checking(provider) as check:
        old = provider.mint()
        assert await user(check, old) == ALICE
        mock_clock.jump(seconds)
        provider.rotate()
        assert await user(check, provider.mint()) == ALICE
        assert provider.asked[KEYS] == 2
        assert await user(check, old) is None


async def test_a_rotation_is_followed_although_a_stranger_named_an_unknown_key(provider: Provider) -> None:
    async with checking(provider) as check:
        assert await user(check, provider.mint(header={"kid": "nonsense"})) is None
        provider.rotate()
        assert await user(check, provider.mint()) == ALICE


async def test_unknown_keys_do_not_hammer_the_provider(provider: Provider, mock_clock: MockClock) -> None:
    told, windows = Told(), 3
    async with checking(provider, told) as check:
        mock_clock.jump(ASK_SECONDS)
        for step in range(windows * int(ASK_SECONDS)):
            for number in range(ASKINGS + 1):
                token = provider.mint(header={"kid": f"{step}-{number}"})
                if step % ASK_SECONDS == 0 and number < ASKINGS:
                    assert await user(check, token) is None
                else:
                    assert await trouble(check, token) is BackendResult.BUSY
            mock_clock.jump(1)
    assert provider.asked[KEYS] == 1 + windows * ASKINGS
    assert set(told.results(Backend.KEYS)) == {BackendResult.ANSWERED, BackendResult.BUSY}


async def test_strangers_with_unknown_keys_do_no_harm_to_known_ones(provider: Provider, mock_clock: MockClock) -> None:
    async with checking(provider) as check:
        for number in range(ASKINGS - 1):
            assert await user(check, provider.mint(header={"kid": str(number)})) is None
        provider.rotate()
        assert await trouble(check, provider.mint()) is BackendResult.BUSY  # 454, for the token may be good
        mock_clock.jump(ASK_SECONDS)
        assert await user(check, provider.mint()) == ALICE
        for number in range(2 * ASKINGS):
            with suppress(NoAnswer):
                await user(check, provider.mint(header={"kid": f"again-{number}"}))
        assert await user(check, provider.mint()) == ALICE


async def test_a_device_that_tries_again_leaves_askings_to_others(provider: Provider, mock_clock: MockClock) -> None:
    odd = provider.mint(header={"kid": "of another provider"})
    async with checking(provider) as check:
        for _ in range(100):
            assert await user(check, odd) is None
        assert provider.asked[KEYS] == 2
        provider.rotate()
        assert await user(check, provider.mint()) == ALICE
        mock_clock.jump(max(ASK_SECONDS, MISSING_SECONDS))
        assert await user(check, odd) is None
    assert provider.asked[KEYS] == 4


async def test_a_bad_algorithm_asks_for_no_key(provider: Provider, mock_clock: MockClock) -> None:
    async with checking(provider) as check:
        mock_clock.jump(ASK_SECONDS)
        assert await user(check, craft(provider, {"alg": "none", "kid": "unknown"}, lambda _: b"")) is None
    assert provider.asked[KEYS] == 1


async def test_keys_are_renewed_without_a_login(provider: Provider, mock_clock: MockClock) -> None:
    told = Told()
    async with checking(provider, told) as check:
        withdrawn = provider.mint()
        provider.rotate()
        mock_clock.jump(RENEW_SECONDS)
        await told.wait_for(2)
        assert await user(check, provider.mint()) == ALICE
        assert provider.asked[KEYS] == 2
        assert await user(check, withdrawn) is None


async def test_many_logins_wait_for_one_asking(provider: Provider) -> None:
    gate = provider.hold(KEYS)
    found = []

    async def log_in(check: TokenCheck, name: str) -> None:
        found.append(await user(check, provider.mint(name)))

    async with token_check(by_url(provider), Told().record) as check, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(log_in, check, f"user{number}")
        await trio.to_thread.run_sync(provider.wait_until_asked, KEYS)
        await wait_all_tasks_blocked()
        gate.set()
    assert sorted(filter(None, found)) == sorted(f"user{number}" for number in range(20))
    assert provider.asked[KEYS] == 1


async def test_whoever_gives_up_does_not_take_the_keys_from_the_others(
    provider: Provider, mock_clock: MockClock
) -> None:
    async with checking(provider) as check:
        mock_clock.jump(ASK_SECONDS)
        provider.rotate()
        gate = provider.hold(KEYS)
        first, found = trio.CancelScope(), []

        async def give_up() -> None:
            with first:
                await user(check, provider.mint())

        async def log_in() -> None:
            found.append(await user(check, provider.mint()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            await trio.to_thread.run_sync(provider.wait_until_asked, KEYS, 2)
            nursery.start_soon(log_in)
            await wait_all_tasks_blocked()
            first.cancel()
            await wait_all_tasks_blocked()
            gate.set()
    assert first.cancelled_caught
    assert found == [ALICE]
    assert provider.asked[KEYS] == 2


# --- trouble ---------------------------------------------------------------------------------------------------------


async def test_a_provider_that_is_down_at_first(provider: Provider, mock_clock: MockClock) -> None:
    told, token = Told(), provider.mint()
    provider.die()
    async with checking(provider, told) as check:
        assert await trouble(check, token) is BackendResult.UNREACHABLE
        provider.start(AUTHORITY)
        mock_clock.jump(RETRY_SECONDS)
        assert await user(check, token) == ALICE
        assert await user(check, provider.mint(header={"kid": "unknown"})) is None
    assert told.results(Backend.KEYS)[0] is BackendResult.UNREACHABLE


async def test_a_provider_in_trouble_is_asked_again_soon_without_a_login(
    provider: Provider, mock_clock: MockClock
) -> None:
    provider.lies[KEYS] = Answer.json({}, 503)
    told = Told()
    async with checking(provider, told):
        del provider.lies[KEYS]
        mock_clock.jump(RETRY_SECONDS)
        await told.wait_for(2)
    assert told.results(Backend.KEYS) == [BackendResult.UNREACHABLE, BackendResult.ANSWERED]


async def test_a_dead_provider_is_not_asked_by_each_login(provider: Provider, mock_clock: MockClock) -> None:
    told = Told()
    provider.lies[KEYS] = Answer.json({}, 503)
    async with checking(provider, told) as check:
        for _ in range(20):
            assert await trouble(check, provider.mint()) is BackendResult.UNREACHABLE
    assert provider.asked[KEYS] == 1


@pytest.mark.parametrize("lie", [Answer.json({"keys": []}), Answer(200, b"<html>"), Answer.json({}, 403)])
async def test_the_last_good_keys_stay_while_the_provider_is_in_trouble(
    provider: Provider, mock_clock: MockClock, lie: Answer
) -> None:
    told = Told()
    async with checking(provider, told) as check:
        provider.lies[KEYS] = lie
        mock_clock.jump(RENEW_SECONDS)
        await told.wait_for(2)
        assert await user(check, provider.mint()) == ALICE
        unknown = provider.mint(header={"kid": "perhaps a new one"})
        assert await trouble(check, unknown) in (BackendResult.GARBLED, BackendResult.REFUSED)


async def test_the_last_good_keys_do_not_stay_for_ever(provider: Provider, mock_clock: MockClock) -> None:
    async with checking(provider) as check:
        token = provider.mint(exp=int(time.time()) + 7 * 86_400)
        provider.die()
        mock_clock.jump(KEEP_SECONDS - 1)
        assert await user(check, token) == ALICE
        mock_clock.jump(1)
        assert await trouble(check, token) is BackendResult.UNREACHABLE


async def test_a_slow_provider(provider: Provider, mock_clock: MockClock) -> None:
    told, results = Told(), []
    provider.hold(KEYS)

    async def log_in(check: TokenCheck) -> None:
        results.append(await trouble(check, provider.mint()))

    async with token_check(by_url(provider), told.record) as check, trio.open_nursery() as nursery:
        nursery.start_soon(log_in, check)
        await trio.to_thread.run_sync(provider.wait_until_asked, KEYS)
        await wait_all_tasks_blocked()
        mock_clock.jump(ANSWER_SECONDS)
    assert results == [BackendResult.TIMED_OUT]
    assert [(fact.result, fact.seconds) for fact in told.facts[:1]] == [(BackendResult.TIMED_OUT, ANSWER_SECONDS)]


# --- keys from a file ------------------------------------------------------------------------------------------------


def by_file(provider: Provider, file: Path) -> TokenSettings:
    return TokenSettings(jwks_file=file, issuer=provider.issuer, audience=provider.audience)


async def test_a_file_is_read_again_when_it_has_changed(provider: Provider, tmp_path: Path) -> None:
    file, told = tmp_path / "keys.json", Told()
    file.write_text(json.dumps(provider.key_set()))
    async with token_check(by_file(provider, file), told.record) as check:
        old = provider.mint()
        assert await user(check, old) == ALICE
        assert await user(check, old) == ALICE
        provider.rotate()
        fresh = tmp_path / "fresh.json"
        fresh.write_text(json.dumps(provider.key_set()))
        os.replace(fresh, file)  # noqa: PTH105  as a deployment does
        assert await user(check, old) is None
        assert await user(check, provider.mint()) == ALICE
    answered, cached = BackendResult.ANSWERED, BackendResult.CACHED
    assert told.results(Backend.KEYS) == [answered, cached, answered, cached]
    assert provider.asked == {}


@pytest.mark.parametrize("content", ["", "{}", '{"keys": []}', "[]"])
async def test_the_last_good_keys_stay_while_the_file_is_bad(provider: Provider, tmp_path: Path, content: str) -> None:
    file, told = tmp_path / "keys.json", Told()
    file.write_text(json.dumps(provider.key_set()))
    async with token_check(by_file(provider, file), told.record) as check:
        assert await user(check, provider.mint()) == ALICE
        file.write_text(content)
        assert await user(check, provider.mint()) == ALICE
        file.unlink()
        assert await user(check, provider.mint()) == ALICE
    assert told.results(Backend.KEYS) == [BackendResult.ANSWERED, BackendResult.GARBLED, BackendResult.UNREACHABLE]


async def test_a_file_that_was_never_good_is_no_answer(provider: Provider, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    async with token_check(by_file(provider, file), Told().record) as check:
        assert await trouble(check, provider.mint()) is BackendResult.UNREACHABLE
        file.write_text('{"keys": 1}')
        assert await trouble(check, provider.mint()) is BackendResult.GARBLED
        file.write_text(json.dumps(provider.key_set()))
        assert await user(check, provider.mint()) == ALICE


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        TokenSettings(jwks_url="https://localhost/keys", issuer="https://localhost"),
        TokenSettings(jwks_file=Path("keys.json"), audience="gatepost"),
        TokenSettings(issuer="https://localhost", audience="gatepost"),
    ],
)
async def test_settings_that_would_check_too_little_are_refused(settings: TokenSettings) -> None:
    with pytest.raises(ValueError, match=r"issuer|set"):
        async with token_check(settings, Told().record):
            pytest.fail("it must not begin")
