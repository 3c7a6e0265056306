"""The files that the settings name."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    PrivateFormat,
)

from settings_folder import ISSUED, MINIMAL, OTHER_KEY, Folder, encrypt_key, write_pair


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (OTHER_KEY, 'tls.key: found the key of another certificate in "key.pem", expected the certificate\'s own'),
        (b"rubbish", 'tls.key: found no PEM private key in "key.pem", expected an unencrypted private key'),
        (b"", 'tls.key: found no PEM private key in "key.pem", expected an unencrypted private key'),
        (ISSUED.cert_chain_pems[0].bytes(), 'tls.key: found no PEM private key in "key.pem", expected'),
        (
            encrypt_key(PrivateFormat.PKCS8),
            'tls.key: found a key with a passphrase in "key.pem", expected a key without',
        ),
        (encrypt_key(PrivateFormat.TraditionalOpenSSL), "tls.key: found a key with a passphrase"),
    ],
)
def test_a_bad_key_file(folder: Folder, content: bytes, complaint: str) -> None:
    (folder.path / "key.pem").write_bytes(content)
    (found,) = folder.complaints(MINIMAL)
    assert found.startswith(complaint)


@pytest.mark.parametrize("content", [b"rubbish", b"", OTHER_KEY])
def test_a_bad_certificate_file(folder: Folder, content: bytes) -> None:
    (folder.path / "cert.pem").write_bytes(content)
    (found,) = folder.complaints(MINIMAL)
    assert found.startswith('tls.certificate: found no PEM certificate in "cert.pem"')


def test_a_certificate_that_openssl_finds_too_weak(folder: Folder) -> None:
    write_pair(folder.path, rsa.generate_private_key(65537, 1024), datetime(2020, 1, 1, tzinfo=UTC), days=1)  # noqa: S505
    (found,) = folder.complaints(MINIMAL)
    assert (
        found
        == 'tls.certificate: found "cert.pem", which TLS cannot use (EE_KEY_TOO_SMALL), expected a usable certificate'
    )


def test_an_expired_certificate_is_no_mistake(folder: Folder) -> None:
    write_pair(folder.path, ec.generate_private_key(ec.SECP256R1()), datetime(2020, 1, 1, tzinfo=UTC), days=1)
    assert folder.load(MINIMAL)


def test_missing_files_and_folders_are_named_at_their_keys(folder: Folder) -> None:
    text = (
        MINIMAL.replace("cert.pem", "none.pem")
        .replace("key.pem", ".")
        .replace("[tls]", '[tls]\nclient_ca = "x\\u0000"')
    )
    found = folder.complaints(text)
    assert [one.partition(":")[0] for one in found] == ["tls.certificate", "tls.key", "tls.client_ca"]
    assert '"none.pem", which cannot be read (No such file or directory)' in found[0]
    assert "which is not a file" in found[1]
    assert "which no file can be called" in found[2]


@pytest.mark.parametrize("key", ["tls.client_ca", "upstream.ca"])
@pytest.mark.parametrize("content", [b"rubbish", b"", b"\xff\x00", OTHER_KEY])
def test_a_bad_file_of_authorities(folder: Folder, key: str, content: bytes) -> None:
    (folder.path / "ca.pem").write_bytes(content)
    table, _, name = key.partition(".")
    text = MINIMAL.replace("never", "starttls").replace(f"[{table}]", f'[{table}]\n{name} = "ca.pem"')
    assert folder.complaints(text) == [
        f'{key}: found no certificates in "ca.pem", expected PEM certificates of authorities'
    ]


def test_good_authorities(folder: Folder) -> None:
    text = MINIMAL.replace("never", "starttls").replace("[upstream]", '[upstream]\nca = "ca.pem"')
    assert folder.load(text.replace("[tls]", '[tls]\nclient_ca = "ca.pem"')).tls.client_ca == folder.path / "ca.pem"


def test_each_further_certificate_is_checked(folder: Folder) -> None:
    (folder.path / "other.pem").write_bytes(OTHER_KEY)
    text = MINIMAL + '[[tls.certificates]]\ncertificate = "cert.pem"\nkey = "other.pem"\n'
    assert folder.complaints(text) == [
        'tls.certificates[0].key: found the key of another certificate in "other.pem", expected the certificate\'s own'
    ]
