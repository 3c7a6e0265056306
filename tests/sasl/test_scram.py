"""SCRAM, both roles: the RFCs' examples, another implementation, and everything that is not of its form."""

from __future__ import annotations

import hmac
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient, ScramException, ScramMechanism  # type: ignore[import-untyped]

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
)
from gatepost.sasl.prepare import prepare_password
from gatepost.sasl.questions import DeriveKey, FindVerifier, Hash, Nonce, Question, Verifier
from gatepost.sasl.scram import (
    MAXIMUM_ITERATIONS,
    MAXIMUM_SALT_BYTES,
    MINIMUM_ITERATIONS,
    decode_saslname,
    encode_saslname,
    salted_password,
    scram,
    scram_client,
    split_gs2,
    verifier,
)
from gatepost.sasl.secret import Secret

PEER = {Hash.SHA_1: ScramMechanism("SCRAM-SHA-1"), Hash.SHA_256: ScramMechanism("SCRAM-SHA-256")}
HASHES = pytest.mark.parametrize("algorithm", list(Hash))
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


class Answers:
    """What a shell answers, with nonces and users made up beforehand."""

    def __init__(self, *nonces: bytes, salt: bytes = b"0123456789ab", users: dict[str, str] | None = None) -> None:
        self.nonces = list(nonces)
        self.salt = salt
        self.users = users if users is not None else {"user": "pencil"}
        self.transition = False
        self.asked: list[Question[Any]] = []

    def __call__(self, question: Question[Any]) -> object:
        self.asked.append(question)
        if isinstance(question, FindVerifier):
            return self.known(question)
        if isinstance(question, DeriveKey):
            return salted_password(question.hash, question.secret, question.salt, question.iterations)
        assert question == Nonce()
        return self.nonces.pop(0)

    def known(self, question: FindVerifier) -> Verifier:
        kept = prepare_password(Secret(self.users.get(question.user, "made up").encode()))
        salted = salted_password(question.hash, kept, self.salt, MINIMUM_ITERATIONS)
        made = verifier(question.hash, salted, self.salt, MINIMUM_ITERATIONS)
        return Verifier(made.salt, made.iterations, made.stored_key, made.server_key, self.transition)


def step(exchange: ServerExchange | ClientExchange, sent: bytes | None, answers: Answers) -> bytes | None:
    """Send something in, answer whatever is asked, and see what comes out."""
    shown = exchange.send(sent)
    while isinstance(shown, Question):
        shown = exchange.send(answers(shown))
    return shown


def end(exchange: ServerExchange | ClientExchange, sent: bytes | None, answers: Answers) -> object:
    with pytest.raises(StopIteration) as ended:
        step(exchange, sent, answers)
    return ended.value.value


def shown(exchange: ServerExchange | ClientExchange, sent: bytes | None, answers: Answers) -> str:
    octets = step(exchange, sent, answers)
    assert octets is not None
    return octets.decode()


def converse(password: Password, algorithm: Hash, answers: Answers) -> object:
    """Our client with our server. The client uses the first nonce."""
    client, server = scram_client(password, algorithm), scram(algorithm)
    response = step(client, None, answers)
    assert step(server, None, answers) == b""
    try:
        for _ in range(3):
            response = step(client, step(server, response, answers), answers)
    except StopIteration as over:
        if isinstance(over.value, Proven):
            assert end(client, None, answers) is None  # accepted, and content
        return over.value
    raise AssertionError("the server wants more")


# --- the RFCs' examples ----------------------------------------------------------------------------------------------

EXAMPLES = {
    Hash.SHA_1: (  # RFC 5802 section 5
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    Hash.SHA_256: (  # RFC 7677 section 3
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}
CLIENT_NONCE = {Hash.SHA_1: b"fyko+d2lbbFgONRv9qkxdawL", Hash.SHA_256: b"rOprNGfwEbeRWgbNEkqO"}
SERVER_NONCE = {Hash.SHA_1: b"3rfcNHYJY1ZVvWVs7j", Hash.SHA_256: b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"}
SALT = {Hash.SHA_1: decode(b"QSXCR+Q6sek8bf92"), Hash.SHA_256: decode(b"W22ZaJ0SNY7soEsUEjb6gQ==")}
PASSWORD = Password("user", "", Secret(b"pencil"))


def server_of(algorithm: Hash) -> tuple[ServerExchange, Answers]:
    """The examples' server, that waits for the first message."""
    server, answers = scram(algorithm), Answers(SERVER_NONCE[algorithm], salt=SALT[algorithm])
    assert step(server, None, answers) == b""
    return server, answers


def client_of(algorithm: Hash) -> tuple[ClientExchange, Answers]:
    """The examples' client, that has said its first message."""
    client, answers = scram_client(PASSWORD, algorithm), Answers(CLIENT_NONCE[algorithm])
    assert step(client, None, answers) == EXAMPLES[algorithm][0]
    return client, answers


@HASHES
def test_the_server_of_the_rfcs(algorithm: Hash) -> None:
    client_first, server_first, client_final, server_final = EXAMPLES[algorithm]
    server, answers = server_of(algorithm)
    assert step(server, client_first, answers) == server_first
    assert step(server, client_final, answers) == server_final
    assert end(server, b"", answers) == Proven("user")
    assert FindVerifier("user", algorithm) in answers.asked


@HASHES
def test_the_client_of_the_rfcs(algorithm: Hash) -> None:
    _, server_first, client_final, server_final = EXAMPLES[algorithm]
    client, answers = client_of(algorithm)
    assert step(client, server_first, answers) == client_final
    assert DeriveKey(algorithm, PASSWORD.secret, SALT[algorithm], 4096) in answers.asked
    assert step(client, server_final, answers) == b""
    assert end(client, None, answers) is None


# --- another implementation ------------------------------------------------------------------------------------------


@HASHES
@pytest.mark.parametrize(
    ("name", "password"), [("user", "pencil"), ("a,b=c ü", "p\u00adW\u2168 ß,="), ("Ⅸ", "x" * 200)]
)
def test_another_client_logs_in_here(algorithm: Hash, name: str, password: str) -> None:
    answers = Answers(b"0123456789abcdefghijklmn", users={name.replace("Ⅸ", "IX"): password})
    peer = ScramClient([PEER[algorithm].name], name, password)
    server = scram(algorithm)
    step(server, None, answers)
    peer.set_server_first(shown(server, peer.get_client_first().encode(), answers))
    peer.set_server_final(shown(server, peer.get_client_final().encode(), answers))
    assert end(server, b"", answers) == Proven(name.replace("Ⅸ", "IX"))


@HASHES
def test_another_client_with_the_wrong_password_does_not(algorithm: Hash) -> None:
    server, answers = server_of(algorithm)
    peer = ScramClient([PEER[algorithm].name], "user", "pencil2")
    peer.set_server_first(shown(server, peer.get_client_first().encode(), answers))
    assert end(server, peer.get_client_final().encode(), answers) == Denied(AuthResult.REJECTED, "user")


@HASHES
@pytest.mark.parametrize(
    ("name", "password"), [("user", "pencil"), ("a,b=c ü", "p\u00adW\u2168 ß,="), ("Ⅸ", "x" * 200)]
)
def test_our_client_logs_in_elsewhere(algorithm: Hash, name: str, password: str) -> None:
    mechanism = PEER[algorithm]
    known = {name.replace("Ⅸ", "IX"): mechanism.make_auth_info(password)}
    peer = mechanism.make_server(known.get)
    client, answers = scram_client(Password(name, "", Secret(password.encode())), algorithm), Answers(b"clients+nonce")
    peer.set_client_first(shown(client, None, answers))
    peer.set_client_final(shown(client, peer.get_server_first().encode(), answers))
    assert step(client, peer.get_server_final().encode(), answers) == b""
    assert end(client, None, answers) is None


@HASHES
def test_our_client_with_the_wrong_password_does_not(algorithm: Hash) -> None:
    """The other server tells why ("e="), which our client acknowledges; then it would say no."""
    mechanism = PEER[algorithm]
    known = mechanism.make_auth_info("pencil2")
    peer = mechanism.make_server(lambda _: known)
    client, answers = client_of(algorithm)
    peer.set_client_first(EXAMPLES[algorithm][0].decode())
    final = shown(client, peer.get_server_first().encode(), answers)
    with pytest.raises(ScramException):
        peer.set_client_final(final)
    error = peer.get_server_final()
    assert error == "e=invalid-proof"
    assert step(client, error.encode(), answers) == b""
    assert end(client, b"", answers) is None


# --- our client with our server --------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(NAMES, NAMES, st.sampled_from(Hash))
def test_each_role_understands_the_other(name: str, password: str, algorithm: Hash) -> None:
    """Whatever SASLprep makes of them. The server refuses some names, as SCRAM has it."""
    answers = Answers(b"clients", b"servers")
    answers.known = lambda question: Answers(users={question.user: password}).known(question)  # type: ignore[method-assign]
    try:
        assert isinstance(converse(Password(name, "", Secret(password.encode())), algorithm, answers), Proven)
    except Malformed as refused:
        assert str(refused) == "a name that SASLprep refuses"  # noqa: PT017  it need not be raised


def test_a_name_and_a_password_may_be_spelled_in_two_ways() -> None:
    answers = Answers(b"clients", b"servers", users={"é,IX": "Ⅸ"})
    assert converse(Password("e\u0301\uff0cⅨ", "", Secret(b"I\xc2\xadX")), Hash.SHA_256, answers) == Proven("é,IX")


def test_the_client_prepares_the_name_and_then_escapes_it() -> None:
    """A name is a query, so it may have characters that are younger than Unicode 3.2."""
    client = scram_client(Password("\u2168\uff0c🔑", "", Secret(b"x")), Hash.SHA_1)
    assert step(client, None, Answers(b"abc")) == "n,,n=IX=2C🔑,r=abc".encode()


def test_the_server_prepares_the_name() -> None:
    server, answers = server_of(Hash.SHA_1)
    step(server, "n,,n=\u2168\uff0c=3D🔑,r=abc".encode(), answers)
    assert FindVerifier("IX,=🔑", Hash.SHA_1) in answers.asked


def test_a_password_that_saslprep_refuses_is_as_good() -> None:
    answers = Answers(b"clients", b"servers", users={"user": "🔑"})
    assert converse(Password("user", "", Secret("🔑".encode())), Hash.SHA_256, answers) == Proven("user")


def test_a_wrong_password_and_an_unknown_user_look_the_same() -> None:
    seen = []
    for name in ("user", "nobody"):
        answers = Answers(b"clients", b"servers")
        outcome = converse(Password(name, "", Secret(b"pencil2")), Hash.SHA_256, answers)
        assert outcome == Denied(AuthResult.REJECTED, name)
        seen.append([type(question) for question in answers.asked])
    assert seen[0] == seen[1]


def test_a_login_by_password_may_help() -> None:
    answers = Answers(b"clients", b"servers")
    answers.transition = True
    password = Password("user", "", Secret(b"pencil2"))
    assert converse(password, Hash.SHA_256, answers) == Denied(AuthResult.TRANSITION, "user")


@pytest.mark.parametrize("authzid", ["user", "u\u017fer"])
def test_a_client_may_say_that_it_acts_as_itself(authzid: str) -> None:
    """The second is spelled with a long s, which SASLprep makes a short one."""
    answers = Answers(b"clients", b"servers")
    assert converse(Password("user", authzid, Secret(b"pencil")), Hash.SHA_256, answers) == Proven("user")


def test_nobody_acts_as_another() -> None:
    answers = Answers(b"clients", b"servers")
    password = Password("user", "boss", Secret(b"pencil"))
    assert converse(password, Hash.SHA_256, answers) == Denied(AuthResult.REJECTED, "user")


def test_whom_to_act_as_is_said_unless_it_is_the_same() -> None:
    for authzid, header in (("", b"n,,"), ("user", b"n,,"), ("bo,s=s", b"n,a=bo=2Cs=3Ds,")):
        first = step(scram_client(Password("user", authzid, Secret(b"x")), Hash.SHA_1), None, Answers(b"abc"))
        assert first == header + b"n=user,r=abc"


def test_the_client_binds_its_header() -> None:
    client, answers = scram_client(Password("user", "boss", Secret(b"pencil")), Hash.SHA_1), Answers(b"abc")
    step(client, None, answers)
    assert shown(client, b"r=abcd,s=QSXCR+Q6sek8bf92,i=4096", answers).startswith(
        "c=" + encode(b"n,a=boss,").decode() + ",r=abcd,p="
    )


# --- what the server refuses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("nonce", [b"a", b"~!+-", b"a" * 256])
@pytest.mark.parametrize("header", [b"n,,", b"y,,", b"n,a=user,", b"y,a=user,"])
@pytest.mark.parametrize("extension", [b"", b",x=1", b",x=y=z,Y=\xff"])
def test_what_the_server_takes_for_a_first_message(header: bytes, nonce: bytes, extension: bytes) -> None:
    server, answers = server_of(Hash.SHA_1)
    first = step(server, header + b"n=user,r=" + nonce + extension, answers)
    assert first == b"r=" + nonce + b"3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    assert first.endswith(b"i=%d" % MINIMUM_ITERATIONS)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n",
        b"n,,",
        b"n,,n=user",
        b"n,,n=user,",
        b"n,,n=user,r=",
        b"n,,n=,r=abc",
        b"n,,r=abc,n=user",
        b"n,,r=abc",
        b"n,,n=user,x=y,r=abc",
        b"n,,N=user,r=abc",
        b"n,n=user,r=abc",
        b"n=user,r=abc",
        b",,n=user,r=abc",
        b"z,,n=user,r=abc",
        b"N,,n=user,r=abc",
        b"F,n,,n=user,r=abc",
        b"p=tls-unique,,n=user,r=abc",  # no -PLUS is offered
        b"p,,n=user,r=abc",
        b"n,user,n=user,r=abc",
        b"n,a=,n=user,r=abc",
        b"n,A=user,n=user,r=abc",
        b"n,a=us=er,n=user,r=abc",
        b"n,a=\xff,n=user,r=abc",
        b"n,a=\xef\xbf\xbd,n=user,r=abc",  # SASLprep refuses it
        b"n,,m=ext,n=user,r=abc",  # a mandatory extension
        b"n,,n=user,r=abc,m=ext",
        b"n,,n=us=er,r=abc",
        b"n,,n=us=2cer,r=abc",
        b"n,,n=us=3der,r=abc",
        b"n,,n=us=,r=abc",
        b"n,,n=us=2,r=abc",
        b"n,,n=us\0er,r=abc",
        b"n,,n=us\xffer,r=abc",
        b"n,,n=us\x07er,r=abc",  # SASLprep refuses it
        b"n,,n=\xc2\xad,r=abc",  # and would make this empty
        b"n,,n=user,r=a c",
        b"n,,n=user,r=a\x7f",
        b"n,,n=user,r=abc\n",
        b"n,,n=user,r=\xc3\xa4",
        b"n,,n=user,r=" + b"a" * 257,
        b"n,,n=user,r=abc,",
        b"n,,n=user,r=abc,x",
        b"n,,n=user,r=abc,x=",
        b"n,,n=user,r=abc,1=x",
        b"n,,n=user,r=abc,xy=z",
        b"n,,n=user,r=abc,x=\0",
        b"n,,n=" + "é".encode() * 2000 + b",r=abc",
    ],
)
def test_what_is_no_first_message_of_a_client(message: bytes) -> None:
    server, answers = server_of(Hash.SHA_256)
    with pytest.raises(Malformed) as caught:
        step(server, message, answers)
    assert answers.asked == []
    assert "user" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def at_the_final(algorithm: Hash) -> tuple[ServerExchange, Answers]:
    """The examples' server, that waits for the last message."""
    server, answers = server_of(algorithm)
    step(server, EXAMPLES[algorithm][0], answers)
    return server, answers


@HASHES
@pytest.mark.parametrize(
    "change",
    [
        lambda final: b"",
        lambda final: final.partition(b",p=")[0],
        lambda final: final.partition(b",p=")[0] + b",p=",
        lambda final: final[:-1],  # base64
        lambda final: final + b"=",
        lambda final: final + b",x=y",  # the proof ends it
        lambda final: final[:-4],
        lambda final: final.partition(b",p=")[0] + b",p=" + encode(b"short"),
        lambda final: final.partition(b",p=")[0] + b",p=" + encode(b"l" * 64),
        lambda final: final.replace(b"c=biws,", b""),
        lambda final: final.replace(b"c=biws,", b"c=,"),
        lambda final: final.replace(b",r=", b",m=1,r="),
        lambda final: final.replace(b",p=", b",m=1,p="),
        lambda final: final.replace(b"c=biws,r=", b"r=biws,c="),
        lambda final: b"n,," + final,
    ],
)
def test_what_is_no_last_message_of_a_client(algorithm: Hash, change: Callable[[bytes], bytes]) -> None:
    server, answers = at_the_final(algorithm)
    with pytest.raises(Malformed) as caught:
        step(server, change(EXAMPLES[algorithm][2]), answers)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def signed_final(binding: bytes, nonce: bytes, *, extension: bytes = b"") -> bytes:
    """A last message that anyone who knows the password could send, with a good proof for what it says."""
    algorithm, known = Hash.SHA_1, Answers(salt=SALT[Hash.SHA_1]).known(FindVerifier("user", Hash.SHA_1))
    unproven = b"c=" + encode(binding) + b",r=" + nonce + extension
    first, server_first, *_ = EXAMPLES[algorithm]
    signed = b",".join((first.removeprefix(b"n,,"), server_first, unproven))
    salted = salted_password(algorithm, PASSWORD.secret, known.salt, known.iterations)
    client_key = hmac.digest(salted.reveal(), b"Client Key", "sha1")
    signature = hmac.digest(known.stored_key.reveal(), signed, "sha1")
    return unproven + b",p=" + encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True)))


NONCE = CLIENT_NONCE[Hash.SHA_1] + SERVER_NONCE[Hash.SHA_1]


def test_a_last_message_may_have_extensions_that_are_signed() -> None:
    for extension in (b"", b",x=y", b",x=p=q,y=z"):
        server, answers = at_the_final(Hash.SHA_1)
        assert shown(server, signed_final(b"n,,", NONCE, extension=extension), answers).startswith("v=")
        assert end(server, b"", answers) == Proven("user")


@pytest.mark.parametrize(
    ("binding", "nonce"),
    [
        (b"y,,", NONCE),  # another header than that of the first message
        (b"n,,x", NONCE),
        (b"n,a=user,", NONCE),
        (b"p=tls-unique,,x", NONCE),
        (b"n,,", NONCE[:-1]),
        (b"n,,", NONCE + b"a"),
        (b"n,,", CLIENT_NONCE[Hash.SHA_1]),
        (b"n,,", NONCE.swapcase()),
    ],
)
def test_a_good_proof_of_something_else_proves_nothing(binding: bytes, nonce: bytes) -> None:
    server, answers = at_the_final(Hash.SHA_1)
    assert end(server, signed_final(binding, nonce), answers) == Denied(AuthResult.REJECTED, "user")


@HASHES
def test_every_bit_of_the_proof_counts(algorithm: Hash) -> None:
    unproven, _, proof = EXAMPLES[algorithm][2].rpartition(b",p=")
    octets = decode(proof)
    for at in (0, len(octets) // 2, len(octets) - 1):
        for bit in (1, 0x80):
            wrong = octets[:at] + bytes([octets[at] ^ bit]) + octets[at + 1 :]
            server, answers = at_the_final(algorithm)
            denied = end(server, unproven + b",p=" + encode(wrong), answers)
            assert denied == Denied(AuthResult.REJECTED, "user")


def test_the_last_message_is_answered_with_nothing() -> None:
    server, answers = at_the_final(Hash.SHA_1)
    step(server, EXAMPLES[Hash.SHA_1][2], answers)
    with pytest.raises(Malformed):
        step(server, b"x", answers)


# --- what the client refuses -----------------------------------------------------------------------------------------


@HASHES
@pytest.mark.parametrize(
    ("salt", "iterations"), [(b"x", MINIMUM_ITERATIONS), (b"x" * MAXIMUM_SALT_BYTES, MAXIMUM_ITERATIONS)]
)
def test_the_client_asks_for_what_the_server_says(algorithm: Hash, salt: bytes, iterations: int) -> None:
    """And is not held up by extensions."""
    client, _ = client_of(algorithm)
    first = b"r=%bs,s=%b,i=%d,x=y" % (CLIENT_NONCE[algorithm], encode(salt), iterations)
    assert client.send(first) == DeriveKey(algorithm, PASSWORD.secret, salt, iterations)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"r=OURSx",
        b"r=OURSx,s=QSXCR+Q6sek8bf92",
        b"r=OURSx,i=4096,s=QSXCR+Q6sek8bf92",
        b"s=QSXCR+Q6sek8bf92,i=4096,r=OURSx",
        b"m=ext,r=OURSx,s=QSXCR+Q6sek8bf92,i=4096",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=4096,m=ext",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=4096,",
        b"e=other-error",  # there is no place for it yet
        b"r=OURS,s=QSXCR+Q6sek8bf92,i=4096",  # nothing of the server's own
        b"r=xOURS,s=QSXCR+Q6sek8bf92,i=4096",
        b"r=,s=QSXCR+Q6sek8bf92,i=4096",
        b"r=OURS x,s=QSXCR+Q6sek8bf92,i=4096",
        b"r=OURS" + b"x" * 256 + b",s=QSXCR+Q6sek8bf92,i=4096",
        b"r=OURSx,s=,i=4096",
        b"r=OURSx,s=QSXCR+Q6sek8bf9,i=4096",
        b"r=OURSx,s=" + encode(b"x" * (MAXIMUM_SALT_BYTES + 1)) + b",i=4096",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=4095",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=1",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=0",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=-4096",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=+4096",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=04096",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=4096.0",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=4_096",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i= 4096",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=\xd9\xa4096",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=1000001",
        b"r=OURSx,s=QSXCR+Q6sek8bf92,i=" + b"9" * 5000,
    ],
)
def test_what_is_no_first_message_of_a_server(message: bytes) -> None:
    client, answers = client_of(Hash.SHA_256)
    with pytest.raises(Malformed) as caught:
        step(client, message.replace(b"OURS", CLIENT_NONCE[Hash.SHA_256]), answers)
    assert answers.asked == [Nonce()]  # so nothing was computed for it
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def at_the_end(algorithm: Hash) -> tuple[ClientExchange, Answers]:
    """The examples' client, that has sent its proof."""
    client, answers = client_of(algorithm)
    step(client, EXAMPLES[algorithm][1], answers)
    return client, answers


@HASHES
def test_a_server_that_accepts_too_early_is_not_believed(algorithm: Hash) -> None:
    for begin in (client_of, at_the_end):
        client, answers = begin(algorithm)
        with pytest.raises(Unproven):
            step(client, None, answers)


@HASHES
def test_a_server_that_signs_wrong_is_not_believed(algorithm: Hash) -> None:
    signature = decode(EXAMPLES[algorithm][3].removeprefix(b"v="))
    for wrong in (signature[:-1] + bytes([signature[-1] ^ 1]), signature[:-1], signature + b"x", b"x"):
        client, answers = at_the_end(algorithm)
        with pytest.raises(Unproven):
            step(client, b"v=" + encode(wrong), answers)


@HASHES
def test_a_server_that_refuses_and_then_accepts_is_not_believed(algorithm: Hash) -> None:
    client, answers = at_the_end(algorithm)
    assert step(client, b"e=unknown-user,x=y", answers) == b""
    with pytest.raises(Unproven):
        step(client, None, answers)


@pytest.mark.parametrize(
    "message", [b"", b"v", b"v=", b"v=%", b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ", b"x=y", b"e=", b"e=x,m=y", b"x=y,v=cm1G"]
)
def test_what_is_no_last_message_of_a_server(message: bytes) -> None:
    client, answers = at_the_end(Hash.SHA_1)
    with pytest.raises(Malformed):
        step(client, message, answers)


def test_the_last_message_of_a_server_may_have_extensions() -> None:
    client, answers = at_the_end(Hash.SHA_1)
    assert step(client, EXAMPLES[Hash.SHA_1][3] + b",x=y", answers) == b""
    assert end(client, None, answers) is None


def test_a_client_that_is_challenged_again_has_nothing_more_to_say() -> None:
    client, answers = at_the_end(Hash.SHA_1)
    step(client, EXAMPLES[Hash.SHA_1][3], answers)
    assert end(client, b"", answers) is None


# --- parts -----------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60))
def test_names_are_escaped_there_and_back(name: str) -> None:
    escaped = encode_saslname(name)
    assert b"," not in escaped
    assert decode_saslname(escaped) == name
    assert split_gs2(b"n,a=" + escaped + b",n,=") == (b"n,a=" + escaped + b",", name, b"n,=")


def test_what_looks_escaped_is_escaped_again() -> None:
    assert encode_saslname("=2C,=3D") == b"=3D2C=2C=3D3D"
    assert decode_saslname(b"=3D2C") == "=2C"


@HASHES
def test_what_is_kept_of_a_password_shows_nothing(algorithm: Hash) -> None:
    """It is what the other implementation keeps, too."""
    salt, stored_key, server_key, iterations = PEER[algorithm].make_auth_info("pencil", 5000, b"0123456789ab")
    salted = salted_password(algorithm, Secret(b"pencil"), salt, iterations)
    known = verifier(algorithm, salted, salt, iterations)
    assert known == Verifier(salt, 5000, Secret(stored_key), Secret(server_key), transition=False)
    assert repr(salted) == "***"
    assert repr(known).count("***") == 2


@pytest.mark.parametrize("answer", [b"v=cm1G", b"x", None])
def test_no_secret_is_in_what_a_client_raises(answer: bytes | None) -> None:
    """Not in the local variables either, which some renderers print."""
    client, _ = at_the_end(Hash.SHA_1)
    with pytest.raises((Unproven, Malformed)) as caught:
        client.send(answer)
    salted = salted_password(Hash.SHA_1, PASSWORD.secret, SALT[Hash.SHA_1], 4096)
    report = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "server_first" in report
    for secret in (b"pencil", salted.reveal(), hmac.digest(salted.reveal(), b"Client Key", "sha1")):
        assert repr(secret)[2:-1] not in report
