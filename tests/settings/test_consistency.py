"""Keys that contradict each other."""

import pytest

from settings_folder import OTHER_KEY, PIN, Folder, changed, upstream


def test_two_listeners_of_one_name(folder: Folder) -> None:
    assert folder.complaints(changed('"submissions"', '"submission"')) == [
        'listeners[1].name: found "submission", expected a name other than that of listeners[0]'
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("127.0.0.1:25", "127.0.0.1:25"),
        ("0.0.0.0:25", "127.0.0.1:25"),
        ("[::1]:25", "[::]:25"),
        ("[::1]:25", "[0::1]:25"),
        ("Localhost:25", "localhost:25"),
    ],
)
def test_one_address_bound_twice(folder: Folder, first: str, second: str) -> None:
    text = changed("127.0.0.1:5587", first).replace("127.0.0.1:5465", second)
    (found,) = folder.complaints(text)
    assert found.startswith("listeners[1].bind[0]: found ")
    assert found.endswith("expected an address that listeners[0].bind[0] does not use")


@pytest.mark.parametrize(
    "pair", ["127.0.0.1:25 127.0.0.2:25", "0.0.0.0:25 [::]:25", "127.0.0.1:0 127.0.0.1:0", "localhost:25 127.0.0.2:25"]
)
def test_addresses_that_can_be_bound_together(folder: Folder, pair: str) -> None:
    first, second = pair.split()
    assert folder.load(changed("127.0.0.1:5587", first).replace("127.0.0.1:5465", second))


def test_metrics_on_the_address_of_a_listener(folder: Folder) -> None:
    assert folder.complaints(changed("127.0.0.1:9587", "127.0.0.1:5465")) == [
        'observe.bind: found "127.0.0.1:5465", expected an address that listeners[1].bind[0] does not use'
    ]


def test_metrics_on_their_default_address_collide_too(folder: Folder) -> None:
    text = changed('[observe]\nbind = "127.0.0.1:9587"\n', "").replace("5465", "9587")
    (found,) = folder.complaints(text)
    assert found.startswith('observe.bind: found "127.0.0.1:9587"')


PASSWORDS_UNSAFE = 'expected "starttls" or "implicit", or trusted = true if the network up to it is as good as TLS'


@pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]", "legacy.example.org", "localhost.example.org"])
def test_passwords_may_not_cross_a_network_in_the_clear(folder: Folder, host: str) -> None:
    assert folder.complaints(upstream(f'address = "{host}:25"', 'tls = "never"')) == [
        f'upstream.tls: found "never", so passwords would cross to {host}:25 in the clear, {PASSWORDS_UNSAFE}'
    ]


def test_passwords_may_not_cross_an_unproven_channel(folder: Folder) -> None:
    (found,) = folder.complaints(upstream('address = "192.0.2.1:25"', 'tls = "opportunistic"'))
    assert "a channel that proves nothing about its other end" in found


def test_one_listener_with_auth_is_enough(folder: Folder) -> None:
    text = upstream('address = "192.0.2.1:25"', 'tls = "never"')
    text = text.replace('name = "submission"', 'name = "submission"\nauth = "off"')
    assert len(folder.complaints(text)) == 1
    assert folder.load(text.replace('name = "submissions"', 'name = "submissions"\nauth = "off"'))


@pytest.mark.parametrize(
    "lines",
    [
        ('address = "192.0.2.1:25"', 'tls = "never"', "trusted = true"),
        ('address = "192.0.2.1:25"', 'tls = "starttls"'),
        ('address = "192.0.2.1:465"', 'tls = "implicit"', 'ca = "ca.pem"'),
        ('address = "192.0.2.1:25"', 'tls = "opportunistic"', f'pins = ["{PIN}"]'),
        ('address = "192.0.2.1:25"', 'tls = "opportunistic"', 'ca = "ca.pem"'),
        ('address = "[::1]:25"', 'tls = "never"'),
        ('address = "127.1.2.3:25"', 'tls = "opportunistic"'),
        ('address = "localhost:25"', 'tls = "never"'),
    ],
)
def test_passwords_may_cross_a_proven_or_trusted_channel(folder: Folder, lines: tuple[str, ...]) -> None:
    assert folder.load(upstream(*lines))


def test_what_proves_the_upstream_is_pointless_without_tls(folder: Folder) -> None:
    text = upstream('address = "127.0.0.1:25"', 'tls = "never"', 'ca = "ca.pem"', f'pins = ["{PIN}"]')
    assert folder.complaints(text) == [
        'upstream.ca: found "ca.pem", expected nothing while upstream.tls is "never"',
        'upstream.pins: found pins, expected nothing while upstream.tls is "never"',
    ]


GOOD_PAIR = ('certificate = "cert.pem"', 'key = "key.pem"')


def test_a_certificate_for_the_upstream(folder: Folder) -> None:
    found = folder.load(upstream('address = "192.0.2.1:25"', 'tls = "starttls"', *GOOD_PAIR))
    assert (found.upstream.certificate, found.upstream.key) == (folder.path / "cert.pem", folder.path / "key.pem")


@pytest.mark.parametrize(("given", "missing"), [("certificate", "key"), ("key", "certificate")])
def test_half_a_pair_for_the_upstream(folder: Folder, given: str, missing: str) -> None:
    file = {"certificate": "cert.pem", "key": "key.pem"}[given]
    assert folder.complaints(upstream('address = "192.0.2.1:25"', 'tls = "starttls"', f'{given} = "{file}"')) == [
        f"upstream.{missing}: found nothing, expected the file that belongs to upstream.{given}"
    ]


def test_a_pair_for_the_upstream_that_does_not_match(folder: Folder) -> None:
    (folder.path / "other.pem").write_bytes(OTHER_KEY)
    lines = ('address = "192.0.2.1:25"', 'tls = "starttls"', 'certificate = "cert.pem"', 'key = "other.pem"')
    assert folder.complaints(upstream(*lines)) == [
        'upstream.key: found the key of another certificate in "other.pem", expected the certificate\'s own'
    ]


def test_a_certificate_for_an_upstream_that_is_never_asked_for_tls(folder: Folder) -> None:
    lines = ('address = "127.0.0.1:25"', 'tls = "never"', *GOOD_PAIR, 'represent = "certificate"')
    text = upstream(*lines).replace("[tls]", '[tls]\nclient_ca = "ca.pem"')
    assert folder.complaints(text) == [
        'upstream.certificate: found "cert.pem", expected nothing while upstream.tls is "never"',
        'upstream.key: found "key.pem", expected nothing while upstream.tls is "never"',
        'upstream.represent: found "certificate", expected another way while upstream.tls is "never"',
    ]
