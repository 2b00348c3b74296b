"""Joins a server from nothing, sends messages, prints ``{"state": …, "replies": […]}``.

Usage: late_joiner.py JOIN_URL MESSAGES_AS_JSON
"""

import asyncio
import json
import sys

import ftweb


async def main(url: str, messages: list[object]) -> None:
    async with ftweb.connect(url) as connection:
        replies = [await connection.send(message) for message in messages]
        state = await connection.wait_for(lambda known: known is not None, timeout=20)
        print(json.dumps({"state": state, "replies": replies}))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
