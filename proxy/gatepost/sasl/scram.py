"""SCRAM-SHA-1 (RFC 5802) and SCRAM-SHA-256 (RFC 7677): both sides prove that they know the password, and send none.

The server keeps a Verifier, which does not let it log in anywhere. RFC 4954 has no data with success, so the server's
last message is a challenge that the client answers with nothing. There is no channel binding (-PLUS): the standard
library gives only `tls-unique`, which TLS 1.3 does not have (RFC 9266). Section numbers are RFC 5802's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import new, pbkdf2_hmac
from hmac import compare_digest, digest

from gatepost.facts import AuthResult
from gatepost.sasl.exchange import (
    ClientExchange,
    Denied,
    Malformed,
    Password,
    Proven,
    ServerExchange,
    Unproven,
    decode,
    encode,
    read_name,
)
from gatepost.sasl.prepare import prepare_name, prepare_password, saslprep
from gatepost.sasl.questions import DeriveKey, FindVerifier, Hash, Nonce, Verifier, ask
from gatepost.sasl.secret import Secret

MINIMUM_ITERATIONS = 4096  # section 5.1 and RFC 7677 section 4; fewer would make a stolen exchange cheap to guess from
MAXIMUM_ITERATIONS = 1_000_000  # most of a second of one core, for each login that a hostile server answers
MAXIMUM_SALT_BYTES = 256  # real ones have 12 to 64

_ATTRIBUTE = re.compile(rb"([A-Za-z])=([^,\0]+)")
_NONCE = re.compile(rb"[!-+\--~]{1,256}")  # printable, without comma; real ones have 16 to 64 characters
_ITERATIONS = re.compile(rb"[1-9][0-9]{0,6}")
_SASLNAME = re.compile(rb"(?:[^=,\0]|=2C|=3D)+")


# --- keys (section 3) ------------------------------------------------------------------------------------------------


def salted_password(algorithm: Hash, secret: Secret, salt: bytes, iterations: int) -> Secret:
    """SaltedPassword, slow on purpose: not for the event loop. `secret` is prepared (see `prepare_password`)."""
    return Secret(pbkdf2_hmac(algorithm.value, secret.reveal(), salt, iterations))


def verifier(algorithm: Hash, salted: Secret, salt: bytes, iterations: int) -> Verifier:
    """What a server keeps, from a SaltedPassword that was made with this salt and so many iterations."""
    stored_key = _hashed(algorithm, _client_key(algorithm, salted))
    server_key = Secret(_signature(algorithm, salted, b"Server Key"))
    return Verifier(salt, iterations, stored_key, server_key)


def _client_key(algorithm: Hash, salted: Secret) -> Secret:
    return Secret(_signature(algorithm, salted, b"Client Key"))


def _hashed(algorithm: Hash, key: Secret) -> Secret:
    return Secret(new(algorithm.value, key.reveal()).digest())


def _signature(algorithm: Hash, key: Secret, message: bytes) -> bytes:
    return digest(key.reveal(), message, algorithm.value)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


# --- the server ------------------------------------------------------------------------------------------------------


def scram(algorithm: Hash) -> ServerExchange:
    """Nothing here depends on whether the user exists: the question is answered by a verifier for anyone."""
    header, authzid, bare = split_gs2((yield b""))
    name, client_nonce = _client_first(bare)
    user = _prepared(name)
    if authzid and _prepared(authzid) != user:
        return Denied(AuthResult.REJECTED, user)
    nonce = client_nonce + (yield from ask(Nonce()))
    known = yield from ask(FindVerifier(user, algorithm))
    server_first = b"r=%b,s=%b,i=%d" % (nonce, encode(known.salt), known.iterations)
    final = _client_final((yield server_first))
    signed = b",".join((bare, server_first, final.unproven))
    bound = final.binding == encode(header) and final.nonce == nonce
    if not (_proves(algorithm, final.proof, known.stored_key, signed) and bound):
        return Denied(AuthResult.TRANSITION if known.transition else AuthResult.REJECTED, user)
    if (yield b"v=" + encode(_signature(algorithm, known.server_key, signed))):
        raise Malformed("an answer to the last message")
    return Proven(user)


@dataclass(frozen=True, slots=True)
class _ClientFinal:
    """`unproven` is the message without its proof, as both sides sign it."""

    binding: bytes
    nonce: bytes
    proof: bytes
    unproven: bytes


def _client_first(bare: bytes) -> tuple[str, bytes]:
    """The name and the client's nonce."""
    name, nonce = _attributes(bare, b"nr")
    if not _NONCE.fullmatch(nonce):
        raise Malformed("no nonce")
    return decode_saslname(name), nonce


def _client_final(message: bytes) -> _ClientFinal:
    unproven, _, proof = message.rpartition(b",p=")
    binding, nonce = _attributes(unproven, b"cr")
    return _ClientFinal(binding, nonce, decode(proof), unproven)


def _prepared(name: str) -> str:
    """What cannot be prepared is no name (RFC 5802 section 5.1)."""
    try:
        return saslprep(name, stored=False)
    except ValueError:
        raise Malformed("a name that SASLprep refuses") from None


def _proves(algorithm: Hash, proof: bytes, stored_key: Secret, signed: bytes) -> bool:
    """The proof is the client's key, hidden by what only the stored key and these messages give."""
    signature = _signature(algorithm, stored_key, signed)
    if len(proof) != len(signature):
        raise Malformed("a proof of another length")
    shown = Secret(_xor(proof, signature))
    return compare_digest(_hashed(algorithm, shown).reveal(), stored_key.reveal())


# --- the client ------------------------------------------------------------------------------------------------------


def scram_client(password: Password, algorithm: Hash) -> ClientExchange:
    """Raises Malformed when the server asks for too little, for too much, or makes no sense."""
    nonce = yield from ask(Nonce())
    header = gs2_header("" if password.authzid == password.authcid else password.authzid)  # some refuse any authzid
    bare = b"n=%b,r=%b" % (encode_saslname(prepare_name(password.authcid)), nonce)
    server_first = _sent((yield header + bare))
    first = _server_first(server_first, nonce)
    salted = yield from ask(DeriveKey(algorithm, prepare_password(password.secret), first.salt, first.iterations))
    known = verifier(algorithm, salted, first.salt, first.iterations)
    unproven = b"c=%b,r=%b" % (encode(header), first.nonce)
    signed = b",".join((bare, server_first, unproven))
    proof = _xor(_client_key(algorithm, salted).reveal(), _signature(algorithm, known.stored_key, signed))
    server_final = _sent((yield unproven + b",p=" + encode(proof)))
    proven = _is_proven(server_final, _signature(algorithm, known.server_key, signed))
    if (yield b"") is None and not proven:
        raise Unproven("the server refused, and then accepted")


@dataclass(frozen=True, slots=True)
class _ServerFirst:
    nonce: bytes
    salt: bytes
    iterations: int


def _sent(challenge: bytes | None) -> bytes:
    if challenge is None:
        raise Unproven("the server accepted too early")
    return challenge


def _server_first(message: bytes, client_nonce: bytes) -> _ServerFirst:
    nonce, encoded_salt, count = _attributes(message, b"rsi")
    if not _NONCE.fullmatch(nonce) or not nonce.startswith(client_nonce) or nonce == client_nonce:
        raise Malformed("not our nonce and more")
    salt = decode(encoded_salt)
    if len(salt) > MAXIMUM_SALT_BYTES:
        raise Malformed("too much salt")
    iterations = int(count) if _ITERATIONS.fullmatch(count) else 0
    if not MINIMUM_ITERATIONS <= iterations <= MAXIMUM_ITERATIONS:
        raise Malformed("iterations out of bounds")
    return _ServerFirst(nonce, salt, iterations)


def _is_proven(message: bytes, signature: bytes) -> bool:
    """Whether the server shows that it knows the verifier; False when it refuses. Raises Unproven if it fails to.

    A refusal is answered like the rest, and the server then says it in its own protocol (section 5.1, "e").
    """
    if message.startswith(b"e="):
        _attributes(message, b"e")
        return False
    (shown,) = _attributes(message, b"v")
    if not compare_digest(decode(shown), signature):
        raise Unproven("the server's signature is wrong")
    return True


# --- messages (section 7); OAUTHBEARER has the header, too (RFC 7628 section 3.1) -------------------------------------


def gs2_header(authzid: str) -> bytes:
    """Without channel binding, which is not known here ("n")."""
    return b"n,a=%b," % encode_saslname(authzid) if authzid else b"n,,"


def split_gs2(message: bytes) -> tuple[bytes, str, bytes]:
    """The header, the identity to act as in it ("" when there is none), and what follows. Raises Malformed.

    "y", a client that could bind and was offered no -PLUS, is told the truth here; "p" was not offered.
    """
    flag, _, rest = message.partition(b",")
    identity, comma, rest = rest.partition(b",")
    if flag not in (b"n", b"y") or not comma or (identity and not identity.startswith(b"a=")):
        raise Malformed("no GS2 header")
    authzid = decode_saslname(identity.removeprefix(b"a=")) if identity else ""
    return message.removesuffix(rest), authzid, rest


def encode_saslname(name: str) -> bytes:
    return name.replace("=", "=3D").replace(",", "=2C").encode()


def decode_saslname(octets: bytes) -> str:
    """A "=" that stands for itself is an error (section 5.1, "n"). Raises Malformed."""
    if not _SASLNAME.fullmatch(octets):
        raise Malformed("no name")
    return read_name(octets.replace(b"=2C", b",").replace(b"=3D", b"="))


def _attributes(message: bytes, names: bytes) -> list[bytes]:
    """The values of the attributes that a message begins with; what follows them are extensions, to be ignored.

    "m" demands that an extension be understood, so it ends the exchange wherever it stands (section 5.1). Raises
    Malformed.
    """
    found = [_ATTRIBUTE.fullmatch(part) for part in message.split(b",")]
    pairs = [match.groups() for match in found if match]
    given = b"".join(name for name, _ in pairs)
    if len(pairs) < len(found) or not given.startswith(names) or b"m" in given:
        raise Malformed("not the attributes of this message")
    return [value for _, value in pairs[: len(names)]]
