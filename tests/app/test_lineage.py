"""What a history knows of its origin, its journal, and running that again in another one."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftweb.app import Machine, Outcome, Replied, commands
from ftweb.app.lineage import Lineage, Replayable
from ftweb.app.sessions import Kept, Sessions, Standing
from ftweb.epochs import Fork, first_index, next_epoch
from ftweb.errors import Refusal
from ftweb.frames import Failure, Told
from ftweb.limits import KNOWN_BRIDGES, LINEAGE, SESSION_NUMBERS, SESSIONS_ADOPTED
from tests.app.rig import START, Rig, forward, server_of

ROOT = next_epoch(0, 1)


def counting() -> Any:
    """An app that counts how often each request was run, and refuses some."""

    def handler(message: Any) -> Any:
        with server.change() as state:
            key = message["id"]
            state["runs"][key] = state["runs"].get(key, 0) + 1
            state["order"].append(key)
            if message.get("refuse"):
                raise Refusal("no", "Not that one.")
            return {"place": len(state["order"])}

    server = server_of(handler, {"runs": {}, "order": []})
    return server


class Branch(Rig):
    """A rig that can begin another epoch from what it holds, and run another's journal again."""

    epoch = ROOT

    def fork(self, salt: int, bridge: str) -> Branch:
        """What a bridge does that goes on without the others."""
        other = Branch(counting())
        other.time = self.time
        other.machine.restore(self.machine.snapshot())
        other.epoch = next_epoch(self.epoch, salt)
        last = self.machine.applied_index
        base = first_index(last, other.epoch)
        other.machine.lineage.start_journal(self.epoch)
        other.machine.applied_index = base
        other.machine.lineage.fork(Fork(epoch=self.epoch, term=1, index=last, base=base), bridge)
        other.log = {base: None}
        other.host = other.new_host()
        return other

    def join(self, *bridges: str) -> None:
        """Bridges enter the history."""
        self.waiting.append(self.host.bridges(joined=bridges, heard=[]))
        self.commit()

    async def replay(self, item: Replayable) -> None:
        """As the loser's bridge does it."""
        if self.machine.settled(item.client_id, item.session, item.serial) is None:
            await self.give(again(item))
            self.commit()


def again(item: Replayable) -> Any:
    return forward(
        item.client_id,
        session=item.session,
        serial=item.serial,
        payload=item.request,
        refuse=item.error,
        replay=Told(payload=item.reply, error=item.error),
    )


async def two() -> tuple[Branch, Branch]:
    """A history of two bridges, a fork of it, and client Ada with a session in both."""
    root = Branch(counting())
    root.join("b1", "b2")
    await root.open("ada")
    return root, root.fork(7, "b2")


def session_of(branch: Branch, client: str) -> int:
    opened = branch.machine.session_of(client)
    assert opened is not None
    return opened.session


async def test_a_fork_is_provisional_until_the_others_were_heard() -> None:
    root, fork = await two()
    assert not root.machine.lineage.provisional
    lineage = fork.machine.lineage
    assert (lineage.unheard, lineage.since, lineage.provisional) == (["b1"], ROOT, True)
    await fork.ask("ada", session_of(fork, "ada"), 1, {"id": "one"})
    assert [item.serial for item in lineage.journal] == [1]
    fork.waiting.append(fork.host.bridges(joined=["b3"], heard=["b3"]))
    fork.commit()
    assert lineage.provisional, "one of them is still unheard"
    fork.waiting.append(fork.host.bridges(joined=[], heard=["b1"]))
    fork.commit()
    assert (lineage.provisional, lineage.since, lineage.journal) == (False, 0, [])
    assert lineage.bridges == ["b1", "b2", "b3"]
    fork.host.assert_in_step()


async def test_an_only_bridge_is_never_provisional() -> None:
    root = Branch(counting())
    root.join("b1")
    again = root.fork(3, "b1")
    lineage = again.machine.lineage
    assert (lineage.provisional, lineage.since) == (False, 0)
    await again.ask("ada", await again.open("ada"), 1, {"id": "one"})
    assert lineage.journal == []


async def test_what_a_client_did_in_both_parts_counts_once() -> None:
    root, fork = await two()
    session = session_of(root, "ada")
    here = await root.ask("ada", session, 1, {"id": "one"})
    there = await fork.ask("ada", session, 1, {"id": "one"})
    assert here.payload == there.payload
    (item,) = fork.machine.lineage.journal
    assert await root.give(again(item)) is None, "the same answer stands here"
    assert root.machine.state["runs"] == {"one": 1}


async def test_replayed_requests_fill_the_holes_that_their_clients_left() -> None:
    root, fork = await two()
    session = session_of(root, "ada")
    for serial in (1, 2, 3):
        await fork.ask("ada", session, serial, {"id": f"r{serial}"})
    # The client has gone to the other part, with all that it was told.
    await root.ask("ada", session, 4, {"id": "r4"})
    assert root.machine.reply_for("ada", session, 2) is not None, "no repetition is ever run"
    for item in fork.machine.lineage.journal:
        await root.replay(item)
        await root.replay(item)
    assert root.machine.state["runs"] == {"r1": 1, "r2": 1, "r3": 1, "r4": 1}
    root.host.assert_in_step()
    root.take_over(by_snapshot=True)


async def test_a_session_of_the_other_part_is_adopted() -> None:
    _, fork = await two()
    root, _ = await two()
    there = await fork.open("bob")
    await fork.ask("bob", there, 1, {"id": "b1"})
    # Bob comes over with a number that this history never gave, ahead of the replay.
    reply = await root.ask("bob", there, 2, {"id": "b2"})
    assert reply.error is None
    for item in fork.machine.lineage.journal:
        await root.replay(item)
    assert root.machine.state["runs"] == {"b1": 1, "b2": 1}
    assert session_of(root, "bob") == there
    root.host.assert_in_step()


async def test_numbers_of_both_parts_are_one_session() -> None:
    root, fork = await two()
    here, there = await root.open("bob"), await fork.open("bob")
    assert here != there
    assert (await fork.ask("bob", there, 1, {"id": "x"})).error is None
    assert (await root.ask("bob", here, 2, {"id": "y"})).error is None
    for item in fork.machine.lineage.journal:
        await root.replay(item)
    assert root.machine.sessions.knows("bob", there)
    assert root.machine.state["runs"] == {"x": 1, "y": 1}


async def test_a_session_that_was_evicted_is_not_adopted() -> None:
    """Its number was given here, so its requests may have been run here."""
    root = Branch(counting(), sessions=lambda: Sessions(most=1))
    session = await root.open("ada")
    await root.ask("ada", session, 1, {"id": "one"})
    await root.open("bob")
    reply = await root.ask("ada", session, 1, {"id": "one"})
    assert reply.error is not None
    assert reply.error.code == "session_expired"
    assert root.machine.state["runs"] == {"one": 1}


@pytest.mark.parametrize("reopened", [False, True])
async def test_an_adopted_session_that_was_evicted_is_not_adopted_again(reopened: bool) -> None:
    root, fork = Branch(counting(), sessions=lambda: Sessions(most=1)), (await two())[1]
    number = await fork.open("dan")
    assert (await root.ask("dan", number, 1, {"id": "one"})).error is None
    await root.open("bob")
    root.take_over(by_snapshot=True)
    if reopened:
        await root.open("dan")
    reply = await root.ask("dan", number, 1, {"id": "one"})
    assert reply.error is not None
    assert reply.error.code == "session_expired"
    await root.replay(Replayable(client_id="dan", session=number, serial=1, request={"id": "one"}))
    assert root.machine.state["runs"] == {"one": 1}
    root.host.assert_in_step()


async def test_nobody_can_use_up_the_number_of_another_client() -> None:
    root, fork = await two()
    number = await fork.open("bob")
    await root.ask("eve", number, 1, {"id": "eve"})
    assert (await root.ask("bob", number, 1, {"id": "bob"})).error is None


async def test_who_was_told_otherwise_learns_it() -> None:
    root, fork = await two()
    session = session_of(root, "ada")
    await fork.ask("ada", session, 1, {"id": "one"})
    await root.ask("cy", await root.open("cy"), 1, {"id": "earlier"})
    (item,) = fork.machine.lineage.journal
    root.effects.clear()
    await root.replay(item)
    outcomes = [effect for effect in root.effects if isinstance(effect, Outcome)]
    assert [(o.client_id, o.serial, o.payload) for o in outcomes] == [("ada", 1, {"place": 2})]
    # Once more, as after a crash of the bridge: told again, run once.
    await root.give(again(item))
    root.commit()
    assert root.machine.state["runs"]["one"] == 1


async def test_a_refusal_is_replayed_as_such() -> None:
    root, fork = await two()
    session = session_of(root, "ada")
    refused = await fork.ask("ada", session, 1, {"id": "one", "refuse": True})
    assert refused.error == Failure(code="no", message="Not that one.")
    (item,) = fork.machine.lineage.journal
    root.effects.clear()
    await root.replay(item)
    assert root.machine.state["runs"] == {}
    assert not [effect for effect in root.effects if isinstance(effect, Outcome)]
    cached = root.machine.reply_for("ada", session, 1)
    assert isinstance(cached, Replied)
    assert cached.error == refused.error


def test_a_full_journal_makes_the_epoch_firm() -> None:
    lineage = Lineage(most=2)
    lineage.heard(["b1", "b2"], [])
    lineage.start_journal(ROOT)
    lineage.fork(Fork(epoch=ROOT, term=1, index=5, base=100), "b1")
    request: dict[str, Any] = {"client_id": "ada", "session": 1, "acknowledged": 0, "at": START}
    for serial in (1, 2, 3):
        assert lineage.provisional
        command = commands.parse(commands.request(serial=serial, **request))
        assert isinstance(command, commands.Request)
        lineage.record(command)
    assert (lineage.provisional, lineage.since, lineage.journal) == (False, 0, [])


def test_what_is_known_is_bounded() -> None:
    lineage = Lineage()
    for number in range(2 * LINEAGE):
        lineage.fork(Fork(epoch=number + 1, term=1, index=number, base=number), "b0")
    assert len(lineage.forks) == LINEAGE
    lineage.heard([f"b{number}" for number in range(2 * KNOWN_BRIDGES)], [])
    assert len(lineage.bridges) == KNOWN_BRIDGES
    sessions = Sessions()
    sessions.open("ada", 1)
    for number in range(100, 100 + 2 * SESSION_NUMBERS):
        answer: dict[str, Any] = {"acknowledged": 0, "at": START, "kept": Kept()}
        sessions.answer(client_id="ada", session=number, serial=number, adopt=True, **answer)
    assert sessions.number_of("ada") == 1
    assert len(sessions.to_json()["sessions"][0][1]) == SESSION_NUMBERS
    for number in range(SESSIONS_ADOPTED):
        sessions.answer(client_id="bo", session=1000 + number, serial=1, adopt=True, **answer)
    assert len(sessions.to_json()["adopted"]) == SESSIONS_ADOPTED
    sessions.answer(client_id="ada", session=1, serial=2**50, **answer)
    assert sessions.look("ada", 1, 2**49, replay=True) is Standing.NEW


def test_a_snapshot_of_the_first_version_is_still_read() -> None:
    old = (
        '{"version":1,"applied_index":3,"guid":"g","name":"n","bundle":"b","state":{"n":1},'
        '"sessions":{"clock":5,"time":5,"sessions":[["ada",2,5,1,[[2,"yes",null]]]]}}'
    )
    machine = Machine()
    machine.restore(old)
    reply = machine.reply_for("ada", 2, 2)
    assert reply is not None
    assert reply.payload == "yes"
    assert machine.lineage.forks == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["root", "fork"]),
        st.sampled_from(["ada", "bob", "cy"]),
        st.sampled_from(["ask", "ask", "ask", "repeat", "move", "lose", "refuse"]),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(STEPS, STEPS, st.integers(0, 2**32), st.booleans())
def test_after_the_meeting_every_acknowledged_request_counts_once(
    before: Any, after: Any, seed: int, root_stays: bool
) -> None:
    """Clients ask, repeat and move between two parts; then one part's journal is run again in the
    other, in pieces and more than once, while clients go on."""
    asyncio.run(_meeting(before, after, random.Random(seed), root_stays))


class _Client:
    """As much of a client as matters: serials that grow, and what was acknowledged."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.session = 0
        self.serial = 0
        self.unanswered: dict[int, Any] = {}
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()

    async def send(self, branch: Branch, serial: int, *, hears: bool) -> None:
        if not self.session:
            self.session = await branch.open(self.name)
        await branch.give(
            forward(
                self.name,
                session=self.session,
                serial=serial,
                acknowledged=min(self.unanswered) - 1,
                payload=self.unanswered[serial],
            )
        )
        branch.commit()
        reply = branch.machine.reply_for(self.name, self.session, serial)
        assert reply is not None
        if hears:
            key = self.unanswered.pop(serial)["id"]
            (self.refused if reply.error else self.acknowledged).add(key)


async def _meeting(before: Any, after: Any, draw: random.Random, root_stays: bool) -> None:
    root, fork = await two()
    if not root_stays:  # then it has left the common ancestor as well
        root = root.fork(9, "b1")
    clients = {name: _Client(name) for name in ("ada", "bob", "cy")}
    clients["ada"].session = session_of(root, "ada")

    async def play(steps: Any, only: Branch | None) -> None:
        for where, name, what in steps:
            branch = only or (root if where == "root" else fork)
            client = clients[name]
            if what == "repeat" and client.unanswered:
                for serial in list(client.unanswered):
                    await client.send(branch, serial, hears=True)
                continue
            client.serial += 1
            payload = {"id": f"{name}-{client.serial}", "refuse": what == "refuse"}
            client.unanswered[client.serial] = payload
            await client.send(branch, client.serial, hears=what != "lose")

    await play(before, None)
    journal = list(fork.machine.lineage.journal)
    while True:
        for item in journal[: draw.randint(0, len(journal))]:
            await root.replay(item)
        if draw.random() < 0.5:
            break
        if root_stays:
            root.take_over(by_snapshot=draw.random() < 0.5)
    await play(after, root)
    for item in journal:
        await root.replay(item)
    for client in clients.values():
        for serial in list(client.unanswered):
            await client.send(root, serial, hears=True)
    runs = Counter(root.machine.state["runs"])
    assert set(runs.values()) <= {1}
    for client in clients.values():
        assert client.acknowledged <= set(runs), "an acknowledged request is missing"
        assert not client.refused & set(runs), "a refused request was counted"
    root.host.assert_in_step()


@pytest.mark.parametrize("planted", ["holes", "adopt"])
def test_the_model_notices(planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With either rule broken, some meeting goes wrong."""
    if planted == "holes":
        monkeypatch.setattr("ftweb.app.sessions._dig", lambda *_: None)
    else:
        monkeypatch.setattr(Lineage, "is_foreign", lambda *_: False)
    steps = [("fork", "bob", "ask"), ("fork", "bob", "ask"), ("root", "bob", "ask")]
    with pytest.raises(AssertionError):
        asyncio.run(_meeting(steps, [("root", "bob", "ask")], random.Random(1), True))
