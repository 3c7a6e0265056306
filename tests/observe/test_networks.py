"""Where a client is from, by a name of few."""

from ipaddress import ip_network

import pytest

from gatepost.observe.networks import Networks
from gatepost.settings import NetworkSettings

PRINTERS = NetworkSettings(name="printers", addresses=(ip_network("10.9.0.0/16"), ip_network("2001:db8:9::/48")))
OFFICE = NetworkSettings(name="office", addresses=(ip_network("10.0.0.0/8"), ip_network("127.0.5.0/24")))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.9.1.2", "printers"),
        ("2001:db8:9::1", "printers"),
        ("10.8.1.2", "office"),
        ("127.0.5.1", "office"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("192.168.1.1", "private"),
        ("fe80::1", "private"),
        ("100.64.0.1", "private"),
        ("9.9.9.9", "public"),
        ("2620:fe::fe", "public"),
    ],
)
def test_the_first_that_fits_counts_and_the_rest_are_built_in(address: str, name: str) -> None:
    networks = Networks((PRINTERS, OFFICE))
    assert networks.name_of(address) == name
    assert name in networks.names
