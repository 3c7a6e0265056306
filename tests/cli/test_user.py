"""`gatepost user`: what each command does to the file, what it says, and its exit code."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gatepost.backends import passwords, userfile
from gatepost.backends.roster import Credentials, User
from gatepost.cli.main import program
from gatepost.sasl.questions import Hash, UpstreamLogin
from gatepost.sasl.secret import Secret
from users_made import CHEAP, PASSWORD, WRONG, everything, forms, hashed, scram, write

TYPED = PASSWORD.reveal().decode()
TWICE = f"{TYPED}\n{TYPED}\n"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", CHEAP)


@dataclass(frozen=True)
class Desk:
    """An operator with a users file."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "users.toml"

    def says(self, *arguments: str, typed: str = "") -> Result:
        result = CliRunner().invoke(program, ["user", *arguments, "--file", str(self.file)], input=typed)
        for secret in (PASSWORD, WRONG, Secret(b"upstream secret")):
            assert not [form for form in forms(secret) if form in result.output + repr(result.exception)]
        return result

    def does(self, *arguments: str, typed: str = "") -> Result:
        result = self.says(*arguments, typed=typed)
        assert result.exit_code == 0, result.output
        return result

    def fails(self, *arguments: str, typed: str = "") -> tuple[int, str]:
        """The exit code and what was said, and that nothing was done."""
        before = self.file.read_bytes() if self.file.exists() else None
        result = self.says(*arguments, typed=typed)
        assert (self.file.read_bytes() if self.file.exists() else None) == before
        return result.exit_code, result.stderr.replace(str(self.file), "FILE").strip()

    def holding(self, name: str, octets: bytes) -> str:
        path = self.folder / name
        path.write_bytes(octets)
        return str(path)

    def users(self) -> dict[str, User]:
        return dict(userfile.load(self.file).roster.users)

    def accepts(self, name: str, password: Secret) -> bool:
        roster = userfile.load(self.file).roster
        return passwords.fits(roster.users[name].credentials, roster, password)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def staffed(desk: Desk) -> Desk:
    write(desk.file, alice=everything(), bob=hashed())
    return desk


# --- add -------------------------------------------------------------------------------------------------------------


def test_add_asks_twice_and_makes_the_file(desk: Desk) -> None:
    result = desk.does("add", "carol", typed=TWICE)
    assert (result.stdout.count("Password"), result.stderr) == (1, "")
    (kept,) = desk.users().values()
    assert kept.credentials.argon2 is not None
    assert set(kept.credentials.scram) == set(Hash)
    assert (kept.credentials.password, kept.upstream) == (None, None)
    assert desk.accepts("carol", PASSWORD)
    assert not desk.accepts("carol", WRONG)
    assert stat.S_IMODE(desk.file.stat().st_mode) == 0o600


def test_add_stores_argon2_and_verifiers_of_the_same_password(desk: Desk) -> None:
    desk.does("add", "carol", typed=TWICE)
    roster = userfile.load(desk.file).roster
    kept = roster.users["carol"].credentials
    assert passwords.fits(Credentials(argon2=kept.argon2), roster, PASSWORD)
    for hash_ in Hash:
        assert passwords.fits(Credentials(scram={hash_: kept.scram[hash_]}), roster, PASSWORD)
        assert kept.scram[hash_].iterations == 10_000


def test_two_answers_that_differ_are_asked_for_again(desk: Desk) -> None:
    desk.does("add", "carol", typed=f"one\ntwo\n{TWICE}")
    assert desk.accepts("carol", PASSWORD)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_password_from_a_file(desk: Desk, ending: bytes) -> None:
    desk.does("add", "carol", "--password-file", desk.holding("password", PASSWORD.reveal() + ending))
    assert desk.accepts("carol", PASSWORD)


def test_a_password_from_standard_input(desk: Desk) -> None:
    desk.does("add", "carol", "--password-file", "-", typed=f"{TYPED}\n")
    assert desk.accepts("carol", PASSWORD)


def test_a_password_is_stored_as_saslprep_leaves_it(desk: Desk) -> None:
    desk.does("add", "carol", "--password-file", desk.holding("password", "e\u0301t\u00e9".encode()))
    assert desk.accepts("carol", Secret("\u00e9t\u00e9".encode()))


def test_add_keeps_the_others(staffed: Desk) -> None:
    before = staffed.users()
    staffed.does("add", "carol", typed=TWICE)
    after = staffed.users()
    assert {name: after[name] for name in before} == before
    assert list(after) == ["alice", "bob", "carol"]


def test_a_name_is_stored_as_saslprep_leaves_it(desk: Desk) -> None:
    desk.does("add", "\uff23arol@example.com", typed=TWICE)
    assert list(desk.users()) == ["Carol@example.com"]


def test_with_cram_md5_the_password_is_stored_and_that_is_said(desk: Desk) -> None:
    result = CliRunner().invoke(program, ["user", "add", "carol", "--cram-md5", "--file", str(desk.file)], input=TWICE)
    assert result.exit_code == 0
    assert desk.users()["carol"].credentials.password == PASSWORD
    assert result.stderr.strip() == (
        f"warning: the password itself now stands in {desk.file}: whoever can read it can log in as carol, "
        "here and wherever else that password is used"
    )


def test_a_user_without_a_password_and_with_a_login_upstream(desk: Desk) -> None:
    secret = desk.holding("secret", b"upstream secret\n")
    desk.does("add", "carol", "--no-password", "--upstream-secret-file", secret)
    desk.does("add", "dave", "--no-password", "--upstream-user", "d", "--upstream-secret-file", secret)
    assert desk.users() == {
        "carol": User(upstream=UpstreamLogin("", Secret(b"upstream secret"))),
        "dave": User(upstream=UpstreamLogin("d", Secret(b"upstream secret"))),
    }


def test_who_is_there_already_is_not_added(staffed: Desk) -> None:
    told = (1, "alice is there already; `gatepost user set` changes it")
    assert staffed.fails("add", "alice") == told  # before a password is asked for
    assert staffed.fails("add", "\uff41lice", "--no-password") == told


def test_who_was_added_while_the_operator_typed_is_not_added_again(
    staffed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = userfile.edit

    def late(path: Path, change: userfile.Edit, *, new: bool = False) -> userfile.Loaded:
        edit(path, lambda roster: roster.including("carol", hashed()))
        return edit(path, change, new=new)

    monkeypatch.setattr(userfile, "edit", late)
    result = staffed.says("add", "carol", "--no-password")
    assert (result.exit_code, result.stderr) == (1, "carol is there already; `gatepost user set` changes it\n")
    assert staffed.accepts("carol", PASSWORD)


# --- set -------------------------------------------------------------------------------------------------------------


def test_set_changes_the_password_in_every_form(staffed: Desk) -> None:
    typed = f"{WRONG.reveal().decode()}\n" * 2
    staffed.does("set", "alice", typed=typed)
    after = staffed.users()["alice"]
    assert staffed.accepts("alice", WRONG)
    assert not staffed.accepts("alice", PASSWORD)
    assert after.credentials.password is None
    assert after.upstream == everything().upstream
    roster = userfile.load(staffed.file).roster
    assert passwords.fits(Credentials(scram=after.credentials.scram), roster, WRONG)


def test_set_with_cram_md5_warns_too(staffed: Desk) -> None:
    result = staffed.does("set", "bob", "--cram-md5", typed=TWICE)
    assert result.stderr.startswith("warning: the password itself now stands in")
    assert staffed.users()["bob"].credentials.password == PASSWORD


def test_set_of_what_is_upstream_leaves_the_password(staffed: Desk) -> None:
    before = staffed.users()["alice"]
    staffed.does("set", "alice", "--upstream-user", "a")
    staffed.does("set", "alice", "--upstream-secret-file", staffed.holding("secret", b"new"))
    assert staffed.users()["alice"] == User(before.credentials, UpstreamLogin("a", Secret(b"new")))


def test_set_of_both(staffed: Desk) -> None:
    password, secret = staffed.holding("password", WRONG.reveal()), staffed.holding("secret", b"new")
    staffed.does("set", "bob", "--password-file", password, "--upstream-secret-file", secret)
    assert staffed.accepts("bob", WRONG)
    assert staffed.users()["bob"].upstream == UpstreamLogin("", Secret(b"new"))


def test_set_without_a_password_from_now_on(staffed: Desk) -> None:
    staffed.does("set", "alice", "--no-password")
    assert staffed.users()["alice"] == User(upstream=everything().upstream)


def test_a_token_that_was_replaced_while_the_operator_typed_is_kept(
    staffed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = userfile.edit
    rotated = UpstreamLogin("alice-at-legacy", Secret(b"rotated"))

    def late(path: Path, change: userfile.Edit, *, new: bool = False) -> userfile.Loaded:
        edit(path, lambda roster: roster.including("alice", User(roster.users["alice"].credentials, rotated)))
        return edit(path, change, new=new)

    monkeypatch.setattr(userfile, "edit", late)
    staffed.does("set", "alice", typed=TWICE)
    assert staffed.users()["alice"].upstream == rotated


def test_set_forgets_the_login_upstream(staffed: Desk) -> None:
    before = staffed.users()["alice"]
    staffed.does("set", "alice", "--no-upstream")
    assert staffed.users()["alice"] == User(before.credentials)
    staffed.does("set", "bob", "--no-upstream")  # who had none
    assert staffed.users()["bob"].upstream is None


def test_set_forgets_the_login_upstream_and_changes_the_password(staffed: Desk) -> None:
    staffed.does("set", "alice", "--no-upstream", "--password-file", staffed.holding("password", WRONG.reveal()))
    assert staffed.users()["alice"].upstream is None
    assert staffed.accepts("alice", WRONG)


# --- remove, list, verify --------------------------------------------------------------------------------------------


def test_remove(staffed: Desk) -> None:
    assert staffed.does("remove", "alice").output == ""
    assert list(staffed.users()) == ["bob"]


def test_remove_the_last_user(staffed: Desk) -> None:
    staffed.does("remove", "alice")
    assert staffed.does("remove", "bob").output == ""
    assert staffed.users() == {}


def test_list_shows_names_and_forms_and_no_secret(staffed: Desk) -> None:
    write(staffed.file, carol=User(), alice=everything(), bob=hashed(), dave=User(scram(Hash.SHA_1)))
    assert staffed.does("list").stdout.splitlines() == [
        "alice: argon2, scram-sha-1, scram-sha-256, password, upstream_user, upstream_secret",
        "bob: argon2",
        "carol: no password",
        "dave: scram-sha-1",
    ]


@pytest.mark.parametrize("name", ["alice", "bob", "\uff41lice"])
def test_verify(staffed: Desk, name: str) -> None:
    good = staffed.does("verify", name, typed=f"{TYPED}\n")
    assert good.stdout.splitlines()[-1] == "good"
    assert staffed.fails("verify", name, typed="wrong\n") == (1, "wrong")
    assert staffed.does("verify", name, "--password-file", staffed.holding("p", PASSWORD.reveal())).stdout == "good\n"


@pytest.mark.parametrize("command", ["set", "remove", "verify"])
def test_a_name_that_is_not_there_is_1(staffed: Desk, command: str) -> None:
    assert staffed.fails(command, "nobody") == (1, "there is no nobody")


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["add", "carol", "hunter2"], "unexpected extra argument"),
        (["add", "carol", "--password", "hunter2"], "No such option"),
        (["add", "a\x07b"], "a name of 1 to 255 characters, none of which SASLprep forbids (RFC 4013)"),
        (["add", "x" * 256], "a name of 1 to 255 characters"),
        (["add", ""], "a name of 1 to 255 characters"),
        (["add", "carol", "--no-password", "--cram-md5"], "contradicts the other options"),
        (["add", "carol", "--no-password", "--password-file", "-"], "contradicts the other options"),
        (["add", "carol", "--no-password", "--upstream-user", "c"], "needs --upstream-secret-file as well"),
        (["set", "alice", "--no-upstream", "--upstream-user", "b"], "contradicts the other options"),
        (["set", "alice", "--no-upstream", "--upstream-secret-file", "-"], "contradicts the other options"),
        (["add", "carol", "--no-upstream"], "No such option"),
        (["set", "bob", "--upstream-user", "b"], "needs --upstream-secret-file as well"),
        (["set", "alice", "--upstream-user", "a\nb"], "one line of text, without NUL"),
        (["set", "alice", "--upstream-user", ""], "one line of text, without NUL"),
        (["set", "alice", "--password-file", "/nonexistent"], "No such file or directory"),
        (["set", "alice", "--upstream-secret-file", "/nonexistent"], "No such file or directory"),
        (["nonsense"], "No such command"),
    ],
)
def test_a_usage_error_is_2(staffed: Desk, arguments: list[str], hint: str) -> None:
    code, said = staffed.fails(*arguments)
    assert code == 2
    assert hint in said


@pytest.mark.parametrize("option", ["--password-file", "--upstream-secret-file"])
@pytest.mark.parametrize(
    ("octets", "trouble"),
    [
        (b"", "nothing"),
        (b"\n", "nothing"),
        (b"hunter2\xff", "octets that are not UTF-8"),
        (b"hunter2\0", "NUL"),
        (b"hunter2\nmore", "several lines"),
        (b"hunter2\n\n", "several lines"),
        (b"hunter2\rmore\n", "several lines"),
    ],
)
def test_a_secret_that_nobody_could_send_is_2_and_not_shown(
    staffed: Desk, option: str, octets: bytes, trouble: str
) -> None:
    file = staffed.holding("secret", octets)
    code, said = staffed.fails("set", "alice", option, file)
    assert code == 2
    assert f"found {trouble} in {file}, expected a password on one line, and nothing else" in said
    assert "hunter2" not in said


def test_a_typed_password_that_nobody_could_send_is_2(staffed: Desk) -> None:
    code, said = staffed.fails("set", "alice", typed="hunter2\0\nhunter2\0\n")
    assert code == 2
    assert "a password in UTF-8, not empty, without NUL" in said


def test_a_bad_users_file_is_78_before_anything_is_asked(desk: Desk) -> None:
    desk.file.write_text('salt_key = "hunter2"\n')
    desk.file.chmod(0o600)
    for arguments in (["add", "a"], ["set", "a"], ["remove", "a"], ["list"], ["verify", "a"]):
        code, said = desk.fails(*arguments)
        assert code == 78
        assert said.startswith("FILE: salt_key: found a text that is not shown, expected 32 random octets")


def test_a_file_that_others_can_read_is_78(staffed: Desk) -> None:
    staffed.file.chmod(0o644)
    assert staffed.fails("list") == (
        78,
        "FILE: found mode 0644, so that others can read or change it, expected mode 0600, or at most 0640",
    )


@pytest.mark.parametrize("arguments", [["set", "a"], ["remove", "a"], ["list"], ["verify", "a"]])
def test_no_users_file_is_78(desk: Desk, arguments: list[str]) -> None:
    assert desk.fails(*arguments) == (78, "FILE: found No such file or directory, expected a file that can be read")


@pytest.mark.parametrize("arguments", [["add", "a"], ["set", "a"], ["remove", "a"], ["list"], ["verify", "a"]])
def test_a_users_file_that_cannot_be_looked_at_is_78(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "plain").write_text("")
    told = "FILE: found Not a directory, expected a file that can be read"
    assert Desk(tmp_path / "plain").fails(*arguments) == (78, told)


def test_it_says_for_what_it_waits(staffed: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    edit, patience = userfile.edit, []

    def locked(path: Path, change: userfile.Edit, *, new: bool, **longer: float) -> userfile.Loaded:
        patience.append(longer.get("patience_seconds"))
        if not longer:
            raise userfile.Locked(path.parent)
        return edit(path, change, new=new)

    monkeypatch.setattr(userfile, "edit", locked)
    result = staffed.does("remove", "alice")
    assert result.stderr == f"waiting: somebody holds the lock on {staffed.folder}; `lslocks` tells who\n"
    assert patience == [None, 60]
    assert list(staffed.users()) == ["bob"]


def test_a_lock_that_somebody_keeps_is_69(staffed: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 100))
    monkeypatch.setattr(userfile, "_lock", lambda _descriptor: False)
    monkeypatch.setattr(userfile, "monotonic", lambda: next(now))
    code, said = staffed.fails("remove", "alice")
    assert code == 69
    assert said.splitlines()[-1] == (f"gatepost: FILE cannot be written: somebody holds the lock on {staffed.folder}")


def test_what_the_system_refuses_is_69(staffed: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(_descriptor: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "fsync", read_only)
    assert staffed.fails("remove", "alice") == (69, "gatepost: FILE cannot be written: Read-only file system")


def test_a_missing_folder_is_69(tmp_path: Path) -> None:
    code, said = Desk(tmp_path / "none").fails("add", "carol", "--no-password")
    assert (code, said) == (69, "gatepost: FILE cannot be written: No such file or directory")


# --- the users file by the settings ----------------------------------------------------------------------------------


def by_settings(folder: Path, content: bytes, *arguments: str) -> Result:
    settings = folder / "gatepost.toml"
    settings.write_bytes(content)
    return CliRunner().invoke(program, ["user", *arguments, "--config", str(settings)])


def test_the_settings_name_the_users_file(staffed: Desk) -> None:
    result = by_settings(staffed.folder, b'[users]\nfile = "users.toml"\n', "list")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("alice: argon2")


def test_the_first_user_is_added_while_the_settings_still_lack_the_file(desk: Desk) -> None:
    result = by_settings(desk.folder, b'[users]\nfile = "users.toml"\n', "add", "carol", "--no-password")
    assert result.exit_code == 0, result.output
    assert list(desk.users()) == ["carol"]


@pytest.mark.parametrize(
    "content",
    [b"", b"users = 1", b"[users]", b"[users]\nfile = 1", b'[users]\nfille = "x"', b"hunter2", b"\xffhunter2"],
)
def test_settings_without_a_users_file_are_78(desk: Desk, content: bytes) -> None:
    result = by_settings(desk.folder, content, "list")
    assert result.exit_code == 78
    assert result.stderr.endswith("found no [users] with a file that can be used; `gatepost check` says more\n")
    assert "hunter2" not in result.output


def test_missing_settings_are_78(desk: Desk) -> None:
    result = CliRunner().invoke(program, ["user", "list", "--config", str(desk.folder / "none.toml")])
    assert result.exit_code == 78


@pytest.mark.parametrize("arguments", [[], ["--config", "gatepost.toml", "--file", "users.toml"]])
def test_it_is_one_of_the_settings_and_the_file(arguments: list[str]) -> None:
    result = CliRunner().invoke(program, ["user", "list", *arguments])
    assert result.exit_code == 2
    assert "--config or --file" in result.stderr
