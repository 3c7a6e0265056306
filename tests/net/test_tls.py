"""TLS on both legs: what is agreed on, who is believed, and what is in the files."""

import hashlib
import ssl
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatehouse import AUTHORITY, HOST, PLAIN, Handler, House, Line, certificates, honest_until, house
from gatepost.facts import HandshakeDone, HandshakeFailed, HandshakeFailure, Leg, UpstreamFailure
from gatepost.net.tls import Certificates, Generation, failure, pinned
from gatepost.settings import CertificateSettings, TlsProfile, TlsSettings


def client(**versions: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    for name, version in versions.items():
        setattr(context, name, version)
    return context


def handshake(server: ssl.SSLContext, context: ssl.SSLContext, name: str = HOST) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a handshake in memory. Raises what the server's or the client's end raises."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = context.wrap_bio(back, there, server_hostname=name)
    other = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for end in (one, other):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return one, other


@pytest.mark.parametrize(
    ("profile", "version", "good"),
    [
        (TlsProfile.MODERN, ssl.TLSVersion.TLSv1_3, True),
        (TlsProfile.MODERN, ssl.TLSVersion.TLSv1_2, False),
        (TlsProfile.INTERMEDIATE, ssl.TLSVersion.TLSv1_3, True),
        (TlsProfile.INTERMEDIATE, ssl.TLSVersion.TLSv1_2, True),
        (TlsProfile.INTERMEDIATE, ssl.TLSVersion.TLSv1_1, False),
        (TlsProfile.OLD, ssl.TLSVersion.TLSv1_2, True),
        (TlsProfile.OLD, ssl.TLSVersion.TLSv1, True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_profiles(tmp_path: Path, profile: TlsProfile, version: ssl.TLSVersion, *, good: bool) -> None:
    server = Certificates(certificates(tmp_path)).context(profile)
    context = client(minimum_version=version, maximum_version=version)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if good:
        assert handshake(server, context)[0].version() == version.name.replace("_", ".").replace("TLSv1.0", "TLSv1")
    else:
        with pytest.raises(ssl.SSLError) as caught:
            handshake(server, context)
        assert failure(caught.value) is HandshakeFailure.UNSUPPORTED_VERSION


def test_no_shared_cipher(tmp_path: Path) -> None:
    server = Certificates(certificates(tmp_path)).context(TlsProfile.INTERMEDIATE)
    context = client(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("AES128-SHA")
    with pytest.raises(ssl.SSLError) as caught:
        handshake(server, context)
    assert failure(caught.value) is HandshakeFailure.NO_SHARED_CIPHER


def test_alpn_is_selected_when_it_is_offered_and_never_demanded(tmp_path: Path) -> None:
    server = Certificates(certificates(tmp_path)).context(TlsProfile.INTERMEDIATE)
    context = client()
    context.set_alpn_protocols(["smtp"])
    assert handshake(server, context)[0].selected_alpn_protocol() == "smtp"
    context.set_alpn_protocols(["h2"])
    assert handshake(server, context)[0].selected_alpn_protocol() is None


def test_the_certificate_is_chosen_by_name(tmp_path: Path) -> None:
    more = []
    for number, name in enumerate(("other.example", "*.wild.example")):
        folder = tmp_path / str(number)
        folder.mkdir()
        made = certificates(folder, name)
        more.append(CertificateSettings(certificate=made.certificate, key=made.key))
    first = certificates(tmp_path)
    settings = TlsSettings(certificate=first.certificate, key=first.key, certificates=tuple(more))
    server = Certificates(settings).context(TlsProfile.INTERMEDIATE)
    for name in (HOST, "other.example", "deep.wild.example"):
        handshake(server, client(), name)  # the client verifies that it is shown this name
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client(), "unknown.example")


def test_a_client_certificate_is_asked_for_and_may_be_left_out(tmp_path: Path) -> None:
    strangers = trustme.CA()
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    made = certificates(tmp_path)
    settings = TlsSettings(certificate=made.certificate, key=made.key, client_ca=tmp_path / "ca.pem")
    server = Certificates(settings).context(TlsProfile.INTERMEDIATE)
    assert handshake(server, client())[1].getpeercert(binary_form=True) is None
    known, unknown = client(maximum_version=ssl.TLSVersion.TLSv1_2), client(maximum_version=ssl.TLSVersion.TLSv1_2)
    AUTHORITY.issue_cert("me@example.org").configure_cert(known)
    strangers.issue_cert("me@example.org").configure_cert(unknown)
    assert handshake(server, known)[1].getpeercert(binary_form=True)
    with pytest.raises(ssl.SSLError):
        handshake(server, unknown)


# --- files -----------------------------------------------------------------------------------------------------------


def serial(certificates: Certificates) -> int:
    shown = handshake(certificates.context(TlsProfile.INTERMEDIATE), client())[0].getpeercert(binary_form=True)
    assert shown
    return x509.load_der_x509_certificate(shown).serial_number


def test_changed_files_are_used_and_bad_ones_are_not(tmp_path: Path) -> None:
    loaded = Certificates(certificates(tmp_path))
    first = serial(loaded)
    assert not loaded.reload()
    certificates(tmp_path)
    assert loaded.reload()
    second = serial(loaded)
    assert second != first
    (tmp_path / "key.pem").write_bytes(AUTHORITY.issue_cert(HOST).private_key_pem.bytes())
    with pytest.raises(ssl.SSLError):
        loaded.reload()
    assert serial(loaded) == second
    (tmp_path / "cert.pem").unlink()
    with pytest.raises(OSError):  # noqa: PT011  missing
        loaded.reload()
    assert serial(loaded) == second
    certificates(tmp_path)
    assert loaded.reload()
    assert serial(loaded) not in (first, second)


def test_a_swapped_symlink_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes swaps mounted secrets: `..data` is a link to a folder, and the files are links through it."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        certificates(tmp_path / folder)
    (tmp_path / "..data").symlink_to("one")
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    loaded = Certificates(TlsSettings(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem"))
    first = serial(loaded)
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert loaded.reload()
    assert serial(loaded) != first


def test_loaded_certificates_tell_their_name_and_end(tmp_path: Path) -> None:
    (loaded,) = Certificates(certificates(tmp_path)).generation.loaded
    assert (loaded.leg, loaded.file, loaded.names) == (Leg.CLIENT, str(tmp_path / "cert.pem"), (HOST,))
    leaf = x509.load_pem_x509_certificates((tmp_path / "cert.pem").read_bytes())[0]
    assert loaded.not_after == leaf.not_valid_after_utc.timestamp()


# --- on the wire -----------------------------------------------------------------------------------------------------


async def test_tls_1_2_and_1_3_over_starttls_and_implicit(tmp_path: Path) -> None:
    async with house(tmp_path) as it:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for implicit in (True, False):
                line = await it.dial(implicit=implicit)
                if not implicit:
                    await line.reply()
                    await line.said(b"EHLO me")
                    assert (await line.said(b"STARTTLS")).startswith(b"220")
                context = client(minimum_version=version, maximum_version=version)
                line.stream = trio.SSLStream(line.stream, context, server_hostname=HOST, https_compatible=True)
                if implicit:
                    assert (await line.reply()).startswith(b"220")
                assert (await line.said(b"EHLO me")).startswith(b"250")
                assert await line.said(PLAIN.strip()) == b"235 2.7.0 Authentication successful"
                assert (await line.said(b"QUIT")).startswith(b"221")
                assert await line.rest() == b""
        await it.notes.ended(4)
    versions = [fact.tls.version for fact in it.notes.facts if isinstance(fact, HandshakeDone)]
    assert sorted(versions) == ["TLSv1.2", "TLSv1.2", "TLSv1.3", "TLSv1.3"]


def secured(context: ssl.SSLContext, *, implicit: bool = False) -> Handler:
    """An upstream that knows STARTTLS, or nothing but TLS."""

    async def handle(leg: Line) -> None:
        if not implicit:
            await leg.send(b"220 legacy\r\n")
            assert (await leg.line()).startswith(b"EHLO")
            await leg.send(b"250-legacy\r\n250 STARTTLS\r\n")
            if await leg.line() != b"STARTTLS":
                return
            await leg.send(b"220 go\r\n")
        leg.stream = trio.SSLStream(leg.stream, context, server_side=True, https_compatible=True)
        if implicit:
            await honest_until(leg, b"never")
        elif await leg.line():
            await leg.send(b"250-legacy\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n")
            while line := await leg.line():
                await leg.send(b"235 ok\r\n" if line.startswith(b"AUTH") else b"221 bye\r\n")

    return handle


def legacy() -> tuple[ssl.SSLContext, str]:
    """A server's context, and the pin of its key."""
    issued = AUTHORITY.issue_cert("legacy.example")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    leaf = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return context, "sha256/" + b64encode(hashlib.sha256(spki).digest()).decode()


async def login_reply(it: House) -> bytes:
    line = await it.connect()
    await line.starttls()
    await line.said(b"EHLO me")
    return await line.said(PLAIN.strip())


@pytest.mark.parametrize("tls", ["starttls", "implicit", "opportunistic"])
@pytest.mark.parametrize("how", ["ca", "pin", "both"])
@pytest.mark.filterwarnings("ignore::trio.TrioDeprecationWarning")
async def test_an_upstream_that_proves_itself(tmp_path: Path, tls: str, how: str) -> None:
    context, pin = legacy()
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority: dict[str, object] = {"ca": tmp_path / "ca.pem"}
    pins: dict[str, object] = {"pins": [pin, "sha256/" + "A" * 43 + "="]}
    proof = {"ca": authority, "pin": pins, "both": authority | pins}[how]
    handler = secured(context, implicit=tls == "implicit")
    async with house(tmp_path, handler, behind={"tls": tls, "server_name": "legacy.example", **proof}) as it:
        assert it.watch.failure is None
        assert it.watch.upstream
        assert it.watch.upstream.encrypted
        assert (await login_reply(it)).startswith(b"235")
        done = [fact for fact in it.notes.facts if isinstance(fact, HandshakeDone) and fact.leg is Leg.UPSTREAM]
    assert [fact.tls.verified for fact in done] == [True]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("authority", HandshakeFailure.BAD_CERTIFICATE),
        ("name", HandshakeFailure.BAD_CERTIFICATE),
        ("pin", HandshakeFailure.BAD_PIN),
        ("system", HandshakeFailure.BAD_CERTIFICATE),
    ],
)
async def test_an_upstream_that_does_not(tmp_path: Path, tls: str, wrong: str, reason: HandshakeFailure) -> None:
    context, _ = legacy()
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "strange.pem")
    proofs: dict[str, dict[str, object]] = {
        "authority": {"ca": tmp_path / "strange.pem", "server_name": "legacy.example"},
        "name": {"ca": tmp_path / "ca.pem", "server_name": "other.example"},
        "pin": {"pins": ["sha256/" + "A" * 43 + "="], "server_name": "legacy.example"},
        "system": {"server_name": "legacy.example"},
    }
    proof = proofs[wrong]
    handler = secured(context, implicit=tls == "implicit")
    async with house(tmp_path, handler, probed=False, behind={"tls": tls, **proof}) as it:
        line = await it.connect()
        assert (await line.said(b"EHLO me")).startswith(b"421 4.3.2")
        (summary,) = await it.notes.ended()
    assert summary.upstream_failure is UpstreamFailure.TLS_FAILED
    assert HandshakeFailed(Leg.UPSTREAM, reason) in it.notes.facts


async def test_an_upstream_that_must_have_tls_and_has_none(tmp_path: Path) -> None:
    async with house(tmp_path, behind={"tls": "starttls"}) as it:
        assert it.watch.failure is UpstreamFailure.TLS_MISSING


async def test_opportunistic_tls_proves_nothing(tmp_path: Path) -> None:
    context, _ = legacy()
    async with house(tmp_path, secured(context), behind={"tls": "opportunistic"}) as it:
        assert (await login_reply(it)).startswith(b"235")
        done = [fact for fact in it.notes.facts if isinstance(fact, HandshakeDone) and fact.leg is Leg.UPSTREAM]
    assert [fact.tls.verified for fact in done] == [False]


async def test_opportunistic_tls_does_without(tmp_path: Path) -> None:
    async with house(tmp_path, behind={"tls": "opportunistic"}) as it:
        assert it.watch.upstream
        assert not it.watch.upstream.encrypted
        assert (await login_reply(it)).startswith(b"235")


def test_pins() -> None:
    issued = AUTHORITY.issue_cert(HOST)
    leaf = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = "sha256/" + b64encode(hashlib.sha256(spki).digest()).decode()
    der = leaf.public_bytes(Encoding.DER)
    assert pinned(der, ("sha256/other", pin))
    assert not pinned(der, ())
    assert not pinned(der, (pin.lower(),))


def test_a_load_that_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Certificates(certificates(tmp_path))
    first = serial(loaded)
    certificates(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Generation, "load", no_descriptor)
        with pytest.raises(OSError, match="too many"):
            loaded.reload()
    assert loaded.reload()
    assert serial(loaded) != first


def no_descriptor(_settings: TlsSettings) -> Generation:
    raise OSError("too many open files")


def test_an_error_of_the_certificate_library_is_a_bad_file_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(_pem: bytes) -> list[x509.Certificate]:
        raise x509.InvalidVersion("5 is not a valid X509 version", 5)

    settings = certificates(tmp_path)
    monkeypatch.setattr(x509, "load_pem_x509_certificates", odd)
    with pytest.raises(ValueError, match="not a valid X509 version"):
        Certificates(settings)
    assert not pinned(b"no certificate", ("sha256/x",))
