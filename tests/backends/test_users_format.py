"""The text of a users file: what is written is read again, and what is wrong is told without quoting it."""

from __future__ import annotations

import json
import tomllib
import traceback
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.backends.passwords import Unfit, check_name, check_password
from gatepost.backends.roster import Credentials, Roster, User
from gatepost.backends.userformat import Unusable, read, stored_forms, write
from gatepost.sasl.questions import Hash, UpstreamLogin, Verifier
from gatepost.sasl.secret import Secret
from users_made import KEY, PASSWORD, everything, hashed, scram

SALT_KEY = b64encode(KEY.reveal()).decode()
HEAD = f'salt_key = "{SALT_KEY}"\n'
ALICE = HEAD + '[users."alice@example.com"]\n'
KEY_FORM = "32 random octets in base64, as `openssl rand -base64 32` prints them"
HUNTER = "hunter2"


def fitting(text: str) -> bool:
    try:
        return check_password(text.encode()).reveal() == text.encode()
    except Unfit:
        return False


def named(text: str) -> bool:
    try:
        return check_name(text) == text
    except Unfit:
        return False


LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1)
VERIFIERS = {
    hash_: st.builds(
        Verifier,
        st.binary(min_size=8, max_size=64),
        st.integers(4096, 1_000_000),
        st.builds(Secret, st.binary(min_size=size, max_size=size)),
        st.builds(Secret, st.binary(min_size=size, max_size=size)),
    )
    for hash_, size in ((Hash.SHA_1, 20), (Hash.SHA_256, 32))
}
CREDENTIALS = st.builds(
    Credentials,
    st.none() | st.just(hashed().credentials.argon2),
    st.fixed_dictionaries({}, optional=VERIFIERS),
    st.none() | LINES.filter(fitting).map(lambda text: Secret(text.encode())),
)
LOGINS = st.builds(UpstreamLogin, st.just("") | LINES, LINES.map(lambda text: Secret(text.encode())))
USERS = st.builds(User, CREDENTIALS, st.none() | LOGINS)
ROSTERS = st.builds(
    Roster,
    st.binary(min_size=32, max_size=32).map(Secret),
    st.dictionaries(st.text(max_size=12).filter(named), USERS, max_size=4),
)


@pytest.mark.parametrize("as_json", [False, True])
@given(roster=ROSTERS)
def test_what_is_written_is_what_is_read(*, roster: Roster, as_json: bool) -> None:
    again = read(write(roster, as_json=as_json), as_json=as_json)
    assert again.salt_key == roster.salt_key
    assert again.users == roster.users
    assert list(again.users) == list(roster.users)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_toml(text: str) -> None:
    roster = Roster(KEY, {text: User(upstream=UpstreamLogin(text or "x", Secret(text.encode())))})
    written = tomllib.loads(write(roster, as_json=False))
    assert written["users"][text] == {"upstream_user": text or "x", "upstream_secret": text}


def test_the_file_is_readable_and_says_who_makes_it() -> None:
    text = write(Roster(KEY, {"alice@example.com": everything()}), as_json=False)
    lines = text.splitlines()
    assert lines[:4] == [
        "# Made by `gatepost user`, which keeps every user and no comments.",
        f'salt_key = "{SALT_KEY}"',
        "",
        '[users."alice@example.com"]',
    ]
    assert [line.partition(" = ")[0] for line in lines[4:]] == stored_forms(everything())
    assert stored_forms(everything()) == [
        "argon2",
        "scram-sha-1",
        "scram-sha-256",
        "password",
        "upstream_user",
        "upstream_secret",
    ]


def test_a_verifier_as_postgresql_writes_it() -> None:
    (known,) = scram(Hash.SHA_256).scram.values()
    salt, stored, server = (
        b64encode(one).decode() for one in (known.salt, known.stored_key.reveal(), known.server_key.reveal())
    )
    text = ALICE + f'scram-sha-256 = "SCRAM-SHA-256$4096:{salt}${stored}:{server}"\n'
    assert read(text, as_json=False).users["alice@example.com"] == User(scram(Hash.SHA_256))


def complaints(text: str, *, as_json: bool = False) -> list[str]:
    with pytest.raises(Unusable) as caught:
        read(text, as_json=as_json)
    assert HUNTER not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    return [str(problem) for problem in caught.value.problems]


def test_every_mistake_is_told_at_once_with_its_place() -> None:
    text = (
        f'salt_kye = "{HUNTER}"\nsalt_key = "{HUNTER}"\n'
        f'[users.alice]\nargon = "{HUNTER}"\npassword = 7\n'
        f'[users.bob]\nupstream_user = "bob"\nupstream_secret = "{HUNTER}\\nx"\n'
        f'[users.carol]\nupstream_user = "carol"\n[users]\ndave = "{HUNTER}"\n'
    )
    assert complaints(text) == [
        'salt_kye: unknown key, did you mean "salt_key"?',
        f"salt_key: found a text that is not shown, expected {KEY_FORM}",
        'users.alice.argon: unknown key, did you mean "argon2"?',
        "users.alice.password: found something other than a text, expected a password as SASLprep leaves it (RFC 4013)",
        "users.bob.upstream_secret: found a text that is not shown, expected one line of text, without NUL",
        "users.carol.upstream_secret: found nothing, expected the secret for that name",
        "users.dave: found a text that is not shown, expected a table",
    ]


def test_the_salt_key_and_the_users_may_not_be_missing() -> None:
    assert complaints("") == [
        f"salt_key: found nothing, expected {KEY_FORM}",
        "users: found nothing, expected a table",
    ]


def test_a_file_that_was_cut_off_before_its_first_user_is_refused() -> None:
    text = write(Roster(KEY, {"alice": everything()}), as_json=False)
    assert complaints(text[: text.index("[users")]) == ["users: found nothing, expected a table"]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_file_without_users_says_so(*, as_json: bool) -> None:
    text = write(Roster(KEY, {}), as_json=as_json)
    assert "users" in text.partition("salt_key")[2]
    assert read(text, as_json=as_json).users == {}


@pytest.mark.parametrize("key", ["", "c2hvcnQ=", SALT_KEY + "=", SALT_KEY[:-4], "A" + SALT_KEY])
def test_a_salt_key_of_another_size_is_refused(key: str) -> None:
    assert complaints(f'salt_key = "{key}"\n[users]\n') == [
        f"salt_key: found a text that is not shown, expected {KEY_FORM}"
    ]


@pytest.mark.parametrize("name", ["", "a\\u0000b", "a\\u0007b", "a\\u007fb", "x" * 256, "\\u0627x"])
def test_names_that_cannot_be(name: str) -> None:
    (found,) = complaints(HEAD + f'[users."{name}"]\n')
    expected = "a name of 1 to 255 characters, none of which SASLprep forbids (RFC 4013)"
    assert found.endswith(f": found a name that cannot be, expected {expected}")


def test_a_name_that_no_login_would_find() -> None:
    assert complaints(HEAD + '[users."\uff21lice"]\n') == [
        'users."\uff21lice": found a name that is never looked for, expected "Alice", as SASLprep leaves it'
    ]


@pytest.mark.parametrize(
    "text",
    [
        f'a = "{HUNTER}\n',
        f"a = {HUNTER}",
        f'["{HUNTER}"]\n["{HUNTER}"]',
        f'users = {{ {HUNTER} = "a", {HUNTER} = "b" }}',
        f'[users.alice]\npassword = "\\q{HUNTER}"',
    ],
)
def test_no_toml_is_told_with_its_place_and_not_quoted(text: str) -> None:
    (found,) = complaints(text)
    assert found.endswith(": found no TOML, expected TOML in which no key stands twice")
    assert found.startswith(("line 1, column ", "line 2, column "))


@pytest.mark.parametrize("text", [f'{{"a": {HUNTER}', f'{{"a": "{HUNTER}", "a": 1}}', f'["{HUNTER}"]', "[" * 100_000])
def test_no_json_is_told_and_not_quoted(text: str) -> None:
    (found,) = complaints(text, as_json=True)
    assert found.endswith(": found no JSON, expected JSON in which no key stands twice")


def test_toml_nested_too_deeply() -> None:
    assert complaints("a = " + "[" * 100_000) == ["the end: found no TOML, expected TOML in which no key stands twice"]


(VERIFIER,) = scram(Hash.SHA_256).scram.values()
GOOD = json.loads(write(Roster(KEY, {"a": everything()}), as_json=True))["users"]["a"]
SALT, STORED, SERVER = (
    b64encode(one).decode() for one in (VERIFIER.salt, VERIFIER.stored_key.reveal(), VERIFIER.server_key.reveal())
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("argon2", ""),
        ("argon2", GOOD["argon2"].replace("argon2id", "argon2i")),
        ("argon2", GOOD["argon2"].replace("v=19", "v=16")),
        ("argon2", GOOD["argon2"].replace("m=8", "m=7")),
        ("argon2", GOOD["argon2"].replace("m=8", "m=1048577")),
        ("argon2", GOOD["argon2"].replace("p=1", "p=2")),
        ("argon2", GOOD["argon2"].replace("t=1", "t=0")),
        ("argon2", GOOD["argon2"].replace("m=8,t=1", "m=1048576,t=5")),
        ("argon2", GOOD["argon2"].replace("m=8,t=1", "m=65536,t=65")),
        ("argon2", GOOD["argon2"].replace("m=8,t=1,p=1", "m=1024,t=1,p=17")),
        ("argon2", GOOD["argon2"][:-1] + "\u00e4"),
        ("argon2", GOOD["argon2"] + "="),
        ("argon2", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$" + "A" * 23 + "$"),
        ("argon2", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHR$" + "A" * 43),  # bits behind the last octet
        ("scram-sha-256", f"SCRAM-SHA-1$4096:{SALT}${STORED}:{SERVER}"),
        ("scram-sha-1", f"SCRAM-SHA-1$4096:{SALT}${STORED}:{SERVER}"),  # keys of 32 octets
        ("scram-sha-256", f"SCRAM-SHA-256$4095:{SALT}${STORED}:{SERVER}"),
        ("scram-sha-256", f"SCRAM-SHA-256$1000001:{SALT}${STORED}:{SERVER}"),
        ("scram-sha-256", f"SCRAM-SHA-256$4096:c2FsdA==${STORED}:{SERVER}"),
        ("scram-sha-256", f"SCRAM-SHA-256$4096:{SALT}${STORED}"),
        ("scram-sha-256", f"SCRAM-SHA-256$4096:{SALT}${STORED}:{SERVER[:-1]}"),
        ("scram-sha-256", f"SCRAM-SHA-256$4096:{SALT}${STORED}:{SERVER}$"),
        ("scram-sha-256", f"SCRAM-SHA-256$many:{SALT}${STORED}:{SERVER}"),
        ("password", ""),
        ("password", "a\0b"),
        ("password", "\uff21lice"),
        ("upstream_secret", "a\0b"),
        ("upstream_secret", ["x"]),
        ("upstream_secret", None),
        ("upstream_secret", "\ud800"),
    ],
)
def test_a_bad_value_is_refused_and_not_shown(key: str, value: Any) -> None:  # noqa: ANN401
    text = json.dumps({"salt_key": SALT_KEY, "users": {"alice": {key: value}}})
    with pytest.raises(Unusable) as caught:
        read(text, as_json=True)
    (problem,) = caught.value.problems
    assert problem.key == f"users.alice.{key}"
    shown = "".join(traceback.format_exception(caught.value))
    assert not (isinstance(value, str) and value and value in shown)


@pytest.mark.parametrize("parameters", ["m=1048576,t=4,p=1", "m=65536,t=64,p=16", "m=8,t=999,p=1"])
def test_argon2_up_to_what_a_login_may_cost(parameters: str) -> None:
    phc = GOOD["argon2"].replace("m=8,t=1,p=1", parameters)
    text = json.dumps({"salt_key": SALT_KEY, "users": {"alice": {"argon2": phc}}})
    assert read(text, as_json=True).users["alice"].credentials.argon2 == Secret(phc.encode())


def test_the_good_values_are_good() -> None:
    text = json.dumps({"salt_key": SALT_KEY, "users": {"alice": GOOD}})
    assert read(text, as_json=True).users["alice"].credentials.password == PASSWORD


def test_nothing_that_is_read_prints_a_secret() -> None:
    roster = Roster(KEY, {"alice": everything()})
    shown = repr(roster.users) + repr(roster) + repr(roster.salt_key)
    assert "correct horse" not in shown
    assert "argon2id" not in shown
    assert "upstream secret" not in shown
