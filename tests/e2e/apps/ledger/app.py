"""A ledger that counts how often each vote took effect: for tests that nothing is lost or doubled.

A ballot box cannot show a doubled vote, since a device's second ballot replaces its first. Here
every request is numbered by its sender, and the state says how often each number was counted.
"""

from typing import Any

import ftweb

server = ftweb.init_server(
    "ledger", state={"counted": {}, "ballots": {}}, on_quorum_loss="continue"
)


@server.on_receive
def receive(message: Any, source: Any) -> Any:
    match message["type"]:
        case "vote":
            number = str(message["n"])
            with server.change() as state:
                mine = state["counted"].setdefault(message.get("voter", source.client_id), {})
                mine[number] = mine.get(number, 0) + 1
            return {"accepted": True}
        case "ballot":  # one per device, as in a real vote
            with server.change() as state:
                state["ballots"][source.device_id] = message["choice"]
            return {"accepted": True}
        case "clear":
            with server.change() as state:
                state["counted"] = {}
            return {"cleared": True}
        case kind:
            raise ftweb.Refusal("unknown_type", f"The ledger knows no {kind}.")
