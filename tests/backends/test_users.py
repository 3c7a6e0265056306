"""The users file as a store: what it answers, that answers do not tell who is known, and what it writes back."""

from __future__ import annotations

import errno
import threading
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from argon2.exceptions import VerificationError
from trio.testing import MockClock, wait_all_tasks_blocked

from gatepost.backends import passwords, userfile
from gatepost.backends.asking import NoAnswer
from gatepost.backends.roster import Credentials, Roster, User
from gatepost.backends.store import Store
from gatepost.backends.userformat import Unusable
from gatepost.backends.users import LAST_WRITE_SECONDS, WAITING_PER_VERIFICATION, WRITE_AGAIN_SECONDS, Users
from gatepost.facts import BackendResult, UsersLoaded
from gatepost.sasl.questions import CheckPassword, FindPassword, FindUpstreamLogin, FindVerifier, Hash, UpstreamLogin
from gatepost.sasl.scram import salted_password, verifier
from gatepost.sasl.secret import Secret
from gatepost.settings import UsersSettings
from users_made import ITERATIONS, PASSWORD, WRONG, Notes, argon2, everything, forms, hashed, scram, write

BOTH = (Hash.SHA_1, Hash.SHA_256)


class Served:
    """A store on a file, and what it recorded."""

    def __init__(self, path: Path, *, learn: bool = False, verifications: int = 2, **users: User) -> None:
        self.file = write(path / "users.toml", **users)
        self.settings = UsersSettings(file=self.file, learn=learn, verifications=verifications)
        self.notes = Notes()
        self.users = self.again()

    def again(self) -> Users:
        """As after a restart, or in another worker."""
        return Users(self.settings, self.notes.facts.append)

    def kept(self, name: str) -> User:
        """What the file says now."""
        return userfile.load(self.file).roster.users[name]

    async def check(self, name: str, password: Secret = PASSWORD) -> bool:
        return await self.users.check_password(CheckPassword(name, password))

    async def learn(self, name: str) -> bool:
        """A good login, and what it taught written."""
        good = await self.check(name)
        await self.users.write_back()
        return good

    async def rotate(self, name: str, token: Secret) -> None:
        """A new token, and written."""
        await self.users.replace_upstream_secret(name, token)
        await self.users.write_back()

    async def login(self, name: str) -> UpstreamLogin | None:
        return await self.users.find_upstream_login(FindUpstreamLogin(name))


def test_it_is_a_store(tmp_path: Path) -> None:
    store: Store = Served(tmp_path).users
    assert isinstance(store, Users)


# --- verifiers -------------------------------------------------------------------------------------------------------


async def test_a_known_user_has_the_verifier_that_is_stored(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=everything())
    for hash_ in BOTH:
        assert await it.users.find_verifier(FindVerifier("alice", hash_)) == everything().credentials.scram[hash_]


@pytest.mark.parametrize("hash_", BOTH)
async def test_an_unknown_user_always_has_the_same_salt_and_iterations(tmp_path: Path, hash_: Hash) -> None:
    it = Served(tmp_path, alice=everything())
    first = await it.users.find_verifier(FindVerifier("nobody", hash_))
    second = await it.again().find_verifier(FindVerifier("nobody", hash_))
    other = await it.users.find_verifier(FindVerifier("someone", hash_))
    assert (first.salt, first.iterations) == (second.salt, second.iterations)
    assert (len(first.salt), first.iterations) == (len(other.salt), other.iterations) == (16, ITERATIONS)
    assert first.salt != other.salt
    assert first.stored_key != second.stored_key
    assert len(first.stored_key.reveal()) == {Hash.SHA_1: 20, Hash.SHA_256: 32}[hash_]


async def test_a_users_salt_differs_by_hash_and_by_file(tmp_path: Path) -> None:
    it = Served(tmp_path)
    one, other = [(await it.users.find_verifier(FindVerifier("nobody", hash_))).salt for hash_ in BOTH]
    assert one != other
    assert Roster.empty().salt("nobody", Hash.SHA_1) != one


async def test_made_up_verifiers_look_like_most(tmp_path: Path) -> None:
    def user(salt: bytes) -> User:
        return User(scram(Hash.SHA_256, salt=salt))

    it = Served(tmp_path, a=user(b"x" * 12), b=user(b"y" * 24), c=user(b"z" * 24))
    assert len((await it.users.find_verifier(FindVerifier("nobody", Hash.SHA_256))).salt) == 24
    assert len((await it.users.find_verifier(FindVerifier("nobody", Hash.SHA_1))).salt) == 16
    assert (await it.users.find_verifier(FindVerifier("nobody", Hash.SHA_1))).iterations == 10_000


async def test_no_password_fits_a_made_up_verifier(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=hashed())
    found = await it.users.find_verifier(FindVerifier("alice", Hash.SHA_256))
    salted = salted_password(Hash.SHA_256, PASSWORD, found.salt, found.iterations)
    assert verifier(Hash.SHA_256, salted, found.salt, found.iterations).stored_key != found.stored_key


@pytest.mark.parametrize("learn", [False, True])
async def test_transition_tells_nothing_about_the_user(tmp_path: Path, *, learn: bool) -> None:
    it = Served(tmp_path, learn=learn, alice=everything(), bob=hashed())
    for name in ("alice", "bob", "nobody"):
        for hash_ in BOTH:
            assert (await it.users.find_verifier(FindVerifier(name, hash_))).transition is learn


# --- passwords themselves, and logins for the upstream ---------------------------------------------------------------


async def test_find_password(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=everything(), bob=hashed())
    assert await it.users.find_password(FindPassword("alice")) == PASSWORD
    for name in ("bob", "nobody"):
        one, other = [await it.users.find_password(FindPassword(name)) for _ in range(2)]
        assert one != other
        assert len(one.reveal()) == 32


async def test_find_upstream_login(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=everything(), bob=hashed())
    assert await it.login("alice") == everything().upstream
    assert await it.login("bob") is None
    assert await it.login("nobody") is None


async def test_looking_up_is_not_counted(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=everything())
    await it.users.find_password(FindPassword("alice"))
    await it.users.find_verifier(FindVerifier("alice", Hash.SHA_1))
    await it.login("alice")
    assert it.notes.facts == []


@pytest.mark.parametrize(("name", "known"), [("Alice", True), ("\uff21lice", False), ("alice", False)])
async def test_names_are_compared_exactly(tmp_path: Path, name: str, *, known: bool) -> None:
    it = Served(tmp_path, Alice=everything())
    assert (await it.login(name) is not None) is known
    assert await it.check(name) is known
    assert (await it.users.find_password(FindPassword(name)) == PASSWORD) is known
    assert (await it.users.find_verifier(FindVerifier(name, Hash.SHA_1))).salt.startswith(b"salt of") is known


@pytest.mark.parametrize("name", ["", "a\0b", "\u0627x", "x" * 5000])
async def test_a_name_that_cannot_be_is_an_unknown_one(tmp_path: Path, name: str) -> None:
    it = Served(tmp_path, alice=everything())
    assert not await it.check(name)
    assert await it.login(name) is None
    assert len((await it.users.find_verifier(FindVerifier(name, Hash.SHA_1))).salt) == 16


# --- checking a password ---------------------------------------------------------------------------------------------

FORMS = {
    "everything": everything().credentials,
    "argon2": hashed().credentials,
    "scram-sha-1": scram(Hash.SHA_1),
    "scram-sha-256": scram(Hash.SHA_256),
    "password": Credentials(password=PASSWORD),
}


@pytest.mark.parametrize("kept", FORMS.values(), ids=FORMS.keys())
async def test_a_password_is_checked_by_whatever_is_kept_of_it(tmp_path: Path, kept: Credentials) -> None:
    it = Served(tmp_path, alice=User(kept))
    assert await it.check("alice")
    assert not await it.check("alice", WRONG)
    assert not await it.check("nobody")
    assert it.notes.asked() == [("passwords", "answered")] * 3


async def test_who_has_no_password_has_no_right_one(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=User())
    for password in (PASSWORD, Secret(b""), Secret(b"\xff")):
        assert not await it.check("alice", password)


async def test_the_strongest_form_decides(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=User(replace(everything().credentials, argon2=argon2(WRONG))))
    assert await it.check("alice", WRONG)
    assert not await it.check("alice", PASSWORD)


async def test_passwords_are_compared_after_saslprep(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=User(Credentials(argon2(Secret("\u00e9t\u00e9".encode())))))
    assert await it.check("alice", Secret("e\u0301te\u0301".encode()))


class Work:
    """What the hashing was asked to do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[tuple[object, ...]] = []

        class Hasher(type(passwords._HASHER)):  # type: ignore[misc]  # noqa: SLF001
            def verify(hasher, phc: bytes, password: bytes) -> bool:
                parameters, salt, digest = phc.rsplit(b"$", 2)
                self.done.append((parameters, len(salt), len(digest)))
                return bool(super().verify(phc, password))

        def deriving(hash_: Hash, secret: Secret, salt: bytes, iterations: int) -> Secret:
            self.done.append((hash_, len(salt), iterations))
            return salted_password(hash_, secret, salt, iterations)

        monkeypatch.setattr(passwords, "_HASHER", Hasher())
        monkeypatch.setattr(passwords, "salted_password", deriving)

    def take(self) -> list[tuple[object, ...]]:
        done, self.done = self.done, []
        return done


async def test_an_unknown_user_costs_what_a_known_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Served(tmp_path, alice=everything(), bob=hashed(), carol=User(scram(Hash.SHA_256)), dave=User())
    work = Work(monkeypatch)
    costs = []
    for name in ("alice", "bob", "carol", "dave", "nobody"):
        for password in (PASSWORD, WRONG):
            await it.check(name, password)
            costs.append(work.take())
    assert costs[0] == [(b"$argon2id$v=19$m=8,t=1,p=1", 22, 43), (Hash.SHA_256, 16, ITERATIONS)]
    assert all(cost == costs[0] for cost in costs)


async def test_without_any_hash_in_the_file_the_work_is_that_of_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Served(tmp_path)
    work = Work(monkeypatch)
    assert not await it.check("nobody")
    assert work.take() == [(b"$argon2id$v=19$m=65536,t=3,p=4", 22, 43), (Hash.SHA_256, 16, 10_000)]


async def test_no_memory_to_hash_in_is_no_answer_and_no_wrong_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hasher:
        def verify(self, _phc: bytes, _password: bytes) -> bool:
            raise VerificationError("Memory allocation error")

    it = Served(tmp_path, alice=hashed())
    monkeypatch.setattr(passwords, "_HASHER", Hasher())
    with pytest.raises(NoAnswer) as caught:
        await it.check("alice")
    assert caught.value.result is BackendResult.BUSY
    assert it.notes.asked() == [("passwords", "busy")]


class Held:
    """Hashing that waits until it is let go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = threading.Event()
        self.begun = threading.Semaphore(0)
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self._fits = passwords.fits
        monkeypatch.setattr(passwords, "fits", self.fits)

    def fits(self, kept: Credentials, roster: Roster, secret: Secret) -> bool:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.release()
        self.free.wait()
        with self._lock:
            self.at_once -= 1
        return self._fits(kept, roster, secret)


async def test_a_flood_waits_up_to_a_bound_and_is_then_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Served(tmp_path, verifications=2, alice=hashed())
    held, answers = Held(monkeypatch), []

    async def check() -> None:
        answers.append(await it.check("alice"))

    async with trio.open_nursery() as nursery:
        for _ in range(2 + 2 * WAITING_PER_VERIFICATION):
            nursery.start_soon(check)
        await wait_all_tasks_blocked()
        with pytest.raises(NoAnswer) as caught:
            await it.check("alice")
        for _ in range(2):
            await trio.to_thread.run_sync(held.begun.acquire)
        held.free.set()
    assert caught.value.result is BackendResult.BUSY
    assert answers == [True] * (2 + 2 * WAITING_PER_VERIFICATION)
    assert held.most_at_once == 2
    assert it.notes.asked()[0] == ("passwords", "busy")
    assert await it.check("alice")


async def test_who_stops_waiting_is_counted_as_timed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Served(tmp_path, verifications=1, alice=hashed())
    held = Held(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.check, "alice")
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await it.check("alice")
        assert it.notes.asked() == [("passwords", "timed_out")]
        held.free.set()


async def test_who_is_cancelled_while_a_password_is_hashed_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Served(tmp_path, verifications=1, alice=hashed())
    held = Held(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.check, "alice")
        await trio.to_thread.run_sync(held.begun.acquire)
        nursery.cancel_scope.cancel()
    assert it.notes.asked() == [("passwords", "timed_out")]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.check, "alice")
        await wait_all_tasks_blocked()
        assert held.at_once == 1  # whoever comes next still waits for the thread
        held.free.set()
    assert held.most_at_once == 1


# --- learning --------------------------------------------------------------------------------------------------------


async def test_a_good_login_teaches_what_scram_needs(tmp_path: Path) -> None:
    it = Served(tmp_path, learn=True, alice=hashed())
    shown = {hash_: await it.users.find_verifier(FindVerifier("alice", hash_)) for hash_ in BOTH}
    assert await it.learn("alice")
    kept = it.kept("alice")
    for hash_ in BOTH:
        known = kept.credentials.scram[hash_]
        assert (known.salt, known.iterations) == (shown[hash_].salt, shown[hash_].iterations)
        assert known == verifier(hash_, salted_password(hash_, PASSWORD, known.salt, 10_000), known.salt, 10_000)
        assert await it.users.find_verifier(FindVerifier("alice", hash_)) == replace(known, transition=True)
    assert kept.credentials.argon2 == it.users._roster.users["alice"].credentials.argon2  # noqa: SLF001
    assert it.notes.asked() == [("passwords", "answered"), ("users", "answered")]
    assert not await it.users.reload()  # it knows what it wrote itself


async def test_what_is_there_already_is_not_made_anew(tmp_path: Path) -> None:
    it = Served(tmp_path, learn=True, alice=User(scram(Hash.SHA_1)))
    assert await it.learn("alice")
    kept = it.kept("alice").credentials.scram
    assert kept[Hash.SHA_1] == scram(Hash.SHA_1).scram[Hash.SHA_1]
    assert set(kept) == set(BOTH)
    content = it.file.read_bytes()
    assert await it.learn("alice")
    assert it.file.read_bytes() == content
    assert it.notes.asked().count(("users", "answered")) == 1


@pytest.mark.parametrize(("learn", "password"), [(False, PASSWORD), (True, WRONG)])
async def test_a_wrong_password_teaches_nothing_nor_does_one_unasked(
    tmp_path: Path, password: Secret, *, learn: bool
) -> None:
    it = Served(tmp_path, learn=learn, alice=hashed())
    content = it.file.read_bytes()
    await it.check("alice", password)
    await it.check("nobody", password)
    await it.users.write_back()
    assert it.file.read_bytes() == content
    assert ("users", "answered") not in it.notes.asked()


def break_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(_path: Path, _content: bytes) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(userfile, "_replace", read_only)


async def test_a_disk_that_cannot_be_written_fails_no_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    it = Served(tmp_path, learn=True, alice=hashed(), bob=hashed())
    with monkeypatch.context() as broken:
        break_disk(broken)
        assert await it.learn("alice")
    assert it.notes.asked() == [("passwords", "answered"), ("users", "unreachable")]
    learned = await it.users.find_verifier(FindVerifier("alice", Hash.SHA_256))
    salted = salted_password(Hash.SHA_256, PASSWORD, learned.salt, learned.iterations)
    assert verifier(Hash.SHA_256, salted, learned.salt, learned.iterations).stored_key == learned.stored_key
    assert it.kept("alice").credentials.scram == {}
    assert await it.learn("bob")
    assert it.kept("bob").credentials.scram == {}  # a disk that fails is not tried at each login
    mock_clock.jump(WRITE_AGAIN_SECONDS)
    await it.users.write_back()
    assert set(it.kept("alice").credentials.scram) == set(it.kept("bob").credentials.scram) == set(BOTH)


async def test_a_password_that_was_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    it = Served(tmp_path, learn=True, alice=hashed())
    changed = User(Credentials(argon2(WRONG)))
    userfile.edit(it.file, lambda roster: roster.including("alice", changed))
    assert await it.learn("alice")  # by what was in memory
    assert it.kept("alice") == changed
    assert not await it.check("alice")
    assert await it.check("alice", WRONG)


# --- reloading -------------------------------------------------------------------------------------------------------


async def test_a_change_is_in_use_after_a_reload(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=hashed())
    assert not await it.users.reload()
    write(it.file, alice=hashed(), bob=everything())
    assert await it.login("bob") is None
    assert await it.users.reload()
    assert await it.login("bob") == everything().upstream
    assert it.users.loaded == UsersLoaded(str(it.file), 2)
    assert not await it.users.reload()


async def test_the_swap_of_a_symlink_is_a_change(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "users.toml", **{name: hashed()})
    data, file = tmp_path / "..data", tmp_path / "users.toml"
    data.symlink_to("one")
    file.symlink_to("..data/users.toml")
    users = Users(UsersSettings(file=file), Notes().facts.append)
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(data)
    assert await users.reload()
    assert await users.check_password(CheckPassword("two", PASSWORD))
    assert not await users.check_password(CheckPassword("one", PASSWORD))


@pytest.mark.parametrize("content", [None, b"", b"hunter2"])
async def test_a_bad_file_keeps_the_last_good_one(tmp_path: Path, content: bytes | None) -> None:
    it = Served(tmp_path, alice=everything())
    it.file.unlink() if content is None else it.file.write_bytes(content)
    with pytest.raises(Unusable) as caught:
        await it.users.reload()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert await it.check("alice")
    write(it.file, bob=everything())
    assert await it.users.reload()
    assert not await it.check("alice")


async def test_a_bad_file_is_read_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, reads, load = Served(tmp_path, alice=everything()), [], userfile.load

    def counted(path: Path) -> userfile.Loaded:
        reads.append(path)
        return load(path)

    monkeypatch.setattr(userfile, "load", counted)
    it.file.write_bytes(b"bad")
    with pytest.raises(Unusable):
        await it.users.reload()
    for _ in range(3):
        assert not await it.users.reload()
    assert len(reads) == 1
    it.file.write_bytes(b"worse")
    with pytest.raises(Unusable):
        await it.users.reload()
    assert len(reads) == 2
    assert await it.check("alice")


async def test_a_file_that_could_not_be_read_is_read_again_though_it_has_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few_descriptors(_path: str, _flags: int) -> int:
        raise OSError(24, "Too many open files")

    it = Served(tmp_path, alice=hashed(), bob=hashed())
    write(it.file, alice=hashed())
    with monkeypatch.context() as broken:
        broken.setattr(userfile, "_open_at_once", few_descriptors)
        for _ in range(2):
            with pytest.raises(Unusable, match="Too many open files"):
                await it.users.reload()
    assert await it.users.reload()
    assert not await it.check("bob")


async def test_a_file_that_became_readable_for_others_is_refused(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=hashed())
    it.file.chmod(0o644)
    with pytest.raises(Unusable, match="found mode 0644"):
        await it.users.reload()
    assert await it.check("alice")
    it.file.chmod(0o600)
    assert await it.users.reload()


async def test_the_last_user_that_is_removed_is_out(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=hashed())
    write(it.file)
    assert await it.users.reload()
    assert not await it.check("alice")


async def test_a_file_without_users_is_good_while_there_are_none(tmp_path: Path) -> None:
    it = Served(tmp_path)
    userfile.edit(it.file, lambda roster: roster)
    assert await it.users.reload()
    write(it.file, alice=hashed())
    assert await it.users.reload()


async def test_a_reload_while_a_password_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Served(tmp_path, learn=True, alice=hashed())
    held, answers = Held(monkeypatch), []

    async def check() -> None:
        answers.append(await it.check("alice"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(check)
        await wait_all_tasks_blocked()
        write(it.file, bob=hashed())
        assert await it.users.reload()
        held.free.set()
    assert answers == [True]
    await it.users.write_back()
    assert list(userfile.load(it.file).roster.users) == ["bob"]  # who was removed does not come back by learning
    assert not await it.check("alice")


def test_a_bad_file_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="No such file"):
        Users(UsersSettings(file=tmp_path / "none.toml"), Notes().facts.append)


# --- replacing the secret for the upstream ---------------------------------------------------------------------------

TOKENS = [Secret(b"token %d" % number) for number in range(4)]


def holder(token: Secret) -> User:
    return User(hashed().credentials, UpstreamLogin("alice-at-legacy", token))


async def test_a_rotated_token_is_in_use_and_in_the_file(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=holder(TOKENS[0]), bob=hashed())
    bob = it.kept("bob")
    await it.users.replace_upstream_secret("alice", TOKENS[1])
    assert await it.login("alice") == UpstreamLogin("alice-at-legacy", TOKENS[1])
    await it.users.write_back()
    assert it.kept("alice").upstream == UpstreamLogin("alice-at-legacy", TOKENS[1])
    assert it.kept("bob") == bob
    await it.rotate("bob", TOKENS[2])
    assert it.kept("bob").upstream == UpstreamLogin("", TOKENS[2])
    assert it.notes.asked() == [("users", "answered")] * 2


async def test_a_token_for_nobody_is_dropped(tmp_path: Path) -> None:
    it = Served(tmp_path)
    await it.rotate("nobody", TOKENS[1])
    assert await it.login("nobody") is None
    assert it.notes.facts == []


async def test_a_token_that_cannot_be_written_is_kept_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    it = Served(tmp_path, alice=holder(TOKENS[0]), bob=hashed())
    with monkeypatch.context() as broken:
        break_disk(broken)
        await it.rotate("alice", TOKENS[1])
        await it.rotate("alice", TOKENS[2])
        mock_clock.jump(WRITE_AGAIN_SECONDS)
        await it.users.write_back()
    assert it.notes.asked() == [("users", "unreachable")] * 2
    userfile.edit(it.file, lambda roster: roster.including("carol", User()))
    assert await it.users.reload()
    assert await it.login("alice") == UpstreamLogin("alice-at-legacy", TOKENS[2])
    mock_clock.jump(WRITE_AGAIN_SECONDS)
    await it.users.write_back()
    assert it.kept("alice").upstream == UpstreamLogin("alice-at-legacy", TOKENS[2])
    assert set(userfile.load(it.file).roster.users) == {"alice", "bob", "carol"}


async def test_a_token_that_an_operator_set_meanwhile_is_the_better_one(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=holder(TOKENS[0]), bob=hashed())
    await it.users.replace_upstream_secret("alice", TOKENS[1])
    userfile.edit(it.file, lambda roster: roster.including("alice", holder(TOKENS[3])))
    assert await it.users.reload()
    assert await it.login("alice") == UpstreamLogin("alice-at-legacy", TOKENS[3])
    assert it.users._unwritten == {}  # noqa: SLF001
    await it.rotate("bob", TOKENS[2])
    assert it.kept("alice").upstream == UpstreamLogin("alice-at-legacy", TOKENS[3])


async def test_a_user_who_was_removed_does_not_come_back_by_a_token(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=holder(TOKENS[0]), bob=hashed())
    await it.users.replace_upstream_secret("alice", TOKENS[1])
    userfile.edit(it.file, lambda roster: roster.without("alice"))
    await it.rotate("bob", TOKENS[2])
    assert list(userfile.load(it.file).roster.users) == ["bob"]
    assert await it.login("alice") is None
    assert await it.login("bob") == UpstreamLogin("", TOKENS[2])


async def test_a_token_that_changes_while_the_last_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Served(tmp_path, alice=holder(TOKENS[0]), bob=holder(TOKENS[0]))
    writing, go_on, edit, edits = threading.Event(), threading.Event(), userfile.edit, []

    def slow(path: Path, change: userfile.Edit, **_patience: float) -> userfile.Loaded:
        edits.append(change)
        writing.set()
        go_on.wait()
        return edit(path, change)

    monkeypatch.setattr(userfile, "edit", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.rotate, "alice", TOKENS[1])
        await trio.to_thread.run_sync(writing.wait)
        nursery.start_soon(it.rotate, "alice", TOKENS[2])
        nursery.start_soon(it.rotate, "bob", TOKENS[3])
        await wait_all_tasks_blocked()
        assert await it.login("alice") == UpstreamLogin("alice-at-legacy", TOKENS[2])
        go_on.set()
    assert await it.login("alice") == it.kept("alice").upstream == UpstreamLogin("alice-at-legacy", TOKENS[2])
    assert await it.login("bob") == it.kept("bob").upstream == UpstreamLogin("alice-at-legacy", TOKENS[3])
    assert it.users._unwritten == {}  # noqa: SLF001
    assert len(edits) == 2  # what waited was written at once


async def test_two_workers_learn_and_replace_at_the_same_time(tmp_path: Path) -> None:
    it = Served(tmp_path, learn=True, alice=holder(TOKENS[0]), bob=hashed())
    other = it.again()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.users.replace_upstream_secret, "alice", TOKENS[1])
        nursery.start_soon(other.check_password, CheckPassword("alice", PASSWORD))
        nursery.start_soon(it.users.check_password, CheckPassword("bob", PASSWORD))
        nursery.start_soon(other.check_password, CheckPassword("bob", PASSWORD))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.users.write_back)
        nursery.start_soon(other.write_back)
    for name in ("alice", "bob"):
        assert set(it.kept(name).credentials.scram) == set(BOTH)
    assert it.kept("alice").upstream == UpstreamLogin("alice-at-legacy", TOKENS[1])
    await other.reload()
    assert await other.find_upstream_login(FindUpstreamLogin("alice")) == it.kept("alice").upstream


class Stuck:
    """Edits that wait until they are let go on, as on a disk that hangs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.free = threading.Event()
        self._edit = userfile.edit
        monkeypatch.setattr(userfile, "edit", self.edit)

    def edit(self, path: Path, change: userfile.Edit, **_patience: float) -> userfile.Loaded:
        self.begun.release()
        self.free.wait()
        try:
            return self._edit(path, change)
        finally:
            self.done.release()


async def test_who_is_cancelled_while_writing_loses_no_token_and_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, stuck = Served(tmp_path, alice=holder(TOKENS[0])), Stuck(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.rotate, "alice", TOKENS[1])
        await trio.to_thread.run_sync(stuck.begun.acquire)
        nursery.cancel_scope.cancel()
    assert it.notes.asked() == [("users", "timed_out")]
    assert await it.login("alice") == UpstreamLogin("alice-at-legacy", TOKENS[1])
    await it.users.replace_upstream_secret("alice", TOKENS[2])
    stuck.free.set()
    await trio.to_thread.run_sync(stuck.done.acquire)
    assert it.kept("alice").upstream == UpstreamLogin("alice-at-legacy", TOKENS[1])  # the thread went on by itself
    await it.users.write_back()
    assert it.kept("alice").upstream == UpstreamLogin("alice-at-legacy", TOKENS[2])
    assert it.users._unwritten == {}  # noqa: SLF001


# --- a file that nobody can get at -----------------------------------------------------------------------------------


async def test_logins_and_reloads_do_not_wait_for_the_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it, stuck = Served(tmp_path, learn=True, alice=hashed(), bob=hashed()), Stuck(monkeypatch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.learn, "alice")
        await trio.to_thread.run_sync(stuck.begun.acquire)
        assert await it.check("bob")
        await it.users.replace_upstream_secret("bob", TOKENS[1])
        assert await it.login("bob") == UpstreamLogin("", TOKENS[1])
        stuck.free.set()


async def test_while_somebody_keeps_the_lock_users_log_in_and_a_removed_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Served(tmp_path, learn=True, alice=hashed(), bob=hashed())
    with monkeypatch.context() as kept:
        kept.setattr(userfile, "_lock", lambda _descriptor: False)
        kept.setattr(userfile, "monotonic", iter(range(1000)).__next__)
        assert await it.learn("alice")
        assert it.notes.asked() == [("passwords", "answered"), ("users", "busy")]
        write(it.file, alice=it.kept("alice"))
        assert await it.users.reload()
        assert not await it.check("bob")
    await it.users.write_back()  # there is no minute of rest, for to look at the lock costs nothing
    assert set(it.kept("alice").credentials.scram) == set(BOTH)


async def test_a_token_wakes_who_writes_and_what_can_be_learned_again_does_not(tmp_path: Path) -> None:
    it, woken = Served(tmp_path, learn=True, alice=hashed()), []

    async def wait() -> None:
        await it.users.wait_urgent()
        woken.append(it.users)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await it.check("alice")
        await wait_all_tasks_blocked()
        assert woken == []
        await it.users.replace_upstream_secret("alice", TOKENS[1])
        await wait_all_tasks_blocked()
        assert woken == [it.users]
        await it.users.write_back()
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert len(woken) == 1
        nursery.cancel_scope.cancel()


async def test_a_token_that_cannot_be_written_wakes_nobody_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Served(tmp_path, alice=holder(TOKENS[0]))
    break_disk(monkeypatch)
    for token in TOKENS[1:3]:
        await it.rotate("alice", token)
        with trio.move_on_after(0) as waiting:
            await it.users.wait_urgent()
        assert waiting.cancelled_caught
    assert it.notes.asked() == [("users", "unreachable")]


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_at_the_end_what_is_left_is_written_also_when_cancelled_or_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Served(tmp_path, learn=True, alice=holder(TOKENS[0]))
    with monkeypatch.context() as broken:
        break_disk(broken)
        await it.rotate("alice", TOKENS[1])
    await it.check("alice")
    with trio.CancelScope() as scope:
        scope.cancel()
        await it.users.close()
    kept = it.kept("alice")
    assert kept.upstream == UpstreamLogin("alice-at-legacy", TOKENS[1])
    assert set(kept.credentials.scram) == set(BOTH)


async def test_the_end_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    it, stuck = Served(tmp_path, alice=holder(TOKENS[0])), Stuck(monkeypatch)
    await it.users.replace_upstream_secret("alice", TOKENS[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.users.close)
        await trio.to_thread.run_sync(stuck.begun.acquire)
        mock_clock.jump(LAST_WRITE_SECONDS)
    assert it.notes.asked() == [("users", "timed_out")]
    stuck.free.set()
    await trio.to_thread.run_sync(stuck.done.acquire)


async def test_without_anything_to_write_the_end_does_not_touch_the_file(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=holder(TOKENS[0]))
    it.file.unlink()
    await it.users.close()
    assert it.notes.facts == []
    assert not it.file.exists()


# --- secrets ---------------------------------------------------------------------------------------------------------


async def test_no_password_is_in_any_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(broken: Callable[[pytest.MonkeyPatch], None], then: Callable[[], Awaitable[object]]) -> str:
        with monkeypatch.context() as patched:
            broken(patched)
            with pytest.raises(Exception) as caught:  # noqa: PT011
                await then()
        return "".join(traceback.format_exception(caught.value)) + repr(caught.value.__context__)

    def no_memory(patched: pytest.MonkeyPatch) -> None:
        patched.setattr(passwords, "_HASHER", type("", (), {"verify": raise_allocation})())

    def bug(patched: pytest.MonkeyPatch) -> None:
        patched.setattr(passwords, "fits", raise_bug)

    it = Served(tmp_path, learn=True, alice=everything())
    shown = [await fail(broken, lambda: it.check("alice")) for broken in (no_memory, bug)]
    shown.append(repr(it.notes.facts) + repr(it.users) + repr(vars(it.users)) + repr(it.users.loaded))
    for text in shown:
        assert not [form for form in forms(PASSWORD) if form in text]
        assert "upstream secret" not in text


def raise_allocation(*_arguments: object) -> None:
    raise VerificationError("Memory allocation error")


def raise_bug(*_arguments: object) -> None:
    raise RuntimeError("a bug")


# --- what must not be lost -------------------------------------------------------------------------------------------


def failing(*_args: object, **_kwargs: object) -> None:
    raise OSError(errno.EROFS, "read-only")


async def test_a_token_that_replaces_one_that_was_set_by_hand_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while something else of that user waits to be written, and cannot be."""
    kept = hashed().credentials
    it = Served(tmp_path, learn=True, alice=User(kept, UpstreamLogin("", Secret(b"T0"))))
    with monkeypatch.context() as patched:
        patched.setattr(userfile, "edit", failing)
        assert await it.learn("alice")
    by_hand = User(kept, UpstreamLogin("", Secret(b"X")))
    userfile.edit(it.file, lambda roster: roster.including("alice", by_hand))
    assert await it.users.reload()
    await it.users.replace_upstream_secret("alice", Secret(b"Y"))
    userfile.edit(it.file, lambda roster: roster.including("bob", hashed()))
    assert await it.users.reload()
    assert await it.login("alice") == UpstreamLogin("", Secret(b"Y"))
    await it.users.close()
    assert it.kept("alice").upstream == UpstreamLogin("", Secret(b"Y"))
    assert it.kept("alice").credentials.scram


async def test_a_write_that_failed_when_it_was_done_loses_no_later_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Served(tmp_path, alice=User(upstream=UpstreamLogin("", Secret(b"T0"))))
    with monkeypatch.context() as patched:
        patched.setattr(userfile, "_sync_folder", failing)
        await it.rotate("alice", Secret(b"T1"))
    assert it.kept("alice").upstream == UpstreamLogin("", Secret(b"T1"))
    await it.users.replace_upstream_secret("alice", Secret(b"T2"))
    assert await it.users.reload()
    assert await it.login("alice") == UpstreamLogin("", Secret(b"T2"))
    await it.users.close()
    assert it.kept("alice").upstream == UpstreamLogin("", Secret(b"T2"))


async def test_symlinks_that_go_round_in_a_circle_end_nothing(tmp_path: Path) -> None:
    it = Served(tmp_path, alice=everything())
    it.file.unlink()
    it.file.symlink_to(it.file)
    await it.rotate("alice", Secret(b"new"))
    assert it.notes.asked()[-1] == ("users", "unreachable")
    assert await it.login("alice") == UpstreamLogin(everything().upstream.user, Secret(b"new"))  # type: ignore[union-attr]
