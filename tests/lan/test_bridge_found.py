"""A further bridge without an address: it finds the first by name, joins it and mirrors the app."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.classroom import APPS, Bridge, FurtherBridge, ftweb_command
from tests.lan.lan import Lan

pytestmark = pytest.mark.lan

PAGES = APPS / "ledger" / "pages"

GET = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.stdout.write(opener.open(sys.argv[1], timeout=10).read().decode())
"""

BRIDGES = """
import asyncio, json, sys
import ftweb

def bridges(connection):
    status = connection.session.status
    return [] if status is None else [bridge.urls for bridge in status.bridges]

async def main():
    async with ftweb.connect(sys.argv[1]) as connection:
        await connection.wait_for_status(lambda _: len(bridges(connection)) == 2, timeout=20)
        print(json.dumps(bridges(connection)))

asyncio.run(main())
"""
"""What a client is told of the bridges: the addresses of each, its own first."""


class FoundBridge(FurtherBridge):
    """``ftweb bridge`` by somebody who knows the token and no address."""

    def command(self) -> list[str | Path]:
        return ["bridge", "--token", str(self.first.info["presenter_token"])]


def _origin(bridge: Bridge) -> str:
    return f"http://{bridge.host.address}:{bridge.port}"


@pytest_asyncio.fixture
async def first(lan: Lan) -> AsyncIterator[Bridge]:
    made = Bridge(lan.host("laptop"), APPS / "ledger")
    try:
        await made.start()
        yield made
    finally:
        if made.process is not None:
            made.kill()


async def test_a_bridge_without_an_address_finds_the_first_by_name_and_serves_its_app(
    lan: Lan, first: Bridge
) -> None:
    second, phone = FoundBridge(lan.host("laptop2"), first), lan.host("phone")
    try:
        await second.start()
        for same in ("guid", "name", "join_token", "presenter_token"):
            assert second.info[same] == first.info[same]
        await second.takes_part()

        for path, file in (("", "index.html"), ("main.js", "main.js")):
            url = f"{_origin(second)}/{path}"
            got = await asyncio.to_thread(phone.run, sys.executable, "-c", GET, url)
            assert got == (PAGES / file).read_text(), url

        for asked, other in ((first, second), (second, first)):
            said = await asyncio.to_thread(phone.run, sys.executable, "-c", BRIDGES, asked.join_url)
            assert json.loads(said) == [[_origin(asked)], [_origin(other)]]
    finally:
        if second.process is not None:
            second.kill()


async def test_a_bridge_without_an_address_or_a_token_says_what_it_found_and_what_it_lacks(
    lan: Lan, first: Bridge
) -> None:
    host, data = lan.host("laptop3"), lan.directory / "nobody"
    words: list[str | Path] = [*ftweb_command(), "bridge", "--data", data]
    said = await asyncio.to_thread(
        host.run, "sh", "-c", 'exec "$@" 2>&1', "sh", *words, check=False
    )
    assert "The server 'ledger' was found, but its presenter token is needed" in said
    assert "(bad_token)" in said
    assert not data.exists()
