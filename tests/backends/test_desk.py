"""The desk: who answers which question, and what comes of no answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from gatepost.backends.asking import Meter, NoAnswer
from gatepost.backends.derivation import WAITING, Derivation
from gatepost.backends.desk import Desk, RefreshTokensOf, staffed
from gatepost.facts import Backend, BackendAsked, BackendResult, ProcessFact
from gatepost.sasl.questions import (
    CheckPassword,
    CheckToken,
    DeriveKey,
    FindPassword,
    FindUpstreamLogin,
    FindVerifier,
    Hash,
    Nonce,
    Unavailable,
    UpstreamLogin,
    Verifier,
)
from gatepost.sasl.scram import salted_password
from gatepost.sasl.secret import Secret
from gatepost.settings import Settings, load
from settings_folder import MINIMAL, fill

QUESTION = DeriveKey(Hash.SHA_256, Secret(b"pencil"), b"saltsalt", 5000)


class Notes(list[ProcessFact]):
    def results(self) -> list[BackendResult]:
        return [fact.result for fact in self if isinstance(fact, BackendAsked)]


class Shelf:
    """A store of one user."""

    def __init__(self) -> None:
        self.secret = Secret(b"old")

    async def find_verifier(self, question: FindVerifier) -> Verifier:
        raise NoAnswer(BackendResult.TIMED_OUT)

    async def find_password(self, question: FindPassword) -> Secret:
        return Secret(b"pencil")

    async def check_password(self, question: CheckPassword) -> bool:
        return question == CheckPassword("bob", Secret(b"pencil"))

    async def find_upstream_login(self, question: FindUpstreamLogin) -> UpstreamLogin | None:
        return UpstreamLogin("", self.secret) if question.user == "bob" else None

    async def replace_upstream_secret(self, user: str, secret: Secret) -> None:
        assert user == "bob"
        self.secret = secret


@pytest.fixture
def minimal(tmp_path: Path) -> Settings:
    fill(tmp_path)
    (tmp_path / "gatepost.toml").write_text(MINIMAL)
    return load(tmp_path / "gatepost.toml")


async def test_a_store_answers_for_its_users(minimal: Settings) -> None:
    async with staffed(minimal, Shelf(), Notes().append) as desk:
        assert await desk.answer(FindPassword("bob")) == Secret(b"pencil")
        assert await desk.answer(CheckPassword("bob", Secret(b"pencil"))) is True
        assert await desk.answer(CheckPassword("bob", Secret(b"pen"))) is False
        assert await desk.answer(FindUpstreamLogin("bob")) == UpstreamLogin("", Secret(b"old"))
        assert await desk.answer(FindUpstreamLogin("eve")) is None
        assert isinstance(await desk.answer(FindVerifier("bob", Hash.SHA_1)), Unavailable)


async def test_nonces_are_printable_and_new_each_time(minimal: Settings) -> None:
    async with staffed(minimal, None, Notes().append) as desk:
        nonces = [await desk.answer(Nonce()) for _ in range(100)]
    assert len(set(map(str, nonces))) == 100
    for nonce in nonces:
        assert isinstance(nonce, bytes)
        assert re.fullmatch(rb"[A-Za-z0-9+/]{24}", nonce)


async def test_who_is_not_there_is_a_bug_and_no_refusal(minimal: Settings) -> None:
    async with staffed(minimal, None, Notes().append) as desk:
        with pytest.raises(KeyError):
            await desk.answer(CheckToken(Secret(b"tok")))


async def test_only_no_answer_is_forgiven() -> None:
    async def broken(_question: Nonce) -> bytes:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await Desk({Nonce: broken}).answer(Nonce())


async def test_a_refresh_token_is_the_upstream_secret_of_a_user() -> None:
    shelf = Shelf()
    tokens = RefreshTokensOf(shelf)
    assert await tokens.find("bob") == Secret(b"old")
    await tokens.replace("bob", Secret(b"new"))
    assert await tokens.find("bob") == Secret(b"new")
    assert await tokens.find("eve") is None
    assert await RefreshTokensOf(None).find("bob") is None


# --- meters ----------------------------------------------------------------------------------------------------------


async def test_each_asking_is_told_with_how_it_went(autojump_clock: trio.testing.MockClock) -> None:
    notes = Notes()
    meter = Meter(Backend.KEYS, notes.append)
    with meter.asking():
        await trio.sleep(2)
    with pytest.raises(NoAnswer), meter.asking():
        raise NoAnswer(BackendResult.REFUSED)
    with trio.move_on_after(3), meter.asking():
        await trio.sleep_forever()
    meter.cached()
    assert notes == [
        BackendAsked(Backend.KEYS, BackendResult.ANSWERED, 2.0),
        BackendAsked(Backend.KEYS, BackendResult.REFUSED, 0.0),
        BackendAsked(Backend.KEYS, BackendResult.TIMED_OUT, 3.0),
        BackendAsked(Backend.KEYS, BackendResult.CACHED, 0.0),
    ]


# --- derivation ------------------------------------------------------------------------------------------------------


async def test_a_derived_key_is_remembered() -> None:
    notes = Notes()
    derivation = Derivation(notes.append)
    expected = salted_password(Hash.SHA_256, Secret(b"pencil"), b"saltsalt", 5000)
    assert await derivation.derive(QUESTION) == expected
    assert await derivation.derive(QUESTION) == expected
    assert notes.results() == [BackendResult.ANSWERED, BackendResult.CACHED]


@pytest.mark.parametrize(
    "other",
    [
        DeriveKey(Hash.SHA_1, Secret(b"pencil"), b"saltsalt", 5000),
        DeriveKey(Hash.SHA_256, Secret(b"pen"), b"saltsalt", 5000),
        DeriveKey(Hash.SHA_256, Secret(b"pencil"), b"saltsal", 5000),
        DeriveKey(Hash.SHA_256, Secret(b"pencil"), b"saltsalt", 5001),
        DeriveKey(Hash.SHA_256, Secret(b"tpencil"), b"saltsal", 5000),  # the same octets, parted elsewhere
    ],
)
async def test_another_question_has_another_answer(other: DeriveKey) -> None:
    notes = Notes()
    derivation = Derivation(notes.append)
    first = await derivation.derive(QUESTION)
    assert await derivation.derive(other) != first
    assert notes.results() == [BackendResult.ANSWERED, BackendResult.ANSWERED]


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.backends.derivation.REMEMBERED", 2)
    notes = Notes()
    derivation = Derivation(notes.append)
    questions = [DeriveKey(Hash.SHA_1, Secret(b"%d" % number), b"salt", 1) for number in range(3)]
    for number in (0, 1, 0, 2, 0, 1):  # 1 was longest unused when 2 came
        await derivation.derive(questions[number])
    answered, cached = BackendResult.ANSWERED, BackendResult.CACHED
    assert notes.results() == [answered, answered, cached, answered, cached, answered]


async def test_a_flood_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes()
    derivation = Derivation(notes.append)
    release = trio.Event()

    async def held(*_args: object, limiter: trio.CapacityLimiter, **_more: object) -> Secret:
        async with limiter:
            await release.wait()
        return Secret(b"key")

    monkeypatch.setattr("trio.to_thread.run_sync", held)
    async with trio.open_nursery() as nursery:
        for number in range(2 + WAITING):
            nursery.start_soon(derivation.derive, DeriveKey(Hash.SHA_1, Secret(b"%d" % number), b"salt", 5000))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(NoAnswer):
            await derivation.derive(QUESTION)
        release.set()
    assert notes.results().count(BackendResult.BUSY) == 1
    assert notes.results().count(BackendResult.ANSWERED) == 2 + WAITING


@pytest.mark.parametrize(("iterations", "in_thread"), [(4096, False), (4097, True)])
async def test_only_what_takes_long_is_done_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, iterations: int, *, in_thread: bool
) -> None:
    began: list[object] = []

    async def noted(work: Callable[[DeriveKey], Secret], question: DeriveKey, **_limits: object) -> Secret:
        began.append(question)
        return work(question)

    monkeypatch.setattr("trio.to_thread.run_sync", noted)
    question = DeriveKey(Hash.SHA_1, Secret(b"pencil"), b"salt", iterations)
    derived = await Derivation(Notes().append).derive(question)
    assert derived == salted_password(Hash.SHA_1, Secret(b"pencil"), b"salt", iterations)
    assert began == ([question] if in_thread else [])


def test_nothing_of_a_question_shows() -> None:
    assert "pencil" not in repr(QUESTION)
