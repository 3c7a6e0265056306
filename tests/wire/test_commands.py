"""Commands: what is taken apart, and what is refused unseen."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire import commands
from gatepost.wire.commands import BadCharacters, Envelope, SyntaxFault, Verb, parse, xtext


def envelope(line: bytes) -> Envelope:
    return commands.envelope(parse(line + b"\r\n"))


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb not in (Verb.HTTP, Verb.UNKNOWN)])
def test_every_verb_is_known_in_any_case(verb: Verb) -> None:
    for word in (verb.value, verb.value.lower(), verb.value.title()):
        command = parse(f"{word}  an argument \r\n".encode())
        assert (command.verb, command.argument) == (verb, b"an argument")
        assert parse(f"{word}\r\n".encode()).argument == b""


@pytest.mark.parametrize(
    "line", [b"\r\n", b" EHLO me\r\n", b"EHLOme\r\n", b"MAILFROM:<a@b>\r\n", b"FOO\r\n", b"250 Ok\r\n"]
)
def test_all_else_is_unknown(line: bytes) -> None:
    assert parse(line).verb is Verb.UNKNOWN


@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS", b"CONNECT"])
def test_browsers_are_recognised(method: bytes) -> None:
    assert parse(method + b" / HTTP/1.1\r\n").verb is Verb.HTTP


@pytest.mark.parametrize(
    "line",
    [
        b"NOOP\n",
        b"NOOP",
        b"NO\0OP\r\n",
        b"MAIL FROM:<a@b>\rRCPT TO:<c@d>\r\n",
        b"NOOP \x1b[31m\r\n",
        b"NOOP \x7f\r\n",
        b"NOOP \xff\r\n",
        b"NOOP \xc3\r\n",
        b"NOOP a\nQUIT\r\n",
        b"AUTH PLAIN \xe9\r\n",
        b"AUTH PLAIN \xc3\xa9\r\n",
        b"EHLO \xc3\xa9\r\n",
        b"MAIL FROM:<\xe9@example.net>\r\n",
        b"\r\r\n",
    ],
)
def test_control_characters_and_broken_utf8_are_refused_whatever_the_verb(line: bytes) -> None:
    with pytest.raises(BadCharacters):
        parse(line)


def test_utf8_is_for_the_policy_to_judge() -> None:
    command = parse("MAIL FROM:<ü@example.net> SMTPUTF8\r\n".encode())
    assert command.verb is Verb.MAIL
    assert not command.ascii


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b"MAIL FROM:<>", b"<>"),
        (b"MAIL FROM:<a@b>", b"<a@b>"),
        (b"mail from: <a@b>", b"<a@b>"),
        (b"MAIL FROM:a@b", b"a@b"),
        (b'MAIL FROM:<"a b>"@c>', b'<"a b>"@c>'),
        (rb'MAIL FROM:<"a\">"@c>', rb'<"a\">"@c>'),
        (b"RCPT TO:<@relay,@other:a@b>", b"<@relay,@other:a@b>"),
        (b"RCPT TO:<Postmaster>", b"<Postmaster>"),
    ],
)
def test_paths(line: bytes, path: bytes) -> None:
    assert envelope(line) == Envelope(path, ())


def test_parameters() -> None:
    found = envelope(b"MAIL FROM:<a@b> size=100 BODY=8BITMIME  SMTPUTF8 AUTH=<> ENVID=a+3Db")
    assert found.parameters == (
        (b"SIZE", b"100"),
        (b"BODY", b"8BITMIME"),
        (b"SMTPUTF8", b""),
        (b"AUTH", b"<>"),
        (b"ENVID", b"a+3Db"),
    )


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL",
        b"MAIL <a@b>",
        b"MAIL FROM:",
        b"MAIL FROM <a@b>",
        b"MAIL TO:<a@b>",
        b"RCPT FROM:<a@b>",
        b"MAIL FROM:<a@b",
        b"MAIL FROM:<a@b>SIZE=1",
        b"MAIL FROM:<a@b> =1",
        b"MAIL FROM:<a@b> SIZE=1=2",
        b"MAIL FROM:<a@b> SIZE=",
        b'MAIL FROM:<"a@b>',
        b"MAIL FROM:<<a@b>>",
    ],
)
def test_what_is_no_envelope(line: bytes) -> None:
    with pytest.raises(SyntaxFault):
        envelope(line)


def path_length(text: bytes) -> int | None:
    """How long the path is that begins with the "<" at the front; None: it never ends. Read octet by octet."""
    quoted = escaped = False
    for position in range(1, len(text)):
        octet = text[position : position + 1]
        if escaped:
            escaped = False
        elif octet == b"\\":
            escaped = True
        elif octet == b'"':
            quoted = not quoted
        elif octet == b"<" and not quoted:
            return None
        elif octet == b">" and not quoted:
            return position + 1
    return None


@given(st.lists(st.sampled_from([b"<", b">", b'"', b"\\", b" ", b"\t", b"a", b"@"]), max_size=30).map(b"".join))
def test_a_path_ends_where_a_careful_reader_ends_it(text: bytes) -> None:
    """Whoever finds another end than the upstream checks other parameters than the upstream obeys."""
    text = b"<" + text + b" X=1"
    length = path_length(text)
    try:
        found = envelope(b"MAIL FROM:" + text)
    except SyntaxFault:
        rest = b"nothing" if length is None else text[length:]
        assert rest[:1] not in b" \t" or not all(re.fullmatch(rb"a+|X=1", word) for word in rest.split())
    else:
        assert length is not None
        assert found.path == text[:length]
        assert found.parameters[-1:] == ((b"X", b"1"),)


@pytest.mark.parametrize("octets", [2_000, 200_000])  # what a line may hold, and far more
@pytest.mark.parametrize(
    "hostile",
    [
        b'"',
        b'"\\',
        b'""',
        b"\\",
        b'<"',
        b'a"b',
        b'"a"',
        b'\\"',
        b'"\\"',
        b"a",
        b" ",
        b'"" ',
        b'"\\\\"',
        b"@a,",
        b'"<>"',
    ],
)
def test_hostile_paths_cost_no_more_than_their_length(hostile: bytes, octets: int) -> None:
    """A pattern that tried anything twice would take hours for the longer ones."""
    many = hostile * (octets // len(hostile))
    with pytest.raises(SyntaxFault):
        envelope(b"MAIL FROM:<" + many)
    with pytest.raises(SyntaxFault):
        envelope(b"MAIL FROM:<" + many + b"><")
    for line in (b"MAIL FROM:<> A=" + many + b"=", b"RCPT TO:<> " + many + b"=", b"RCPT TO:" + many + b">"):
        with contextlib.suppress(SyntaxFault):
            envelope(line)


def test_hostile_arguments_of_other_commands() -> None:
    for argument in (b"1" * 200_000, b"1" + b" " * 200_000 + b"x", b"1 LAST" * 50_000):
        with pytest.raises(SyntaxFault):
            commands.chunk(parse(b"BDAT " + argument + b"\r\n"))
    assert commands.hello_name(parse(b"EHLO " + b"a" * 200_000 + b"\r\n")) is None
    assert parse(b"a" * 200_000 + b"\r\n").verb is Verb.UNKNOWN


def test_a_command_does_not_show_what_it_carries() -> None:
    """Tracebacks and logs may show one; it may hold a credential."""
    assert "c2VjcmV0" not in repr(parse(b"AUTH PLAIN c2VjcmV0\r\n"))


@given(st.binary(max_size=80))
def test_any_line_is_a_command_or_bad_characters(text: bytes) -> None:
    try:
        command = parse(text + b"\r\n")
    except BadCharacters:
        return
    for taken_apart in (commands.envelope, commands.chunk, commands.auth):
        with contextlib.suppress(SyntaxFault):
            taken_apart(command)
    assert command.line == text + b"\r\n"


@pytest.mark.parametrize(
    ("argument", "chunk"),
    [
        (b"0", (0, False)),
        (b"86", (86, False)),
        (b"0 LAST", (0, True)),
        (b"5  last", (5, True)),
        (b"007\tLast", (7, True)),
        (b"2147483647", (2**31 - 1, False)),
    ],
)
def test_chunks(argument: bytes, chunk: tuple[int, bool]) -> None:
    assert commands.chunk(parse(b"BDAT " + argument + b"\r\n")) == chunk


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b"x",
        b"-1",
        b"+1",
        b"1.5",
        b"0x10",
        b"1_0",
        b"1 FIRST",
        b"1 LAST 2",
        b"2147483648",
        b"9" * 19,
        b"0" * 11,
        b"LAST",
        b"1LAST",
    ],
)
def test_what_is_no_chunk(argument: bytes) -> None:
    with pytest.raises(SyntaxFault):
        commands.chunk(parse(b"BDAT " + argument + b"\r\n"))


def test_auth() -> None:
    assert commands.auth(parse(b"AUTH plain\r\n")) == (b"PLAIN", None)
    assert commands.auth(parse(b"auth PLAIN =\r\n")) == (b"PLAIN", b"=")
    assert commands.auth(parse(b"AUTH LOGIN dXNlcg==\r\n")) == (b"LOGIN", b"dXNlcg==")
    assert commands.auth(parse(b"AUTH  XOAUTH2   ==\r\n")) == (b"XOAUTH2", b"==")  # base64 is judged elsewhere


@pytest.mark.parametrize("argument", [b"", b"PLAIN a b"])
def test_what_is_no_auth(argument: bytes) -> None:
    with pytest.raises(SyntaxFault):
        commands.auth(parse(b"AUTH " + argument + b"\r\n"))


@pytest.mark.parametrize(
    ("name", "taken"), [(b"me", True), (b"[192.0.2.1]", True), (b"", False), (b"a b", False), (b"x" * 256, False)]
)
def test_hello_names(name: bytes, *, taken: bool) -> None:
    assert (commands.hello_name(parse(b"EHLO " + name + b"\r\n")) is not None) is taken


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (b"bob@example.com", b"bob@example.com"),
        (b"a+b=c d", b"a+2Bb+3Dc+20d"),
        ("bärta".encode(), b"b+C3+A4rta"),
        (b"x\r\nRCPT TO:<y>", b"x+0D+0ARCPT+20TO:<y>"),
        (b"\0\x7f", b"+00+7F"),
        (b"", b""),
    ],
)
def test_xtext(value: bytes, encoded: bytes) -> None:
    assert xtext(value) == encoded
