from __future__ import annotations

import pytest

from ftweb.bridge import addresses as module
from ftweb.bridge.addresses import (
    Address,
    is_lan,
    lan_addresses,
    machine_addresses,
    shown_addresses,
    url,
)


@pytest.mark.parametrize(
    "ip",
    [
        "192.168.1.5",
        "10.0.0.9",
        "172.16.3.4",
        "169.254.8.8",
        "100.64.0.1",
        "192.0.2.7",
        "198.51.100.1",
    ],
)
def test_addresses_of_a_lan(ip: str) -> None:
    assert is_lan(ip)


@pytest.mark.parametrize(
    "ip",
    ["127.0.0.1", "8.8.8.8", "172.32.0.1", "0.0.0.0", "224.0.0.251", "fe80::1", "", "localhost"],
)
def test_other_addresses(ip: str) -> None:
    assert not is_lan(ip)


def test_the_default_routes_address_comes_first_and_virtual_ones_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "default_route_address", lambda: "192.168.1.5")
    found = [
        Address(ip="127.0.0.1", interface="lo"),
        Address(ip="172.17.0.1", interface="docker0"),
        Address(ip="10.9.8.7", interface="eth1"),
        Address(ip="fe80::1", interface="eth1"),
        Address(ip="8.8.8.8", interface="eth2"),
        Address(ip="192.168.1.5", interface="wlan0"),
    ]
    assert lan_addresses(found) == ("192.168.1.5", "10.9.8.7", "172.17.0.1")


def test_this_machine_has_loopback() -> None:
    assert "127.0.0.1" in {address.ip for address in machine_addresses()}


def test_something_is_always_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "machine_addresses", lambda: ())
    assert shown_addresses("0.0.0.0") == ("127.0.0.1",)
    assert shown_addresses("192.0.2.9") == ("192.0.2.9",)


def test_urls() -> None:
    assert url("192.0.2.9", 8765) == "http://192.0.2.9:8765/"
    assert url("192.0.2.9", 80, "/x") == "http://192.0.2.9/x"
    assert url("fe80::1", 8765) == "http://[fe80::1]:8765/"
