"""A mistake in one key: what is said to be found there, and what to be expected."""

import pytest

from gatepost.settings import (
    SettingsError,
    UnknownKey,
)
from settings_folder import MINIMAL, PIN, Folder, changed, upstream

SECRET = 'client_secret_file = "secret"'


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"starttls"', '"foo"', 'listeners[0].tls: found "foo", expected "starttls" or "implicit"'),
        ('"starttls"', "true", 'listeners[0].tls: found the boolean true, expected "starttls" or "implicit"'),
        ('tls = "starttls"', "", 'listeners[0].tls: found nothing, expected "starttls" or "implicit"'),
        ('tls = "never"', 'tls = "never"\ntrusted = "yes"', 'trusted: found the text "yes", expected true or false'),
        ('tls = "never"', 'tls = "never"\ntrusted = 1', "trusted: found the whole number 1, expected true or false"),
        ('["127.0.0.1:5587"]', '"127.0.0.1:5587"', 'bind: found the text "127.0.0.1:5587", expected a list of one or'),
        ('["127.0.0.1:5587"]', "[]", "listeners[0].bind: found an empty list, expected a list of one or more, each"),
        ('"127.0.0.1:5587"', '"::1:25"', 'bind[0]: found "::1:25", expected IPv6 in brackets, then a port, like'),
        ('"127.0.0.1:5587"', '"[::1]"', 'found "[::1]", expected IPv6 in brackets, then a port'),
        ('"127.0.0.1:5587"', '"[1.2.3.4]:25"', 'found "[1.2.3.4]:25", expected an IPv6 address in the brackets'),
        ('"127.0.0.1:5587"', '"*:25"', 'found "*:25", expected "host:port" or "[IPv6]:port"'),
        ('"127.0.0.1:5587"', '":25"', 'found ":25", expected "host:port" or "[IPv6]:port"'),
        ('"127.0.0.1:5587"', '"mx"', 'found "mx", expected "host:port" or "[IPv6]:port"; the port is missing'),
        ('"127.0.0.1:5587"', '"1.2.3:25"', 'found "1.2.3:25", expected a whole IPv4 address'),
        ('"127.0.0.1:5587"', '"mx:65536"', 'found "mx:65536", expected "host:port" or "[IPv6]:port", with a port'),
        ('"127.0.0.1:5587"', '"mx:²"', 'found "mx:²", expected'),
        ('"127.0.0.1:5587"', "25", "found the whole number 25, expected"),
        ("127.0.0.1:2525", "127.0.0.1:0", 'upstream.address: found "127.0.0.1:0", expected'),
        ('"submission"', '"Submission"', 'name: found "Submission", expected a lower-case letter'),
        ('"submission"', '"sub\\nmission"', 'name: found "sub\\nmission", expected'),
        ("[observe]", "[smtp]\nhostname = 'a b'\n[observe]", 'smtp.hostname: found "a b", expected a host name'),
        ("[observe]", "[limits]\nerrors = 0\n[observe]", "errors: found 0, expected a whole number from 1 to 1000"),
        ("[observe]", '[limits]\nerrors = "9"\n[observe]', 'errors: found the text "9", expected a whole number'),
        ("[observe]", "[limits]\nerrors = 9.0\n[observe]", "errors: found the number 9.0, expected a whole number"),
        ("[observe]", "[limits]\nerrors = true\n[observe]", "errors: found the boolean true, expected a whole number"),
        ("[observe]", "[limits]\nerrors = 2020-01-01\n[observe]", "errors: found a date, expected a whole number"),
        ("[observe]", f"[limits]\nerrors = 0x1{'0' * 9999}\n[observe]", "errors: found a whole number of more than 64"),
        ("[observe]", "[limits]\nuncounted = [5]\n[observe]", "uncounted[0]: found the whole number 5, expected a net"),
        ("[observe]", '[limits]\nuncounted = ["10.0.0.1/8"]\n[observe]', 'uncounted[0]: found "10.0.0.1/8", expected'),
        ("[observe]", "[timeouts]\ndrain = inf\n[observe]", "drain: found inf, expected a number of at least 0"),
        ("[observe]", "[timeouts]\ndrain = nan\n[observe]", "drain: found nan, expected a number of at least 0"),
        ('[observe]\nbind = "127.0.0.1:9587"', "observe = 1", "unknown key"),
        ("[tls]\n", "[tls]\nclient_ca = {}\n", "tls.client_ca: found a table, expected the path of a PEM file"),
        ("[observe]", "users = 1\n[observe]", "listeners[1].users: unknown key"),
        ("[observe]", "[userz]\n[observe]", 'userz: unknown key, did you mean "users"?'),
        ("[observe]", "[[policies]]\n[observe]", 'policies[0].minimum: found nothing, expected "PLAIN", "LOGIN",'),
        (
            "[observe]",
            '[[policies]]\nminimum = "XCLIENT"\n[observe]',
            'found "XCLIENT", expected "PLAIN", "LOGIN", "CRAM-',
        ),
        ("[observe]", "[[policies]]\nminimum = 1\n[observe]", 'minimum: found the whole number 1, expected "PLAIN"'),
        (
            'tls = "never"',
            'tls = "never"\nrelay = ["PLAIN"]',
            'upstream.relay[0]: found "PLAIN", expected "CRAM-MD5", ',
        ),
        (
            'tls = "never"',
            'tls = "never"\nmechanisms = []',
            "upstream.mechanisms: found an empty list, expected a list of",
        ),
        ('tls = "never"', 'tls = "never"\nmechanisms = ["X"]', 'upstream.mechanisms[0]: found "X", expected "PLAIN", '),
        (
            'tls = "never"',
            'tls = "never"\nlogin_template = "x"',
            'found "x", expected a text with "{login}", "{local}"',
        ),
        ('tls = "never"', 'tls = "never"\nlogin_template = "{}"', 'found "{}", expected a text with'),
        (
            'tls = "never"',
            'tls = "never"\nlogins = [{client = "a"}]',
            "upstream.logins[0].upstream: found nothing, expected",
        ),
        (
            'tls = "never"',
            'tls = "never"\nlogins = 1',
            "upstream.logins: found the whole number 1, expected a list of tab",
        ),
    ],
)
def test_a_mistake_in_one_key_is_one_problem(folder: Folder, old: str, new: str, complaint: str) -> None:
    (found,) = folder.complaints(changed(old, new))
    assert complaint in found


@pytest.mark.parametrize("pin", ["sha1/AAAA", "sha256/AAAA", PIN[:-1], PIN + "=", PIN[:20] + "!" + PIN[21:], ""])
def test_a_pin_is_a_whole_sha256(folder: Folder, pin: str) -> None:
    (found,) = folder.complaints(upstream('address = "mx:25"', 'tls = "starttls"', f'pins = ["{pin}"]'))
    assert found == f'upstream.pins[0]: found "{pin}", expected "sha256/" and 44 characters of base64'


def test_an_unknown_key_is_answered_with_the_nearest_one(folder: Folder) -> None:
    text = upstream('address = "127.0.0.1:2525"', 'adress = "127.0.0.1:1"', 'tls = "never"')
    assert folder.complaints(text) == ['upstream.adress: unknown key, did you mean "address"?']


def test_an_unknown_key_near_to_nothing_is_answered_with_all_of_them(folder: Folder) -> None:
    assert folder.complaints(MINIMAL + "qqq = 1\n") == ["observe.qqq: unknown key, the keys here are bind, networks"]


def test_an_unknown_key_in_a_list_and_one_that_needs_quotes(folder: Folder) -> None:
    text = changed('name = "submission"', 'name = "submission"\n"au.th" = "off"')
    assert folder.complaints(text) == ['listeners[0]."au.th": unknown key, did you mean "auth"?']


def test_an_unknown_key_is_its_own_kind_of_problem(folder: Folder) -> None:
    with pytest.raises(SettingsError) as caught:
        folder.load(MINIMAL + "bnd = 1\n")
    assert [type(problem) for problem in caught.value.problems] == [UnknownKey]


def test_an_empty_file_lacks_every_required_table(folder: Folder) -> None:
    assert folder.complaints("") == [
        "upstream: found nothing, expected a table",
        "tls: found nothing, expected a table",
        "listeners: found nothing, expected a list of one or more tables",
    ]


def with_tables(*lines: str) -> str:
    return "\n".join((upstream('address = "127.0.0.1:25"', 'tls = "never"', 'represent = "xclient"'), *lines))


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.org/keys",
        "HTTPS://id.example.org/keys",
        "https://",
        "https:///keys",
        "https://id.example.org:0/keys",
        "https://id.example.org:/keys",
        "https://id.example.org:65536/keys",
        "https://[::1/keys",
        "https://::1/keys",
        "https://id.example.org/a b",
        "https://id.example.org/keys#first",
        "https://id.example.org/keys\\u0000",
        "https://\u00e9.example.org/keys",
        "id.example.org",
        "https://id.example.org/" + "a" * 1978,
        "",
    ],
)
def test_a_url_begins_with_https_and_a_host(folder: Folder, url: str) -> None:
    (found,) = folder.complaints(
        with_tables("[tokens]", f'introspection_url = "{url}"', 'client_id = "gatepost"', 'audience = "mail"', SECRET)
    )
    assert found.startswith("tokens.introspection_url: found ")
    form = 'a URL of at most 2000 characters that begins with "https://" and a host, without a user name or a password'
    assert found.endswith(f", expected {form}")


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example.org",
        "https://id.example.org:8443/a/b?c=d",
        "https://id.example.org?c=d@e",
        "https://[2001:db8::1]:8443/",
        "https://[::1]/",
        "https://192.0.2.1",
        "https://id.example.org/" + "a" * 1977,
    ],
)
def test_a_url_may_have_a_port_a_path_and_a_query(folder: Folder, url: str) -> None:
    found = folder.load(
        with_tables("[tokens]", f'introspection_url = "{url}"', 'client_id = "gatepost"', 'audience = "mail"', SECRET)
    )
    assert found.tokens is not None
    assert found.tokens.introspection_url == url


@pytest.mark.parametrize("user", ["gatepost:hunter2@", "hunter2@"])
def test_a_url_holds_no_user_name_and_no_password_and_neither_is_shown(folder: Folder, user: str) -> None:
    url = f"https://{user}id.example.org/keys"
    (found,) = folder.complaints(
        with_tables("[tokens]", f'introspection_url = "{url}"', 'client_id = "gatepost"', 'audience = "mail"', SECRET)
    )
    assert found.startswith("tokens.introspection_url: found a text that is not shown")
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "users.file: found nothing, expected the path of a file"),
        ("file = 1", "users.file: found the whole number 1, expected the path of a file"),
        ('file = "users.toml"\nlern = true', 'users.lern: unknown key, did you mean "learn"?'),
        ('file = "users.toml"\nlearn = 1', "users.learn: found the whole number 1, expected true or false"),
        (
            'file = "users.toml"\nverify_passwords = true\nverifications = 0',
            "users.verifications: found 0, expected a whole number from 1 to 64",
        ),
    ],
)
def test_a_mistake_in_a_table_that_may_be_left_out(folder: Folder, line: str, complaint: str) -> None:
    (found,) = folder.complaints(with_tables("[users]", line))
    assert found.startswith(complaint)


@pytest.mark.parametrize("key", ["introspection_url", "jwks_url"])
@pytest.mark.parametrize(
    "url", ["https://id.example.org/i?key=hunter2 ", "id.example.org?key=hunter2", "x?hunter2@y:z"]
)
def test_what_stands_behind_the_path_of_a_url_is_not_shown(folder: Folder, key: str, url: str) -> None:
    text = with_tables("[tokens]", f'{key} = "{url}"', 'client_id = "gatepost"', 'audience = "mail"', SECRET)
    (found,) = [one for one in folder.complaints(text) if one.startswith(f"tokens.{key}: ")]
    assert found.startswith(f'tokens.{key}: found "{url.partition("?")[0]}?...", expected a URL')
    assert "hunter2" not in found


@pytest.mark.parametrize("value", ["123456", "12.5"])
def test_a_number_where_the_path_of_a_secret_belongs_is_not_shown(folder: Folder, value: str) -> None:
    text = with_tables("[tokens]", 'introspection_url = "https://id.example.org"', 'client_id = "gatepost"')
    (found,) = folder.complaints(f'{text}\naudience = "mail"\nclient_secret_file = {value}')
    assert found == (
        "tokens.client_secret_file: found a value that is not shown, for it may be a secret, "
        "expected the path of a file"
    )


@pytest.mark.parametrize("scope", ["openid smtp", " ", "a\\tb", 'a\\"b', "a\\\\b", "\u00e9", "x" * 256])
def test_the_scope_of_a_token_is_one_word(folder: Folder, scope: str) -> None:
    text = with_tables("[tokens]", 'introspection_url = "https://id.example.org"', 'client_id = "gatepost"', SECRET)
    (found,) = folder.complaints(f'{text}\naudience = "mail"\nscope = "{scope}"')
    assert found.startswith("tokens.scope: found ")
    assert found.endswith("expected one word of a token's scope, without spaces")


@pytest.mark.parametrize("scope", ["smtp", "https://outlook.office.com/SMTP.Send", "x" * 255])
def test_a_word_of_a_scope(folder: Folder, scope: str) -> None:
    text = with_tables("[tokens]", 'introspection_url = "https://id.example.org"', 'client_id = "gatepost"', SECRET)
    found = folder.load(f'{text}\nscope = "{scope}"').tokens
    assert found is not None
    assert found.scope == scope
