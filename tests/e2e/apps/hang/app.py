"""Handlers that misbehave, for tests of what that does to everybody else."""

from typing import Any

import ftweb

server = ftweb.init_server("hang", state={"count": 0}, on_quorum_loss="continue")


@server.on_receive
def receive(message: Any, source: Any) -> Any:
    match message["type"]:
        case "count":
            with server.change() as state:
                state["count"] += 1
                return {"count": state["count"]}
        case "hang":
            with server.change() as state:
                state["count"] += 1000
            while True:  # never gives the worker back: nothing can interrupt it but its end
                pass
        case "raise":
            with server.change() as state:
                state["count"] += 1000
            raise ValueError("planted")
        case kind:
            raise ftweb.Refusal("unknown_type", f"There is no {kind}.")
