"""Passwords hashed and checked: Argon2id (RFC 9106) for what is handed over, SCRAM's verifiers (RFC 5802) for the rest.

Everything here takes long. It is called in a thread, or by a command.
"""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from hmac import compare_digest
from secrets import token_bytes

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, VerifyMismatchError

from gatepost.backends.asking import NoAnswer
from gatepost.backends.roster import Credentials, Roster
from gatepost.facts import BackendResult
from gatepost.sasl.prepare import prepare_password, saslprep
from gatepost.sasl.questions import Hash, Verifier
from gatepost.sasl.scram import salted_password, verifier
from gatepost.sasl.secret import Secret

LONGEST_NAME = 255

_HASHER = PasswordHasher()  # RFC 9106's second recommendation: 64 MiB, three passes
_NO_SALT = b64encode(bytes(16)).rstrip(b"=").decode()
_NO_HASH = b64encode(bytes(32)).rstrip(b"=").decode()


class Unfit(ValueError):
    """No name, or no password, that can be stored. The message says what would be, and quotes nothing."""


def check_name(name: str) -> str:
    """A name as it is stored (RFC 4013). Raises Unfit."""
    prepared = ""
    with suppress(ValueError):
        prepared = saslprep(name, stored=True)
    if not 1 <= len(prepared) <= LONGEST_NAME:
        raise Unfit(f"a name of 1 to {LONGEST_NAME} characters, none of which SASLprep forbids (RFC 4013)")
    return prepared


def check_password(octets: bytes) -> Secret:
    """A password as it is stored. Raises Unfit for what no client can send (RFC 4616 section 2)."""
    text = ""
    with suppress(UnicodeDecodeError):
        text = octets.decode()
    if not text or "\0" in text:
        raise Unfit("a password in UTF-8, not empty, without NUL")
    return prepare_password(Secret(octets))


def make_credentials(roster: Roster, name: str, secret: Secret, *, keep: bool) -> Credentials:
    """Everything that is kept of a prepared password; with `keep`, the password itself as well."""
    return Credentials(
        argon2=Secret(_HASHER.hash(secret.reveal()).encode()),
        scram={hash_: make_verifier(roster, name, secret, hash_) for hash_ in Hash},
        password=secret if keep else None,
    )


def make_verifier(roster: Roster, name: str, secret: Secret, hash_: Hash) -> Verifier:
    """A prepared password's verifier, with the salt and the iterations that were shown while there was none."""
    salt, iterations = roster.salt(name, hash_), roster.manners[hash_].iterations
    return verifier(hash_, salted_password(hash_, secret, salt, iterations), salt, iterations)


def fits(credentials: Credentials, roster: Roster, secret: Secret) -> bool:
    """Whether this prepared password is the one. Raises NoAnswer.

    Each check does the same work, whatever is kept of the password, and for unknown users as well, whose credentials
    are empty: it takes as long, so time does not tell who is known.
    """
    hash_ = next((one for one in (Hash.SHA_256, Hash.SHA_1) if one in credentials.scram), Hash.SHA_256)
    by_argon2 = _fits_argon2(credentials.argon2 or _made_up_argon2(roster), secret)
    by_scram = _fits_verifier(credentials.scram.get(hash_) or roster.made_up("", hash_), secret, hash_)
    itself = compare_digest((credentials.password or Secret(token_bytes(32))).reveal(), secret.reveal())
    if credentials.argon2:
        return by_argon2
    if credentials.scram:
        return by_scram
    return itself


def _fits_argon2(phc: Secret, secret: Secret) -> bool:
    try:
        return _HASHER.verify(phc.reveal(), secret.reveal())
    except VerifyMismatchError:
        return False
    except Argon2Error:  # the form was checked when the file was read: there is no memory or no thread to be had
        raise NoAnswer(BackendResult.BUSY) from None


def _made_up_argon2(roster: Roster) -> Secret:
    """What no password fits, with the parameters that most users of the file have."""
    own = f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    return Secret(f"{roster.argon2_parameters or own}${_NO_SALT}${_NO_HASH}".encode())


def _fits_verifier(known: Verifier, secret: Secret, hash_: Hash) -> bool:
    salted = salted_password(hash_, secret, known.salt, known.iterations)
    derived = verifier(hash_, salted, known.salt, known.iterations)
    return compare_digest(derived.stored_key.reveal(), known.stored_key.reveal())
