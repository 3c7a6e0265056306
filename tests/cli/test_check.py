"""The command line: exit codes, and what `check` says."""

import json
import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from typer.testing import CliRunner, Result

import gatepost
from gatepost.cli.check import find_warnings
from gatepost.cli.main import main, program
from settings_folder import MINIMAL, Folder, fill, write_pair
from users_made import everything
from users_made import write as write_users


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    fill(tmp_path)
    return Folder(tmp_path)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(program, arguments)


def check(folder: Folder, text: str) -> Result:
    file = folder.path / "gatepost.toml"
    file.write_text(text)
    return invoke("check", "--config", str(file))


def test_the_version() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.output) == (0, f"gatepost {gatepost.__version__}\n")


@pytest.mark.parametrize("arguments", [["check"], ["run"], ["nonsense"], ["check", "--confg", "x"], ["demo", "x"]])
def test_a_usage_error_is_2(arguments: list[str]) -> None:
    assert invoke(*arguments).exit_code == 2


def test_main_exits_with_the_code_of_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["gatepost", "check"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2


ALL = "PLAIN, LOGIN, XOAUTH2, OAUTHBEARER"
STATED = "then the login is stated, by XCLIENT"
SERVED = (
    "then the service account logs in for the user, "
    "by the first of SCRAM-SHA-256, SCRAM-SHA-1, PLAIN that the upstream offers"
)
OBTAINED = "then a token is obtained for the user at id.example.org, by XOAUTH2"
STRONGEST = "by the first of SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN that the upstream offers"


def test_check_tells_what_a_good_file_does(folder: Folder) -> None:
    text = MINIMAL.replace('["127.0.0.1:5465"]', '["127.0.0.1:5465", "[::1]:5465"]')
    text = text.replace('name = "submission"', 'name = "submission"\nauth = "optional"')
    result = check(folder, text)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        f"{folder.path}/gatepost.toml: good",
        "listener submission on 127.0.0.1:5587: STARTTLS, mail with or without AUTH by " + ALL,
        "listener submissions on 127.0.0.1:5465, [::1]:5465: TLS from the first byte, mail only after AUTH by " + ALL,
        f"PLAIN, LOGIN: password passed on {STRONGEST}",
        "XOAUTH2, OAUTHBEARER: token passed on by the first of OAUTHBEARER, XOAUTH2 that the upstream offers",
        "upstream 127.0.0.1:2525: in the clear",
        "status, metrics and health: http://127.0.0.1:9587/ and /metrics, /livez, /readyz",
    ]


@pytest.mark.parametrize("command", ["check", "run"])
def test_every_problem_goes_to_standard_error_with_78(folder: Folder, command: str) -> None:
    file = folder.path / "gatepost.toml"
    file.write_text(MINIMAL.replace("implicit", "foo").replace("[observe]\nbind", "[observe]\nbimd"))
    result = invoke(command, "--config", str(file))
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.splitlines() == [
        'listeners[1].tls: found "foo", expected "starttls" or "implicit"',
        'observe.bimd: unknown key, did you mean "bind"?',
    ]


def test_an_address_that_is_taken_is_69(folder: Folder) -> None:
    file = folder.path / "gatepost.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        file.write_text(re.sub(r"127\.0\.0\.1:(5465|9587)", "127.0.0.1:0", MINIMAL).replace("127.0.0.1:5587", address))
        result = invoke("run", "--config", str(file))
    assert result.exit_code == 69
    assert f"gatepost: cannot listen on {address}: Address already in use" in result.stderr


def test_a_missing_file_is_78() -> None:
    result = invoke("check", "--config", "/nonexistent/gatepost.toml")
    assert result.exit_code == 78
    assert result.stderr == (
        "/nonexistent/gatepost.toml: found No such file or directory, expected a TOML file that can be read\n"
    )


def test_metrics_that_others_can_read_are_a_warning(folder: Folder) -> None:
    result = check(folder, MINIMAL.replace("127.0.0.1:9587", "[::]:9587"))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == (
        "warning: status page and metrics on [::]:9587 can be read from other machines, without a password"
    )


BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "warnings"),
    [
        (BEGIN - timedelta(seconds=1), ["is not valid before 2030-01-01 00:00 UTC"]),
        (BEGIN, []),
        (BEGIN + timedelta(days=69), []),
        (BEGIN + timedelta(days=69, seconds=1), ["expires in 20 days"]),
        (BEGIN + timedelta(days=90, seconds=1), ["expired on 2030-04-01 00:00 UTC"]),
    ],
)
def test_the_dates_of_a_certificate_are_a_warning(folder: Folder, now: datetime, warnings: list[str]) -> None:
    write_pair(folder.path, ec.generate_private_key(ec.SECP256R1()), BEGIN, days=90)
    settings = folder.load(MINIMAL)
    assert list(find_warnings(settings, now)) == [f"{folder.path}/cert.pem {warning}" for warning in warnings]


def test_each_further_certificate_is_looked_at(folder: Folder) -> None:
    write_pair(folder.path, ec.generate_private_key(ec.SECP256R1()), BEGIN, days=90)
    settings = folder.load(MINIMAL + '[[tls.certificates]]\ncertificate = "cert.pem"\nkey = "key.pem"\n')
    assert len(list(find_warnings(settings, BEGIN + timedelta(days=100)))) == 2


def test_an_expired_certificate_is_reported_by_check(folder: Folder) -> None:
    write_pair(folder.path, ec.generate_private_key(ec.SECP256R1()), datetime(2020, 1, 1, tzinfo=UTC), days=1)
    result = check(folder, MINIMAL)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].endswith("cert.pem expired on 2020-01-02 00:00 UTC")


KEY = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
USERS = '[users]\nfile = "users.toml"\n'
JWKS = '[tokens]\nissuer = "https://id.example.org"\naudience = "smtp"\n'
INTROSPECTION = (
    '[tokens]\nintrospection_url = "https://id.example.org:8443/ask?key=hunter2"\n'
    'audience = "smtp"\nclient_id = "gatepost"\nclient_secret_file = "secret"\n'
)
OAUTH = (
    '[oauth]\ntoken_url = "https://id.example.org/token?key=hunter2"\nclient_id = "gatepost"\n'
    'grant = "client_credentials"\nclient_secret_file = "secret"\n'
)
SERVICE = 'represent = "service"\nservice_user = "gatepost"\nservice_password_file = "secret"'


@pytest.fixture
def private(folder: Folder) -> Folder:
    """With a users file, a password file that nobody else can read, and a provider's keys."""
    write_users(folder.path / "users.toml", alice=everything())
    (folder.path / "secret").write_text("hunter2")
    (folder.path / "secret").chmod(0o600)
    (folder.path / "keys.json").write_text(json.dumps({"keys": [KEY]}))
    return folder


def write(*lines: str, tables: str = "", listener: str = "", tls: str = "") -> str:
    text = MINIMAL.replace("[upstream]", "\n".join(("[upstream]", *lines))).replace("[tls]", f"[tls]\n{tls}")
    return text.replace("bind", f"{listener}\nbind", 1) + tables


def say(folder: Folder, text: str) -> list[str]:
    result = check(folder, text)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.replace(f"{folder.path}/", "").splitlines()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            write(SERVICE, tables=USERS + "verify_passwords = true\n"),
            f"PLAIN, LOGIN, SCRAM-SHA-1, SCRAM-SHA-256: checked by the users file; {SERVED}",
        ),
        (
            write('represent = "secret"', tables=USERS),
            "SCRAM-SHA-1, SCRAM-SHA-256: checked by the users file; then the user's own upstream secret is used, "
            + STRONGEST,
        ),
        (
            write('represent = "xclient"', tables=USERS),
            "SCRAM-SHA-1, SCRAM-SHA-256: checked by the users file; then the login is stated, by XCLIENT",
        ),
        (write('represent = "xclient"', tables=USERS), f"PLAIN, LOGIN: password passed on {STRONGEST}"),
        (
            write('represent = "xclient"', tables=USERS + INTROSPECTION),
            "SCRAM-SHA-1, SCRAM-SHA-256: checked by the users file; " + STATED,
        ),
        (
            write('represent = "xclient"', tables=JWKS + 'jwks_url = "https://id.example.org/keys?a=b"\n'),
            "XOAUTH2, OAUTHBEARER: checked by the provider's keys at id.example.org; " + STATED,
        ),
        (
            write('represent = "xclient"', tables=JWKS + 'jwks_file = "keys.json"\n'),
            "XOAUTH2, OAUTHBEARER: checked by the provider's keys in keys.json; then the login is stated, by XCLIENT",
        ),
        (
            write('represent = "xclient"', tables=INTROSPECTION),
            "XOAUTH2, OAUTHBEARER: checked by introspection at id.example.org:8443; " + STATED,
        ),
        (
            write('represent = "token"', 'mechanisms = ["XOAUTH2"]', tables=OAUTH, tls='client_ca = "ca.pem"'),
            f"EXTERNAL: checked by the client's certificate; {OBTAINED}",
        ),
        (
            write('relay = ["SCRAM-SHA-1"]', 'represent = "xclient"', tables=USERS),
            "SCRAM-SHA-1: relayed to the upstream as it is",
        ),
        (
            write('relay = ["SCRAM-SHA-1"]', listener='mechanisms = ["SCRAM-SHA-1"]\nauth = "optional"'),
            "listener submission on 127.0.0.1:5587: STARTTLS, mail with or without AUTH by SCRAM-SHA-1",
        ),
        (
            write(listener='mechanisms = ["LOGIN"]\nauth = "off"'),
            "listener submission on 127.0.0.1:5587: STARTTLS, mail without AUTH",
        ),
        (write('represent = "xclient"', tables=USERS), "users file users.toml"),
        (
            write('represent = "xclient"', tables=USERS + "verify_passwords = true\nlearn = true\n"),
            "users file users.toml, which learns from good passwords",
        ),
        (write(tables='[[policies]]\nminimum = "OAUTHBEARER"\n'), "policy: OAUTHBEARER or stronger"),
        (
            write(
                tables='[[policies]]\nminimum = "PLAIN"\nlisteners = ["submission"]\n'
                'networks = ["192.0.2.0/24", "2001:db8::/32"]\nusers = ["bob", "*@example.com"]\n'
            ),
            "policy: PLAIN or stronger on submission from 192.0.2.0/24, 2001:db8::/32 for bob, *@example.com",
        ),
    ],
)
def test_check_tells_how_logins_reach_the_upstream(private: Folder, text: str, line: str) -> None:
    said = say(private, text)
    assert line in said
    assert "hunter2" not in "\n".join(said)


def test_a_certificate_that_logs_in_is_told_and_its_dates_are_looked_at(private: Folder) -> None:
    pair = ('certificate = "cert.pem"', 'key = "key.pem"', 'represent = "certificate"')
    text = write(*pair, tables=USERS).replace('"never"', '"starttls"')
    way = "checked by the users file; then gatepost's certificate logs in for the user, by EXTERNAL"
    assert f"SCRAM-SHA-1, SCRAM-SHA-256: {way}" in say(private, text)
    write_pair(private.path, ec.generate_private_key(ec.SECP256R1()), BEGIN, days=90)
    assert len(list(find_warnings(private.load(text), BEGIN + timedelta(days=100)))) == 2


def warnings_of(folder: Folder, text: str) -> list[str]:
    return [line.removeprefix("warning: ") for line in say(folder, text) if line.startswith("warning: ")]


@pytest.mark.parametrize(
    "text",
    [
        write(SERVICE, tables=USERS),
        write('represent = "xclient"', tables=USERS + INTROSPECTION),
        write('represent = "token"', tables=USERS + OAUTH),
    ],
)
def test_a_password_file_that_others_can_read_is_a_warning(private: Folder, text: str) -> None:
    warning = "secret can be read by every user of this machine"
    assert warning not in warnings_of(private, text)
    (private.path / "secret").chmod(0o640)
    assert warning not in warnings_of(private, text)
    (private.path / "secret").chmod(0o604)
    assert warning in warnings_of(private, text)


@pytest.mark.parametrize(
    ("template", "becomes"), [("{local}", "root"), ("{domain}", "anything"), ("x-{local}@new", "x-root@new")]
)
def test_a_template_that_makes_one_user_of_several_proven_ones_is_a_warning(
    private: Folder, template: str, becomes: str
) -> None:
    line = f'login_template = "{template}"'
    warning = f"upstream.login_template makes one user of several that are proven here: root@anything becomes {becomes}"
    assert warnings_of(private, write(line, 'represent = "secret"', tables=USERS)) == [warning]
    assert warnings_of(private, write(line)) == []  # whoever logs in knows the password there
    kept = line.replace(template, "{local}/{domain}")
    assert warnings_of(private, write(kept, 'represent = "secret"', tables=USERS)) == []


# --- the files of backends -------------------------------------------------------------------------------------------

COMMANDS = pytest.mark.parametrize("command", ["check", "run"])


def refused(folder: Folder, text: str, command: str) -> list[str]:
    file = folder.path / "gatepost.toml"
    file.write_text(text)
    result = invoke(command, "--config", str(file))
    assert (result.exit_code, result.stdout) == (78, "")
    assert "hunter2" not in result.stderr
    return result.stderr.replace(f"{folder.path}/", "").splitlines()


@COMMANDS
@pytest.mark.parametrize(
    ("content", "beginnings"),
    [
        ("", ["salt_key: found nothing, expected 32", "users: found nothing, expected a table"]),
        ("hunter2", ["the end: found no TOML, expected TOML in which no key stands twice"]),
        (
            'salt_key = "hunter2"\nuser = 1\n[users]',
            ['user: unknown key, did you mean "users"?', "salt_key: found a text"],
        ),
    ],
)
def test_a_users_file_that_cannot_be_used_is_78(
    private: Folder, command: str, content: str, beginnings: list[str]
) -> None:
    (private.path / "users.toml").write_text(content)
    found = refused(private, write('represent = "secret"', tables=USERS), command)
    assert len(found) == len(beginnings)
    for one, beginning in zip(found, beginnings, strict=True):
        assert one.startswith(f"users.file: users.toml: {beginning}")


@COMMANDS
def test_a_users_file_that_others_can_read_is_78(private: Folder, command: str) -> None:
    (private.path / "users.toml").chmod(0o644)
    found = "mode 0644, so that others can read or change it, expected mode 0600, or at most 0640"
    assert refused(private, write('represent = "secret"', tables=USERS), command) == [
        f"users.file: users.toml: found {found}"
    ]


@COMMANDS
@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "no JSON object"),
        ("hunter2", "no JSON object"),
        ("[]", "no JSON object"),
        ("{}", "no key of use"),
        ('{"keys": []}', "no key of use"),
        (json.dumps({"keys": [{**KEY, "use": "enc"}]}), "no key of use"),
    ],
)
def test_a_file_without_keys_is_78(private: Folder, command: str, content: str, found: str) -> None:
    (private.path / "keys.json").write_text(content)
    text = write('represent = "xclient"', tables=JWKS + 'jwks_file = "keys.json"\n')
    expected = "expected a set of keys (RFC 7517), with one for"
    assert refused(private, text, command) == [
        f'tokens.jwks_file: found {found} in "keys.json", {expected} RS256 or ES256'
    ]


@COMMANDS
def test_keys_for_other_algorithms_are_78(private: Folder, command: str) -> None:
    text = write('represent = "xclient"', tables=JWKS + 'jwks_file = "keys.json"\nalgorithms = ["EdDSA"]\n')
    (found,) = refused(private, text, command)
    assert found.endswith("with one for EdDSA")


@COMMANDS
def test_the_problems_of_all_files_are_told_at_once(private: Folder, command: str) -> None:
    for name in ("users.toml", "keys.json"):
        (private.path / name).write_text("hunter2")
    text = write('represent = "xclient"', tables=USERS + JWKS + 'jwks_file = "keys.json"\n')
    found = refused(private, text, command)
    assert [one.partition(":")[0] for one in found] == ["users.file", "tokens.jwks_file"]


def test_cram_md5_is_a_warning_where_clients_may_use_it(private: Folder) -> None:
    fast = "takes CRAM-MD5: whoever reads an exchange can guess its password fast"
    named = write('represent = "secret"', tables=USERS, listener='mechanisms = ["CRAM-MD5"]')
    assert warnings_of(private, named) == [f"listener submission {fast}"]
    assert warnings_of(private, named.replace("bind", 'auth = "off"\nbind', 1)) == []
    relayed = write('relay = ["CRAM-MD5"]', listener='mechanisms = ["PLAIN"]')
    assert warnings_of(private, relayed) == [f"listener submissions {fast}"]  # to relay it is to ask for it
    assert warnings_of(private, relayed.replace("CRAM-MD5", "SCRAM-SHA-1")) == []


def test_xclient_is_a_warning(private: Folder) -> None:
    assert warnings_of(private, write('represent = "xclient"', tables=USERS)) == [
        "the upstream believes XCLIENT by gatepost's address alone: no other program may reach it from there"
    ]


def test_a_listener_that_nobody_can_log_in_on_is_a_warning(folder: Folder) -> None:
    text = write('mechanisms = ["EXTERNAL"]')
    assert warnings_of(folder, text) == [
        f"listener {name} demands AUTH, and no mechanism leads to the upstream"
        for name in ("submission", "submissions")
    ]
    assert len(warnings_of(folder, text.replace("bind", 'auth = "optional"\nbind', 1))) == 1


def test_a_policy_that_nothing_on_a_listener_satisfies_is_a_warning(folder: Folder) -> None:
    policies = '[[policies]]\nminimum = "EXTERNAL"\nnetworks = ["192.0.2.0/24"]\n'
    text = write(listener='mechanisms = ["PLAIN"]', tables=policies.replace("EXTERNAL", "XOAUTH2"))
    assert warnings_of(folder, text) == [
        "policy: XOAUTH2 or stronger from 192.0.2.0/24: listener submission has nothing that strong"
    ]
    elsewhere = policies + 'listeners = ["submissions"]\n'
    assert warnings_of(folder, write(listener='mechanisms = ["PLAIN"]', tables=elsewhere)) == [
        "policy: EXTERNAL or stronger on submissions from 192.0.2.0/24: listener submissions has nothing that strong"
    ]
    assert (
        warnings_of(folder, write(listener='auth = "off"', tables=elsewhere.replace("submissions", "submission"))) == []
    )
