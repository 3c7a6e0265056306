"""Password files, and files that somebody else reads."""

import pytest

from gatepost.settings.files import strip_newline
from settings_folder import Folder, upstream


def write(*lines: str) -> str:
    """An upstream with a service account, and other tables."""
    service = ('represent = "service"', 'service_user = "gatepost"', 'service_password_file = "secret"')
    tls = upstream('address = "127.0.0.1:25"', 'tls = "never"', *service)
    return "\n".join((tls, "[users]", 'file = "users.toml"', *lines))


@pytest.mark.parametrize(
    "content", [b"hunter2", b"hunter2\n", b"hunter2\r\n", b" two words \n", "pässword".encode(), b"a" * 65_536]
)
def test_a_password_is_one_line(folder: Folder, content: bytes) -> None:
    (folder.path / "secret").write_bytes(content)
    assert folder.load(write())


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b"", "nothing"),
        (b"\n", "nothing"),
        (b"hunter2\nhunter2", "several lines"),
        (b"hunter2\n\n", "several lines"),
        (b"\nhunter2", "several lines"),
        (b"hunter2\rhunter2", "several lines"),
        (b"hunter2\0", "NUL"),
        (b"hunter2\xff", "octets that are not UTF-8"),
        (b"hunter2" * 10_000, "more than 65536 octets"),
    ],
)
def test_a_bad_password_file_is_named_and_not_shown(folder: Folder, content: bytes, trouble: str) -> None:
    (folder.path / "secret").write_bytes(content)
    (found,) = folder.complaints(write())
    assert found.startswith(f'upstream.service_password_file: found {trouble} in "secret", expected a password on one')


@pytest.mark.parametrize(
    ("content", "password"),
    [(b"a\n", b"a"), (b"a\r\n", b"a"), (b"a\n\n", b"a\n"), (b" a ", b" a "), (b"a\r", b"a"), (b"", b"")],
)
def test_one_newline_at_the_end_is_no_part_of_a_password(content: bytes, password: bytes) -> None:
    assert strip_newline(content) == password


TOKENS = '[tokens]\n{}\nintrospection_url = "https://id.example.org"\naudience = "mail"\nclient_id = "gatepost"'
OAUTH = '[oauth]\n{}\ntoken_url = "https://id.example.org"\nclient_id = "gatepost"\ngrant = "client_credentials"'


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("users.file", write().replace('"users.toml"', '"none"')),
        ("tokens.ca", write(TOKENS.format('client_secret_file = "secret"\nca = "none"'))),
        ("tokens.jwks_file", write('[tokens]\njwks_file = "none"\nissuer = "a"\naudience = "b"')),
        ("oauth.ca", write(OAUTH.format('client_secret_file = "secret"\nca = "none"'))),
    ],
)
def test_a_file_that_is_missing_is_named_at_its_key(folder: Folder, key: str, text: str) -> None:
    found = [one for one in folder.complaints(text) if not one.startswith("oauth: ")]  # needs another `represent`
    assert found == [
        f'{key}: found "none", which cannot be read (No such file or directory), expected a file that can be read'
    ]


@pytest.mark.parametrize(
    "secret", ["hunter2", "hun/ter.2", "/hunter2", "secret/hunter2", "hunter2" * 100, "hunter2\\u0000"]
)
@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("upstream.service_password_file", write().replace('"secret"', '"PATH"')),
        ("tokens.client_secret_file", write(TOKENS.format('client_secret_file = "PATH"'))),
        ("oauth.client_secret_file", write(OAUTH.format('client_secret_file = "PATH"'))),
    ],
)
def test_a_secret_where_its_path_belongs_is_not_shown(folder: Folder, key: str, text: str, secret: str) -> None:
    found = [one for one in folder.complaints(text.replace("PATH", secret)) if not one.startswith("oauth: ")]
    assert found == [f"{key}: found a path that names no file, expected a file that can be read"]


def test_the_path_of_a_secret_that_is_no_file_is_shown(folder: Folder) -> None:
    (folder.path / "folder").mkdir()
    assert folder.complaints(write().replace('"secret"', '"folder"')) == [
        'upstream.service_password_file: found "folder", which is not a file, expected a file that can be read'
    ]


@pytest.mark.parametrize("key", ["tokens", "oauth"])
def test_authorities_that_are_none(folder: Folder, key: str) -> None:
    table = {"tokens": TOKENS, "oauth": OAUTH}[key].format('client_secret_file = "secret"\nca = "secret"')
    assert f'{key}.ca: found no certificates in "secret", expected PEM certificates of authorities' in (
        folder.complaints(write(table))
    )
