"""Two legacy servers for all end-to-end tests, and a gatepost in front of the plain one for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from joserfc.jwk import ECKey

from backends.provider import Provider
from backends.provider import running as providing
from e2e.clients import NAME, Door
from e2e.dovecot import MASTER, MASTER_PASSWORD, Legacy, Submission, serving, submitting
from e2e.gateway import Gatepost, running
from e2e.people import PASSWORD, USER
from e2e.postfix import HOST, TRUSTING, Postfix, installed


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def running_postfix(authority: trustme.CA) -> Iterator[Postfix]:
    with installed(authority.issue_cert(HOST), {USER: PASSWORD}, [TRUSTING]) as postfix:
        yield postfix


@pytest.fixture
def postfix(running_postfix: Postfix) -> Postfix:
    """With an empty mailroom, and all that came before in its log."""
    running_postfix.settle()
    running_postfix.mailroom.clear()
    return running_postfix


@pytest.fixture(scope="session")
def running_legacy(authority: trustme.CA) -> Iterator[Legacy]:
    with serving(authority.issue_cert(HOST, NAME), {USER: PASSWORD}, {MASTER: MASTER_PASSWORD}) as legacy:
        yield legacy


@pytest.fixture
def legacy(running_legacy: Legacy) -> Legacy:
    """With every mechanism, and an empty mailroom."""
    running_legacy.postfix.settle()
    running_legacy.postfix.mailroom.clear()
    return running_legacy


@pytest.fixture(scope="module")
def external(authority: trustme.CA) -> Iterator[Submission]:
    """A legacy server that knows clients by their certificates, from the same authority as its own."""
    with submitting(authority.issue_cert(HOST, NAME), authority, [MASTER]) as submission:
        yield submission


@pytest.fixture(scope="module")
def provider(authority: trustme.CA, running_legacy: Legacy) -> Iterator[Provider]:
    """Its JWTs are good at the legacy server."""
    with providing(authority) as provider:
        (key,) = provider.keys
        assert isinstance(key, ECKey)
        assert key.kid
        running_legacy.dovecot.trust(key.as_pem(private=False), kid=key.kid, algorithm="ES256")
        yield provider


@pytest.fixture(scope="module")
def folder(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With gatepost's certificate, and the authority that clients trust."""
    path = tmp_path_factory.mktemp("gatepost")
    issued = authority.issue_cert(NAME)
    issued.cert_chain_pems[0].write_to_path(path / "cert.pem")
    issued.private_key_pem.write_to_path(path / "key.pem")
    authority.cert_pem.write_to_path(path / "ca.pem")
    return path


@pytest.fixture(scope="module")
def gate(running_postfix: Postfix, folder: Path) -> Iterator[Gatepost]:
    """In front of Postfix's clear port; it has probed it once, and does not again."""
    upstream = {"address": f"127.0.0.1:{running_postfix.ports.clear}", "tls": "never", "probe_seconds": 3600}
    with running(folder, upstream) as gatepost:
        gatepost.ready()
        yield gatepost


@pytest.fixture
def submission(gate: Gatepost, folder: Path, tmp_path: Path) -> Door:
    return Door(gate.ports["submission"], implicit=False, authority=folder / "ca.pem", folder=tmp_path)


@pytest.fixture
def submissions(gate: Gatepost, folder: Path, tmp_path: Path) -> Door:
    return Door(gate.ports["submissions"], implicit=True, authority=folder / "ca.pem", folder=tmp_path)
