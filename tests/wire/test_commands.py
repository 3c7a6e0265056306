"""Commands: what is taken apart, and what is refused unseen."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire import commands
from gatepost.wire.commands import BadCharacters, Envelope, SyntaxFault, Verb, parse


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


@pytest.mark.parametrize(
    "hostile", [b'"' * 2000, b'"\\' * 1000, b'""' * 1000, b"\\" * 2000, b'<"' * 1000, b'a"b' * 600]
)
def test_hostile_paths_cost_no_more_than_their_length(hostile: bytes) -> None:
    """Would take longer than the universe lasts if the pattern backtracked exponentially."""
    with pytest.raises(SyntaxFault):
        envelope(b"MAIL FROM:<" + hostile)


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
    [(b"0", (0, False)), (b"86", (86, False)), (b"0 LAST", (0, True)), (b"5  last", (5, True))],
)
def test_chunks(argument: bytes, chunk: tuple[int, bool]) -> None:
    assert commands.chunk(parse(b"BDAT " + argument + b"\r\n")) == chunk


@pytest.mark.parametrize(
    "argument", [b"", b"x", b"-1", b"1.5", b"0x10", b"1 FIRST", b"1 LAST 2", b"9" * 19, b"LAST", b"1LAST"]
)
def test_what_is_no_chunk(argument: bytes) -> None:
    with pytest.raises(SyntaxFault):
        commands.chunk(parse(b"BDAT " + argument + b"\r\n"))


def test_auth() -> None:
    assert commands.auth(parse(b"AUTH plain\r\n")) == (b"PLAIN", None)
    assert commands.auth(parse(b"auth PLAIN =\r\n")) == (b"PLAIN", b"=")
    assert commands.auth(parse(b"AUTH LOGIN dXNlcg==\r\n")) == (b"LOGIN", b"dXNlcg==")


@pytest.mark.parametrize("argument", [b"", b"PLAIN a b"])
def test_what_is_no_auth(argument: bytes) -> None:
    with pytest.raises(SyntaxFault):
        commands.auth(parse(b"AUTH " + argument + b"\r\n"))


@pytest.mark.parametrize(
    ("name", "taken"), [(b"me", True), (b"[192.0.2.1]", True), (b"", False), (b"a b", False), (b"x" * 256, False)]
)
def test_hello_names(name: bytes, *, taken: bool) -> None:
    assert (commands.hello_name(parse(b"EHLO " + name + b"\r\n")) is not None) is taken
