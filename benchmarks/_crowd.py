"""Many Python clients at one bridge, who tell when they are back after its end.

Run by ``reconnect.py`` on a host: URL and number on the command line. Says three lines of JSON:
how long a vote of each took (ms) while all was well; for each, when (ms since 1970) it was first
told of a host by another bridge than its first; by client id, the numbers of the votes of each that
were acknowledged, the one that was cast then included.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

import ftweb
from ftweb.errors import FtwebError

ENTER_AT_ONCE = 20
"""A class comes in over a while; to come in all at once is what is measured later."""

BACK_SECONDS = 60


def say(value: Any) -> None:
    print(json.dumps(value), flush=True)


class Voter:
    """One client."""

    def __init__(self, client: ftweb.Connection) -> None:
        self.client = client
        self.first_bridge = client.status.bridge
        self.back: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.acknowledged: list[int] = []
        client.on_status(self._look)

    def _look(self, status: ftweb.ConnectionStatus) -> None:
        elsewhere = status.bridge != self.first_bridge and status.state != "offline"
        if elsewhere and status.host_id and not self.back.done():
            self.back.set_result(time.time() * 1000)

    async def vote(self, number: int) -> float:
        """Milliseconds until it was acknowledged."""
        started = time.perf_counter()
        with contextlib.suppress(FtwebError):
            await self.client.send({"type": "vote", "n": number}, timeout=30)
            self.acknowledged.append(number)
        return (time.perf_counter() - started) * 1000


async def main(url: str, count: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        entrance = asyncio.Semaphore(ENTER_AT_ONCE)

        async def enter() -> Voter:
            async with entrance:
                client = await stack.enter_async_context(ftweb.connect(url))
            await client.wait_for_status(lambda status: status.host_id is not None, 60)
            return Voter(client)

        voters = await asyncio.gather(*(enter() for _ in range(count)))
        say(await asyncio.gather(*(voter.vote(1) for voter in voters)))
        async with asyncio.timeout(BACK_SECONDS):
            say(await asyncio.gather(*(voter.back for voter in voters)))
        await asyncio.gather(*(voter.vote(2) for voter in voters))
        say({voter.client.status.client_id: voter.acknowledged for voter in voters})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
