"""The demonstration says what happened: every step when it did, and a failure when it did not."""

from __future__ import annotations

import io
import os
import signal
import ssl
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest
import trio

from gatepost import app
from gatepost.demo.certificates import write_certificates
from gatepost.demo.client import Account, ClearAttempt, Delivery, Envelope, MailProgram
from gatepost.demo.legacy import LegacyServer
from gatepost.demo.scenario import main, play
from gatepost.demo.screen import Screen
from gatepost.demo.stage import ACCOUNT, Stage
from gatepost.settings import Address, Settings

DEADLINE_SECONDS = 60
STEPS = ["A password in the clear is refused", "STARTTLS", "Implicit TLS", "What the metrics say"]
PASSWORD_IN_TRANSIT = [
    ACCOUNT.password,
    b64encode(ACCOUNT.password.encode()).decode(),
    b64encode(f"\0{ACCOUNT.user}\0{ACCOUNT.password}".encode()).decode(),
]


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "gatepost", "demo", *options]


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(folder), "PYTHONIOENCODING": "utf-8"}


def test_once_plays_every_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ended = subprocess.run(
        command("--once"), env=environment(tmp_path), capture_output=True, timeout=DEADLINE_SECONDS, check=False
    )
    output = ended.stdout.decode()
    assert ended.returncode == 0, output + ended.stderr.decode()
    assert [f"{number}. {step}" in output for number, step in enumerate(STEPS, 1)] == [True] * len(STEPS)
    assert output.count("✓") == 21
    assert "✗" not in output
    assert output.endswith("Every step held.\n")
    assert "S: 530 5.7.0 " in output
    assert output.count("S: 235 ") == 2
    assert (
        'gatepost_auth_attempts_total{channel="clear",listener="submission",mechanism="PLAIN",result="clear_refused"} 1'
        in output
    )
    assert [secret for secret in PASSWORD_IN_TRANSIT if secret in output] == []
    assert "\x1b" not in output
    assert ended.stderr == b""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_with_lines_to_paste_until_a_signal(tmp_path: Path, ending: signal.Signals) -> None:
    with subprocess.Popen(command(), env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        try:
            lines: list[str] = []
            while not lines or lines[-1] != "Ctrl-C to stop\n":
                line = demo.stdout.readline()
                assert line, "".join(lines)
                lines.append(line)
            (folder,) = tmp_path.iterdir()
            output = "".join(lines)
            for start in ("swaks ", "openssl s_client ", "curl --cacert ", "curl http://"):
                assert f"\n  {start}" in output
            assert f"{folder}/ca.pem" in output
            assert (folder / "ca.pem").exists()
            assert demo.poll() is None
            demo.send_signal(ending)
            assert demo.wait(DEADLINE_SECONDS) == 0
        finally:
            demo.kill()
    assert list(tmp_path.iterdir()) == []


def test_a_gatepost_that_cannot_start_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def serve(settings: Settings, *, task_status: trio.TaskStatus[app.Bound]) -> None:
        raise app.CannotStart("cannot listen on 127.0.0.1:5587: Address already in use")

    monkeypatch.setattr(app, "serve", serve)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(once=True) == 1
    assert "✗ cannot listen on 127.0.0.1:5587: Address already in use\n" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


class Boaster(MailProgram):
    """Says that all went well, and did nothing."""

    def try_clear_login(self, door: Address) -> ClearAttempt:
        return ClearAttempt(frozenset({"STARTTLS"}), 530, b"5.7.0 Must issue a STARTTLS command first")

    def submit_with_starttls(self, door: Address, envelope: Envelope, message: bytes) -> Delivery:
        return Delivery("TLSv1.3", verified=True, login_code=235, refused=False)

    submit_with_implicit_tls = submit_with_starttls


def stage_with(legacy: LegacyServer, output: io.StringIO, folder: Path) -> Stage:
    nowhere = Address("127.0.0.1", 1)  # nothing listens there
    return Stage(
        screen=Screen(output),
        legacy=legacy,
        mail_program=Boaster(ACCOUNT, ssl.create_default_context(), lambda _line: None),
        certificates=write_certificates(folder),
        submission=nowhere,
        submissions=nowhere,
        observe=nowhere,
    )


async def test_a_delivery_that_the_legacy_server_did_not_record_fails(tmp_path: Path) -> None:
    output = io.StringIO()
    assert not await play(stage_with(LegacyServer({}), output, tmp_path))
    assert output.getvalue().count("✗ it got one message") == 2
    assert output.getvalue().count("✗ the legacy server got one login, by a mechanism of its own: none") == 2
    assert "✗ ConnectionRefusedError" in output.getvalue()
    assert "5 of the checks above failed." in output.getvalue()


async def test_a_clear_login_that_reached_the_legacy_server_fails(tmp_path: Path) -> None:
    legacy, output = LegacyServer({}), io.StringIO()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(legacy.serve)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"EHLO laptop.example\r\nQUIT\r\n")
            with trio.fail_after(5):
                while await stream.receive_some():
                    pass
        nursery.cancel_scope.cancel()
    assert not await play(stage_with(legacy, output, tmp_path))
    assert "✗ the legacy server heard nothing of this client" in output.getvalue()


async def test_the_mail_program_shows_what_is_said_but_no_password() -> None:
    legacy = LegacyServer({ACCOUNT.user.encode(): ACCOUNT.password.encode()})
    shown: list[str] = []
    context = ssl.create_default_context()
    async with trio.open_nursery() as nursery:
        door = Address("127.0.0.1", await nursery.start(legacy.serve))
        right = MailProgram(ACCOUNT, context, shown.append)
        wrong = MailProgram(Account(ACCOUNT.user, "wrong"), context, shown.append)
        accepted = await trio.to_thread.run_sync(right.try_clear_login, door)
        rejected = await trio.to_thread.run_sync(wrong.try_clear_login, door)
        nursery.cancel_scope.cancel()
    assert (accepted.code, rejected.code) == (235, 535)
    assert "AUTH" in accepted.offered
    assert "STARTTLS" not in accepted.offered
    assert shown.count("C: AUTH PLAIN ***") == 2
    assert "S: 235 Welcome" in shown
    assert [secret for secret in PASSWORD_IN_TRANSIT if secret in "\n".join(shown)] == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "coloured"), [(io.StringIO(), False), (Terminal(), True)])
def test_colour_is_for_terminals_only(stream: io.StringIO, *, coloured: bool) -> None:
    screen = Screen(stream)
    screen.heading("heading")
    screen.verdict("good", held=True)
    screen.verdict("bad", held=False)
    assert ("\x1b[" in stream.getvalue()) is coloured
    assert "✓ good" in stream.getvalue()
    assert "✗ bad" in stream.getvalue()
    assert screen.failures == 1
