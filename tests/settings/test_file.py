"""Reading the settings file: what it may say, every mistake at once, and files that are no settings file."""

import json
import tempfile
from datetime import date, datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.settings import (
    Address,
    Auth,
    ListenerTls,
    LoneNewlines,
    SettingsError,
    TlsProfile,
    UpstreamTls,
    load,
)
from settings_folder import ISSUED, MINIMAL, PIN, Folder, changed, encrypt_key, fill, upstream


def test_the_minimal_file_has_the_safe_defaults(folder: Folder) -> None:
    found = folder.load(MINIMAL)
    assert found.upstream.address == Address("127.0.0.1", 2525)
    assert found.upstream.tls is UpstreamTls.NEVER
    assert found.upstream.trusted is False
    assert found.tls.certificate == folder.path / "cert.pem"
    assert found.tls.key == folder.path / "key.pem"
    assert [(one.name, one.bind, one.tls) for one in found.listeners] == [
        ("submission", (Address("127.0.0.1", 5587),), ListenerTls.STARTTLS),
        ("submissions", (Address("127.0.0.1", 5465),), ListenerTls.IMPLICIT),
    ]
    assert {one.auth for one in found.listeners} == {Auth.REQUIRED}
    assert {one.profile for one in found.listeners} == {TlsProfile.INTERMEDIATE}
    assert found.smtp.lone_newlines is LoneNewlines.NORMALISE
    assert found.limits.login_failures == 3
    assert found.observe.bind == Address("127.0.0.1", 9587)


def test_paths_are_relative_to_the_file_and_not_to_the_working_folder(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.path / "gatepost.toml").write_text(MINIMAL)
    monkeypatch.chdir(folder.path.parent)
    found = load(Path(folder.path.name, "gatepost.toml"))
    assert found.tls.certificate == folder.path / "cert.pem"


def test_an_absolute_path_stays(folder: Folder) -> None:
    found = folder.load(changed('"key.pem"', json.dumps(str(folder.path / "key.pem"))))
    assert found.tls.key == folder.path / "key.pem"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:25", Address("127.0.0.1", 25)),
        ("[::]:587", Address("::", 587)),
        ("[0:0::1]:25", Address("::1", 25)),
        ("legacy_1.example.org:65535", Address("legacy_1.example.org", 65535)),
        ("localhost:0", Address("localhost", 0)),
    ],
)
def test_an_address_is_read(folder: Folder, text: str, address: Address) -> None:
    assert folder.load(changed("127.0.0.1:5587", text)).listeners[0].bind == (address,)


def test_an_address_is_written_as_it_is_read() -> None:
    assert str(Address("::1", 25)) == "[::1]:25"
    assert str(Address("mx.example.org", 25)) == "mx.example.org:25"


def test_networks_pins_and_whole_seconds_are_read(folder: Folder) -> None:
    text = upstream('address = "mx.example.org:587"', 'tls = "starttls"', f'pins = ["{PIN}"]', "probe_seconds = 60")
    found = folder.load(text + '\n[limits]\nuncounted = ["192.0.2.0/24", "2001:db8::/32"]\n')
    assert found.limits.uncounted == (IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8::/32"))
    assert found.upstream.pins == (PIN,)
    assert found.upstream.probe_seconds == 60.0


def test_a_file_that_is_not_toml_is_one_problem_with_its_place(folder: Folder) -> None:
    assert folder.complaints("[upstream]\naddress = oops\n") == [
        "gatepost.toml, line 2, column 11: found invalid value, expected TOML"
    ]


def test_a_file_that_ends_too_early_is_one_problem_with_its_place(folder: Folder) -> None:
    (found,) = folder.complaints("[upstream]\naddress =")
    assert found.startswith("gatepost.toml, line 2, column 10: found ")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a = " + "[" * 5000, "lists or tables nested too deeply"),
        ("a = " + "9" * 5000, "a number that is too long"),
    ],
)
def test_a_file_that_strains_the_reader_is_one_problem(folder: Folder, text: str, complaint: str) -> None:
    assert folder.complaints(text) == [f"gatepost.toml: found {complaint}, expected TOML"]


def test_a_file_that_is_missing_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: found No such file or directory, expected a TOML file"):
        load(tmp_path / "none.toml")


def test_a_file_that_is_not_utf_8_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b'a = "\xff"')
    with pytest.raises(SettingsError, match="found an octet that is not UTF-8 at offset 5"):
        load(tmp_path / "a.toml")


EVERYTHING_WRONG = """
surprise = 1
[upstream]
address = "192.0.2.1:25"
tls = "never"
probe_seconds = "often"
[tls]
certificate = "none.pem"
key = "key.pem"
watch_seconds = 0
[[listeners]]
name = "a"
bind = ["127.0.0.1:25", "::1:25"]
tls = "sometimes"
[[listeners]]
name = "a"
bind = ["127.0.0.1:25"]
tls = "implicit"
atuh = "off"
"""


def test_every_mistake_is_reported_at_once_and_none_hides_another(folder: Folder) -> None:
    (folder.path / "key.pem").write_bytes(encrypt_key(PrivateFormat.PKCS8))
    keys = [complaint.partition(": ")[0] for complaint in folder.complaints(EVERYTHING_WRONG)]
    assert sorted(keys) == sorted(
        [
            "surprise",
            "upstream.probe_seconds",
            "upstream.tls",
            "tls.certificate",
            "tls.key",
            "tls.watch_seconds",
            "listeners[0].bind[1]",
            "listeners[0].tls",
            "listeners[1].name",
            "listeners[1].bind[0]",
            "listeners[1].atuh",
        ]
    )


def test_a_bind_list_with_one_bad_address_still_guards_the_good_ones(folder: Folder) -> None:
    text = changed('"127.0.0.1:5587"', '"127.0.0.1:5465", "bad"')
    keys = [complaint.partition(": ")[0] for complaint in folder.complaints(text)]
    assert keys == ["listeners[0].bind[1]", "listeners[1].bind[0]"]


def test_no_secret_is_shown(folder: Folder) -> None:
    pasted = ISSUED.private_key_pem.bytes().decode()
    text = changed('"key.pem"', f'"""{pasted}"""').replace("127.0.0.1:2525", "user:hunter2@192.0.2.1:25")
    text = text.replace("[upstream]", '[upstream]\npassword = "hunter2"')
    shown = "\n".join(folder.complaints(text))
    assert "tls.key: found a text that is not shown" in shown
    assert "hunter2" not in shown
    assert not any(line in shown for line in pasted.splitlines())


def test_a_problem_is_one_line_whatever_is_found(folder: Folder) -> None:
    (found,) = folder.complaints(changed('"starttls"', '"a\\nb\\u001b[31m\\u009b' + "x" * 5000 + '"'))
    assert found.isprintable()
    assert len(found) < 500


NAMES = ["upstream", "tls", "listeners", "limits", "observe", "address", "bind", "certificate", "ca", "client_ca"]
NAMES += ["key", "certificates", "pins", "name", "auth", "uncounted", "errors", "trusted", "log", "x.y", "", "é\n"]
NAMES += [
    "policies",
    "users",
    "tokens",
    "oauth",
    "mechanisms",
    "relay",
    "represent",
    "logins",
    "client",
    "minimum",
    "file",
]
SCALARS = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.dates(min_value=date(1000, 1, 1))
    | st.datetimes(min_value=datetime(1000, 1, 1))  # noqa: DTZ001  TOML has local times too
    | st.times()
    | st.text(max_size=8)
    | st.sampled_from(["never", "starttls", "127.0.0.1:25", "[::]:25", "mx:25", "cert.pem", "key.pem", ".", PIN, "off"])
    | st.sampled_from(["PLAIN", "SCRAM-SHA-256", "service", "token", "https://id.example.org"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=12,
)


def write_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {write_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(write_toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(character):08x}" for character in value) + '"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    assert hasattr(value, "isoformat")
    return str(value.isoformat())


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6))
@settings(max_examples=150, deadline=None)
def test_whatever_the_file_says_load_answers_with_settings_or_problems(raw: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name))
        file = Path(name, "gatepost.toml")
        file.write_text("".join(f"{json.dumps(key)} = {write_toml(value)}\n" for key, value in raw.items()))
        problems: tuple[object, ...] = ("none",)
        try:
            load(file)
        except SettingsError as error:
            problems = error.problems
    assert problems
    assert all("\n" not in str(problem) for problem in problems)
