"""The command line: exit codes, and what `check` says."""

import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner, Result

import gatepost
from gatepost.cli.check import find_warnings
from gatepost.cli.main import main, program
from settings_folder import MINIMAL, Folder, fill, write_pair


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


def test_check_tells_what_a_good_file_does(folder: Folder) -> None:
    text = MINIMAL.replace('["127.0.0.1:5465"]', '["127.0.0.1:5465", "[::1]:5465"]')
    text = text.replace('name = "submission"', 'name = "submission"\nauth = "optional"')
    result = check(folder, text)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        f"{folder.path}/gatepost.toml: good",
        "listener submission on 127.0.0.1:5587: STARTTLS, mail with or without AUTH",
        "listener submissions on 127.0.0.1:5465, [::1]:5465: TLS from the first byte, mail only after AUTH",
        "upstream 127.0.0.1:2525: in the clear",
        "metrics and health: http://127.0.0.1:9587/metrics, /livez, /readyz",
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
        "warning: metrics on [::]:9587 can be read from other machines, without a password"
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
