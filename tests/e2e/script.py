"""Joins a server from nothing, sends messages, prints ``{"state": …, "replies": […]}``.

A refused message's reply is ``{"error": code, "message": …}``.

Usage: script.py JOIN_URL MESSAGES_AS_JSON
"""

import asyncio
import json
import sys
from typing import Any

import ftweb
from ftweb.client import Connection
from ftweb.errors import RequestError


async def send(connection: Connection, message: Any) -> Any:
    try:
        return await connection.send(message)
    except RequestError as error:
        return {"error": error.code, "message": error.message}


async def main(url: str, messages: list[Any]) -> None:
    async with ftweb.connect(url) as connection:
        replies = [await send(connection, message) for message in messages]
        state = await connection.wait_for(lambda known: known is not None, timeout=20)
        print(json.dumps({"state": state, "replies": replies}))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
