"""What is simulated when no app is given: a vote, and registers.

The app counts each vote under an id that its voter made up, so that a vote that was lost or
counted twice shows; and it keeps registers, whose history must be linearizable.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from typing import Any, Protocol

from ftweb.app import Server, init_server
from ftweb.errors import Refusal
from ftweb.simulation.app_support import Person
from ftweb.simulation.history import History, Request
from ftweb.simulation.invariants import Violation
from ftweb.simulation.linearizability import Operation, is_linearizable

REGISTERS = 2


class App(Protocol):
    """What a schedule runs."""

    name: str

    def server(self) -> Server:
        """The app, imported anew: each tab has its own."""

    def initial_state(self) -> Any:
        """The state that it begins with."""

    def request(self, person: Person, draw: random.Random) -> Any:
        """What a person asks for next; None for nothing."""

    def probe(self, person: Person, draw: random.Random) -> Any:
        """What is asked at the end, to see that requests are answered."""

    def watch(self, state: Any) -> None:
        """Look at the state after a change.

        Raises:
            Violation: it can never be like that.
        """

    def judge(self, state: Any, history: History) -> None:
        """Look at the final state.

        Raises:
            Violation: it is not what the answers said.
        """

    def is_vote(self, payload: Any) -> bool:
        """Whether an acknowledged request counts as a vote in the summary."""


class Workload:
    """Implements :class:`App`."""

    name = "simulated"

    def server(self) -> Server:
        """See :class:`App`."""
        server = init_server("simulated", state=self.initial_state())

        @server.on_receive
        def receive(message: Any) -> Any:
            with server.change() as state:
                match message["do"]:
                    case "vote":
                        vote = message["id"]
                        state["votes"][vote] = state["votes"].get(vote, 0) + 1
                        state["total"] += 1
                        if message.get("say"):
                            server.broadcast(vote)
                        if message["choice"] == "none":
                            raise Refusal("bad_choice", "That is not one of the options.")
                        return state["total"]
                    case "read":
                        return state["registers"].get(message["key"])
                    case "write":
                        state["registers"][message["key"]] = message["value"]
                        return None
                    case "swap":
                        key, (expected, new) = message["key"], message["value"]
                        if state["registers"].get(key) != expected:
                            return False
                        state["registers"][key] = new
                        return True
            raise Refusal("unknown", "There is no such request.")

        return server

    def initial_state(self) -> Any:
        """See :class:`App`."""
        return {"votes": {}, "total": 0, "registers": {}}

    def request(self, person: Person, draw: random.Random) -> Any:
        """See :class:`App`."""
        number = person.number
        kind = draw.random()
        if kind < 0.85:
            choice = "none" if kind < 0.02 else "yes" if kind < 0.4 else "no"
            vote: dict[str, Any] = {"do": "vote", "id": f"v{number}", "choice": choice}
            if kind > 0.8:
                vote["say"] = True
            return vote
        key = f"r{int(draw.random() * REGISTERS)}"
        if kind < 0.91:
            return {"do": "read", "key": key}
        if kind < 0.97:
            return {"do": "write", "key": key, "value": number}
        return {"do": "swap", "key": key, "value": [int(draw.random() * number), number]}

    def probe(self, person: Person, draw: random.Random) -> Any:
        """See :class:`App`."""
        return {"do": "vote", "id": f"v{person.number}", "choice": "yes"}

    def watch(self, state: Any) -> None:
        """See :class:`App`: the checks see to it."""

    def is_vote(self, payload: Any) -> bool:
        """See :class:`App`."""
        return bool(payload["do"] == "vote")

    def judge(self, state: Any, history: History) -> None:
        """See :class:`App`."""
        votes: dict[str, int] = state["votes"]
        asked = {
            request.payload["id"]: request
            for request in history.requests
            if request.payload["do"] == "vote"
        }
        for vote, count in votes.items():
            if count != 1:
                raise Violation("exactly once", f"vote {vote} was counted {count} times")
            if vote not in asked:
                raise Violation("from nothing", f"vote {vote} was never sent")
            if asked[vote].refused:
                raise Violation("exactly once", f"vote {vote} was refused, and counted")
        for vote, request in asked.items():
            if request.acknowledged and vote not in votes:
                raise Violation(
                    "exactly once", f"vote {vote} of {request.client} was acknowledged and is lost"
                )
        if state["total"] != len(votes):
            raise Violation("exactly once", f"{len(votes)} votes, but a total of {state['total']}")
        _judge_registers(history)


def _judge_registers(history: History) -> None:
    by_key: defaultdict[str, list[Operation]] = defaultdict(list)
    for request in history.requests:
        if request.payload["do"] != "vote" and not request.refused:
            by_key[request.payload["key"]].append(_operation(request))
    for key, operations in by_key.items():
        if not is_linearizable(operations):
            raise Violation("linearizability", f"the history of register {key} is not")


def _operation(request: Request) -> Operation:
    known = request.acknowledged
    argument = request.payload.get("value")
    return Operation(
        name=request.payload["do"],
        argument=tuple(argument) if isinstance(argument, list) else argument,
        result=request.reply if known else None,
        called=request.asked_at,
        returned=request.answered_at if known else math.inf,
    )
