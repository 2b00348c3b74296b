"""Host, Origin, tokens, ids: the checks themselves. Over real sockets: test_server.py."""

from __future__ import annotations

import socket

import pytest

from ftweb.bridge.config import Identity
from ftweb.bridge.security import (
    REREAD_SECONDS,
    AllowedHosts,
    check_token,
    client_id,
    device_id,
)

PORT = 8765
IDENTITY = Identity(guid="0" * 32, join_token="join-join-join-join", presenter_token="pre" * 6)


class Machine:
    """A machine whose addresses and clock the test sets."""

    def __init__(self, *ips: str) -> None:
        self.ips = list(ips)
        self.reads = 0
        self.now = 0.0

    def read(self) -> list[str]:
        self.reads += 1
        return self.ips

    def hosts(self, port: int = PORT, **kwargs: object) -> AllowedHosts:
        return AllowedHosts(
            port=port,
            names=["classroom-vote.local"],
            read_ips=self.read,
            monotonic=lambda: self.now,
        )


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8765",
        "LocalHost:8765",
        "127.0.0.1:8765",
        "192.0.2.7:8765",
        "[2001:db8::7]:8765",
        "[2001:DB8:0::7]:8765",
        "classroom-vote.local:8765",
        f"{socket.gethostname().partition('.')[0]}.local:8765",
    ],
)
def test_its_own_addresses_and_names_are_allowed(host: str) -> None:
    hosts = Machine("127.0.0.1", "192.0.2.7", "2001:db8::7").hosts()
    assert hosts.allows_host(host.encode())
    assert hosts.allows_origin(b"http://" + host.encode())


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example:8765",
        "localhost",
        "localhost:80",
        "localhost:8765:8765",
        "localhost:",
        "localhost:8765 ",
        " localhost:8765",
        "localhost:08765x",
        "localhost:٨٧٦٥",
        "localhost.evil.example:8765",
        "localhost:8765@evil.example",
        "evil@localhost:8765",
        "192.0.2.8:8765",
        "192.0.2.007:8765",
        "3221226119:8765",
        "0xc0000207:8765",
        "192.0.2.7.:8765",
        "[::ffff:192.0.2.9]:8765",
        "[2001:db8::7%eth0]:8765",
        "[2001:db8::7:8765",
        "[]:8765",
        "[[::1]]:8765",
        "[::1]8765",
        "2001:db8::7:8765",
        "http://localhost:8765",
        "localhost:8765/",
        "localhost:8765,localhost:8765",
        "\x00localhost:8765",
        "localhost\x00.evil:8765",
        "a" * 300 + ":8765",
        "localhost:99999",
        "localhost:-8765",
        "..local:8765",
        ":8765",
    ],
)
def test_everything_else_is_refused_and_nothing_raises(host: str) -> None:
    hosts = Machine("127.0.0.1", "192.0.2.7", "2001:db8::7").hosts()
    assert not hosts.allows_host(host.encode())
    assert not hosts.allows_origin(b"http://" + host.encode())


def test_bytes_that_are_no_text_are_refused() -> None:
    hosts = Machine("127.0.0.1").hosts()
    for value in (b"\xff\xfe:8765", b"localhost\xc3\xa9:8765", None, bytes(range(256))):
        assert not hosts.allows_host(value)


@pytest.mark.parametrize(
    "origin",
    [
        b"null",
        b"",
        b"localhost:8765",
        b"https://localhost:8765",
        b"HTTP://localhost:8765",
        b"http://localhost:8765/",
        b"http://evil.example",
        b"http://192.0.2.9:8765",
        b"http://localhost:9999",
        b"file://localhost:8765",
        b"http://http://localhost:8765",
    ],
)
def test_foreign_origins_are_refused(origin: bytes) -> None:
    assert not Machine("127.0.0.1", "192.0.2.7").hosts().allows_origin(origin)


def test_port_80_may_be_left_out() -> None:
    hosts = Machine("192.0.2.7").hosts(port=80)
    assert hosts.allows_host(b"192.0.2.7")
    assert hosts.allows_host(b"192.0.2.7:80")
    assert not hosts.allows_host(b"192.0.2.7:8765")


def test_an_address_that_the_machine_got_later_is_found() -> None:
    machine = Machine("127.0.0.1")
    hosts = machine.hosts()
    machine.now += REREAD_SECONDS
    assert not hosts.allows_host(b"192.0.2.50:8765")
    machine.ips.append("192.0.2.50")
    machine.now += REREAD_SECONDS
    assert hosts.allows_host(b"192.0.2.50:8765")


def test_unknown_hosts_do_not_make_it_read_the_interfaces_again_and_again() -> None:
    machine = Machine("127.0.0.1")
    hosts = machine.hosts()
    machine.now += REREAD_SECONDS
    for last in range(250):
        hosts.allows_host(f"198.51.100.{last}:8765".encode())
    assert machine.reads == 2


def test_a_name_that_mdns_took_is_allowed_from_then_on() -> None:
    hosts = Machine("127.0.0.1").hosts()
    assert not hosts.allows_host(b"classroom-vote-2.local:8765")
    hosts.add_name("Classroom-Vote-2.local.")
    assert hosts.allows_host(b"classroom-vote-2.local:8765")


def test_owning_an_address() -> None:
    hosts = Machine("192.0.2.7", "fe80::1%eth0").hosts()
    for own in ("127.0.0.1", "127.8.8.8", "::1", "192.0.2.7", "::ffff:192.0.2.7", "fe80::1"):
        assert hosts.owns_ip(own), own
    for other in ("192.0.2.8", "", "localhost", "10.0.0.1"):
        assert not hosts.owns_ip(other), other


def test_tokens() -> None:
    assert check_token(IDENTITY.join_token, IDENTITY) == (True, False)
    assert check_token(IDENTITY.presenter_token, IDENTITY) == (True, True)
    for wrong in ("", "x", IDENTITY.join_token[:-1], IDENTITY.join_token + "x", "\ud800", "ä" * 22):
        assert check_token(wrong, IDENTITY) == (False, False)


def test_ids_are_derived_and_kept_apart() -> None:
    key = "ab" * 16
    assert client_id(key) == client_id(key)
    assert client_id(key) != device_id(key)
    assert client_id(key) != client_id("ac" * 16)
    assert len(client_id(key)) == 32
    assert key not in client_id(key)
