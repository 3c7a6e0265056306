"""Users files for tests, with hashes that cost next to nothing."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from argon2 import PasswordHasher

from gatepost.backends import userformat
from gatepost.backends.roster import Credentials, Roster, User
from gatepost.facts import BackendAsked, ProcessFact
from gatepost.sasl.questions import Hash, UpstreamLogin
from gatepost.sasl.scram import salted_password, verifier
from gatepost.sasl.secret import Secret

PASSWORD = Secret(b"correct horse battery")
WRONG = Secret(b"correct horse cavalry")
ITERATIONS = 4096
KEY = Secret(bytes(range(32)))
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def argon2(password: Secret = PASSWORD) -> Secret:
    return Secret(CHEAP.hash(password.reveal()).encode())


def scram(*hashes: Hash, password: Secret = PASSWORD, salt: bytes = b"salt of the user") -> Credentials:
    verifiers = {
        hash_: verifier(hash_, salted_password(hash_, password, salt, ITERATIONS), salt, ITERATIONS) for hash_ in hashes
    }
    return Credentials(scram=verifiers)


def everything() -> User:
    """A user of whom all is stored."""
    kept = Credentials(argon2(), scram(Hash.SHA_1, Hash.SHA_256).scram, PASSWORD)
    return User(kept, UpstreamLogin("alice-at-legacy", Secret(b"upstream secret")))


def hashed() -> User:
    return User(Credentials(argon2()))


def write(path: Path, **users: User) -> Path:
    path.write_text(userformat.write(Roster(KEY, users), as_json=path.suffix == ".json"))
    path.chmod(0o600)
    return path


class Notes:
    """What was recorded."""

    def __init__(self) -> None:
        self.facts: list[ProcessFact] = []

    def asked(self) -> list[tuple[str, str]]:
        """Each asking: the backend, and how it answered."""
        return [(fact.backend.value, fact.result.value) for fact in self.facts if isinstance(fact, BackendAsked)]


def forms(secret: Secret) -> list[str]:
    """What a secret looks like to whoever searches for it."""
    octets = secret.reveal()
    return [octets.decode(), b64encode(octets).decode(), octets.hex()]
