"""Nothing: the board's server is JavaScript in its page."""

from typing import Any

import ftweb

server = ftweb.init_server("board")


@server.on_receive
def receive(message: Any) -> Any:
    return message
