"""What may be given to ``ftweb.connect``."""

from __future__ import annotations

import pytest

from ftweb.client.address import Target, parse_target
from ftweb.errors import ConnectError

SOCKET = "ws://192.0.2.7:8765/ftweb/socket"


@pytest.mark.parametrize(
    "given,url,token",
    [
        ("http://192.0.2.7:8765/#join=T", SOCKET, "T"),
        ("http://192.0.2.7:8765/presenter.html#presenter=P", SOCKET, "P"),
        ("http://192.0.2.7:8765/presenter.html#presenter=P&join=T", SOCKET, "P"),
        ("ws://192.0.2.7:8765#join=T", SOCKET, "T"),
        ("192.0.2.7:8765#join=T", SOCKET, "T"),
        ("192.0.2.7:8765/#join=T", SOCKET, "T"),
        ("https://vote.local/#join=T", "wss://vote.local/ftweb/socket", "T"),
        ("wss://vote.local:1/ftweb/socket#join=T", "wss://vote.local:1/ftweb/socket", "T"),
        ("http://[2001:db8::7]:80/#join=T", "ws://[2001:db8::7]:80/ftweb/socket", "T"),
    ],
)
def test_urls(given: str, url: str, token: str) -> None:
    assert parse_target(given) == Target(url=url, token=token)


def test_addresses_and_names() -> None:
    assert parse_target("192.0.2.7:8765", token="T") == Target(url=SOCKET, token="T")
    assert parse_target("localhost:80", token="T").url == "ws://localhost:80/ftweb/socket"
    assert parse_target("[::1]:80", token="T").url == "ws://[::1]:80/ftweb/socket"
    assert parse_target(" Physics 101: vote ", token="T") == Target(
        name="Physics 101: vote", token="T"
    )


def test_which_token_counts() -> None:
    url = "http://192.0.2.7:8765/#join=F"
    assert parse_target(url, token="T").token == "T"
    assert parse_target(url, token="T", presenter_token="P").token == "P"


@pytest.mark.parametrize(
    "given,code",
    [
        ("", "connect_failed"),
        ("ftp://192.0.2.7/#join=T", "connect_failed"),
        ("http:///#join=T", "connect_failed"),
        ("http://192.0.2.7:99999/#join=T", "connect_failed"),
        ("http://192.0.2.7:8765/", "bad_token"),
        ("classroom-vote", "bad_token"),
    ],
)
def test_what_is_refused(given: str, code: str) -> None:
    with pytest.raises(ConnectError) as caught:
        parse_target(given)
    assert caught.value.code == code
