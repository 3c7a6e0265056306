"""Every dialogue, with the octets arriving together, one by one, and in threes."""

from base64 import b64encode

import pytest

from dialogue import PASSWORD, USER, Dialogue, Play, load

DIALOGUES = list(load())
WAYS = {"whole": 1_000_000, "single": 1, "threes": 3}
PLAYS = [
    pytest.param(script, at_once, id=f"{script.title} ({way})")
    for script in DIALOGUES
    for way, at_once in WAYS.items()
    if way == "whole" or script.options.get("together") != "yes"
]


@pytest.mark.parametrize(("script", "at_once"), PLAYS)
def test_dialogue(script: Dialogue, at_once: int) -> None:
    Play(script, at_once).play()


def secrets() -> list[bytes]:
    """The password in every form in which it crosses the wire."""
    plain = f"\0{USER}\0{PASSWORD}".encode()
    return [PASSWORD.encode(), b64encode(PASSWORD.encode()), b64encode(plain)]


@pytest.mark.parametrize("script", DIALOGUES, ids=lambda script: script.title)
def test_the_password_is_in_no_fact_and_in_no_reply(script: Dialogue) -> None:
    play = Play(script, 1_000_000)
    play.play()
    talk = play.machine.talk
    told = repr(play.facts) + repr(talk.summary) + repr(talk) + repr(play.machine)
    for secret in secrets():
        assert secret not in play.to_client
        assert secret.decode() not in told
        assert repr(secret)[2:-1] not in told


def test_there_are_dialogues_with_the_password_in_them() -> None:
    sent = [what for script in DIALOGUES for way, what in script.steps if way == "C>"]
    for secret in secrets()[1:]:
        assert any(secret in what for what in sent)
