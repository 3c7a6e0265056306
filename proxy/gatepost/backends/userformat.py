"""The text of a users file, TOML or JSON: read with every mistake at once, and written.

    salt_key = "32 octets in base64"

    [users."alice@example.com"]
    argon2 = "$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH"
    scram-sha-1 = "SCRAM-SHA-1$ITERATIONS:SALT$STORED_KEY:SERVER_KEY"
    scram-sha-256 = "SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY"
    password = "only where CRAM-MD5 must be"
    upstream_user = "alice"
    upstream_secret = "..."

Verifiers have the form of RFC 5803, which PostgreSQL uses too. Nothing here quotes a value, for all of them are secret.
"""

from __future__ import annotations

import json
import re
import tomllib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

from gatepost.backends.passwords import Unfit, check_name, check_password
from gatepost.backends.roster import SALT_KEY_BYTES, Credentials, Roster, User
from gatepost.sasl.exchange import Malformed, decode
from gatepost.sasl.questions import Hash, UpstreamLogin, Verifier
from gatepost.sasl.secret import Secret
from gatepost.settings.problems import Problem, UnknownKey, write_key

HEADER = "# Made by `gatepost user`, which keeps every user and no comments.\n"

SALT_KEY_FORM = f"{SALT_KEY_BYTES} random octets in base64, as `openssl rand -base64 {SALT_KEY_BYTES}` prints them"
ARGON2_FORM = (
    "an Argon2id hash, $argon2id$v=19$m=...,t=...,p=...$SALT$HASH, with m at most 1 GiB, m times t at most 4 GiB, "
    "and p at most 16"
)
LINE = "one line of text, without NUL"

_ARGON2 = re.compile(
    r"\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d{0,2}),p=([1-9]\d?)\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})",
    re.ASCII,
)
# A typing error must not take the machine down at a login. Of the time that a hash takes, memory times passes is the
# measure: 4 GiB in all are about five seconds. Each lane is a thread.
_MOST_MEMORY_KIB = 1 << 20
_MOST_WORK_KIB = 4 << 20
_MOST_LANES = 16
_ITERATIONS = range(4096, 1_000_001)  # from what RFC 7677 section 4 asks for to more than a client would do
_SALTS = range(8, 65)
_PLACE = re.compile(r"\bline (\d+),? column (\d+)\b", re.ASCII)


class Unusable(ValueError):
    """A users file cannot be used; `problems` are all the reasons. The message quotes no value of it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


# --- the forms of values ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Form:
    """`read` raises ValueError or Malformed."""

    read: Callable[[str], Any]
    words: str


def _read_argon2(text: str) -> Secret:
    match = _ARGON2.fullmatch(text)
    if match is None:
        raise ValueError
    memory, passes, lanes = int(match[1]), int(match[2]), int(match[3])
    if not 8 * lanes <= memory <= _MOST_MEMORY_KIB:  # RFC 9106 section 3.1
        raise ValueError
    if memory * passes > _MOST_WORK_KIB or lanes > _MOST_LANES:
        raise ValueError
    for part in (match[4], match[5]):
        if b64encode(decode(part.encode() + b"=" * (-len(part) % 4))).rstrip(b"=") != part.encode():
            raise ValueError
    return Secret(text.encode())


def _read_verifier(hash_: Hash, text: str) -> Verifier:
    scheme, information, value = text.split("$")
    iterations, salt = information.split(":")
    stored_key, server_key = (decode(key.encode()) for key in value.split(":"))
    verifier = Verifier(decode(salt.encode()), int(iterations), Secret(stored_key), Secret(server_key))
    good = (
        scheme == _SCHEMES[hash_]
        and verifier.iterations in _ITERATIONS
        and len(verifier.salt) in _SALTS
        and len(stored_key) == len(server_key) == _KEY_BYTES[hash_]
    )
    if not good:
        raise ValueError
    return verifier


def _read_password(text: str) -> Secret:
    secret = check_password(text.encode())
    if secret.reveal() != text.encode():
        raise ValueError
    return secret


def is_line(text: str) -> bool:
    """Whether SASL can carry this name or secret: RFC 4616 section 2 has no NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return bool(text) and not set(text) & set("\0\r\n")


def _read_line(text: str) -> str:
    if not is_line(text):
        raise ValueError
    return text


def _read_secret(text: str) -> Secret:
    return Secret(_read_line(text).encode())


def _read_key(text: str) -> Secret:
    key = decode(text.encode())
    if len(key) != SALT_KEY_BYTES:
        raise ValueError
    return Secret(key)


_SCHEMES = {Hash.SHA_1: "SCRAM-SHA-1", Hash.SHA_256: "SCRAM-SHA-256"}
_KEY_BYTES = {Hash.SHA_1: 20, Hash.SHA_256: 32}
_KEYS = {hash_: scheme.lower() for hash_, scheme in _SCHEMES.items()}
_SALT_KEY = _Form(_read_key, SALT_KEY_FORM)
_FORMS: Mapping[str, _Form] = {
    "argon2": _Form(_read_argon2, ARGON2_FORM),
    **{
        key: _Form(partial(_read_verifier, hash_), f"{_SCHEMES[hash_]}$ITERATIONS:SALT$STORED_KEY:SERVER_KEY")
        for hash_, key in _KEYS.items()
    },
    "password": _Form(_read_password, "a password as SASLprep leaves it (RFC 4013)"),
    "upstream_user": _Form(_read_line, LINE),
    "upstream_secret": _Form(_read_secret, LINE),
}


# --- reading ---------------------------------------------------------------------------------------------------------


def read(text: str, *, as_json: bool) -> Roster:
    """Raises Unusable."""
    reading = _Reading(_parse(text, as_json=as_json))
    if reading.problems:
        raise Unusable(tuple(reading.problems))
    return Roster(reading.salt_key, reading.users)


def _parse(text: str, *, as_json: bool) -> dict[str, Any]:
    """The tables. Raises Unusable, which says where it stopped; the parser's own words may quote what stands there."""
    place, language = "the end", "JSON" if as_json else "TOML"
    try:
        parsed = json.loads(text, object_pairs_hook=_unique) if as_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        found = _PLACE.search(str(error))
        if found:
            place = f"line {found[1]}, column {found[2]}"
    else:
        if isinstance(parsed, dict):
            return parsed
    raise Unusable((Problem(place, f"no {language}", f"{language} in which no key stands twice"),))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON's parser would take the last of two keys that are the same."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


class _Reading:
    """One reading of a file: what is good of it, and what is not."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.problems: list[Problem] = list(_unknown((), tables, ("salt_key", "users")))
        self.salt_key = self._value(("salt_key",), tables.get("salt_key"), _SALT_KEY) or Secret(b"")
        self.users: dict[str, User] = {}
        # Not to be left out: a file that was cut off while somebody wrote it would be a good one without users.
        for name, table in self._table(("users",), tables.get("users")).items():
            self._check_name(name)
            self.users[name] = self._user(name, self._table(("users", name), table))

    def _table(self, place: tuple[str, ...], value: object) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        self.problems.append(Problem(write_key(place), _describe(value), "a table"))
        return {}

    def _value(self, place: tuple[str, ...], value: object, form: _Form) -> Any:  # noqa: ANN401  each form has its own
        try:
            if isinstance(value, str):
                return form.read(value)
        except (ValueError, Malformed):
            pass
        self.problems.append(Problem(write_key(place), _describe(value), form.words))
        return None

    def _check_name(self, name: str) -> None:
        try:
            prepared = check_name(name)
        except Unfit as unfit:
            self.problems.append(Problem(write_key(("users", name)), "a name that cannot be", str(unfit)))
            return
        if prepared != name:
            expected = f"{json.dumps(prepared)}, as SASLprep leaves it"
            self.problems.append(Problem(write_key(("users", name)), "a name that is never looked for", expected))

    def _user(self, name: str, table: Mapping[str, Any]) -> User:
        place = ("users", name)
        self.problems += _unknown(place, table, tuple(_FORMS))
        values = {key: self._value((*place, key), table[key], form) for key, form in _FORMS.items() if key in table}
        if "upstream_user" in table and "upstream_secret" not in table:
            self.problems.append(Problem(write_key((*place, "upstream_secret")), "nothing", "the secret for that name"))
        secret = values.get("upstream_secret")
        scram = {hash_: values[key] for hash_, key in _KEYS.items() if values.get(key)}
        return User(
            Credentials(values.get("argon2"), scram, values.get("password")),
            UpstreamLogin(values.get("upstream_user") or "", secret) if secret else None,
        )


def _describe(value: object) -> str:
    if value is None:
        return "nothing"
    return "a text that is not shown" if isinstance(value, str) else "something other than a text"


def _unknown(place: tuple[str, ...], table: Mapping[str, Any], known: Sequence[str]) -> Iterator[Problem]:
    for key in table:
        if key not in known:
            near = get_close_matches(key.lower(), known, n=1)
            expected = f'did you mean "{near[0]}"?' if near else "the keys here are " + ", ".join(known)
            yield UnknownKey(write_key((*place, key)), "an unknown key", expected)


# --- writing ---------------------------------------------------------------------------------------------------------


def write(roster: Roster, *, as_json: bool) -> str:
    """What `read` reads as this roster."""
    salt_key = b64encode(roster.salt_key.reveal()).decode()
    users = {name: dict(_write_user(user)) for name, user in roster.users.items()}
    if as_json:
        return json.dumps({"salt_key": salt_key, "users": users}, indent=2, ensure_ascii=False) + "\n"
    lines = [HEADER, f"salt_key = {_quote(salt_key)}\n", "" if users else "\n[users]\n"]
    for name, values in users.items():
        lines.append(f"\n[users.{_quote(name)}]\n")
        lines += [f"{key} = {_quote(value)}\n" for key, value in values.items()]
    return "".join(lines)


def stored_forms(user: User) -> list[str]:
    """The keys that the file has for this user."""
    return [key for key, _ in _write_user(user)]


def _write_user(user: User) -> Iterator[tuple[str, str]]:
    kept = user.credentials
    if kept.argon2:
        yield "argon2", kept.argon2.reveal().decode()
    for hash_, verifier in kept.scram.items():
        yield _KEYS[hash_], _write_verifier(hash_, verifier)
    if kept.password:
        yield "password", kept.password.reveal().decode()
    if user.upstream:
        if user.upstream.user:
            yield "upstream_user", user.upstream.user
        yield "upstream_secret", user.upstream.secret.reveal().decode()


def _write_verifier(hash_: Hash, verifier: Verifier) -> str:
    salt, stored_key, server_key = (
        b64encode(octets).decode()
        for octets in (verifier.salt, verifier.stored_key.reveal(), verifier.server_key.reveal())
    )
    return f"{_SCHEMES[hash_]}${verifier.iterations}:{salt}${stored_key}:{server_key}"


def _quote(text: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's, and JSON lets DEL stand, which TOML does not."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
