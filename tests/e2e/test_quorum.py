"""Most of the voters die in one moment, for good: the two things that an app can ask for."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

from ftweb.epochs import generation_of
from tests.e2e.classroom import APPS, Classroom, classroom


def _ledger(folder: Path, on_quorum_loss: str) -> Path:
    """The ledger, with that wish."""
    app = folder / on_quorum_loss
    shutil.copytree(APPS / "ledger", app)
    code = (app / "app.py").read_text(encoding="utf-8")
    assert 'on_quorum_loss="continue"' in code
    code = code.replace('on_quorum_loss="continue"', f'on_quorum_loss="{on_quorum_loss}"')
    (app / "app.py").write_text(code, encoding="utf-8")
    return app


async def _lose_quorum(made: Classroom) -> asyncio.Task[object]:
    """Kills three of five voters; gives the vote that the laptop casts then."""
    presenter = made.presenter
    assert await presenter.send({"type": "vote", "n": 1, "voter": "early"}) == {"accepted": True}
    await made.can_lose(2)  # with only three voters so far, the phones would be no majority
    for phone in made.phone_tabs:
        await made.kill_browser(phone)
    await presenter.until("s.state === 'no-quorum' && !s.quorum")
    kept = asyncio.create_task(presenter.send({"type": "vote", "n": 2, "voter": "kept"}))
    await presenter.until("s.pending === 1")
    return kept


async def _check(made: Classroom, kept: asyncio.Task[object], epoch: int) -> None:
    async with asyncio.timeout(30):
        assert await kept == {"accepted": True}
    # Three of five were killed without a word: they might as well go on somewhere else.
    await made.presenter.until("s.hosting && s.quorum && s.state === 'provisional'")
    now = (await made.presenter.status())["epoch"]
    assert generation_of(now) == generation_of(epoch) + 1
    counted = (await made.script())["state"]["counted"]
    assert counted["early"] == {"1": 1}
    assert counted["kept"] == {"2": 1}
    assert made.problems() == []


async def test_an_app_that_wants_to_continue_goes_on_in_a_new_epoch(tmp_path: Path) -> None:
    async with classroom(_ledger(tmp_path, "continue")) as made:
        epoch = (await made.presenter.status())["epoch"]
        await _check(made, await _lose_quorum(made), epoch)
        said = await asyncio.to_thread(made.bridge.log.read_text)
        found = re.search(
            r"in a new epoch\.\s+Of 5 voters (\w{8}, ){2}\w{8} cannot be reached; ", said
        )
        assert found, said


async def test_an_app_that_waits_says_so_and_a_restarted_bridge_goes_on(tmp_path: Path) -> None:
    async with classroom(_ledger(tmp_path, "wait")) as made:
        epoch = (await made.presenter.status())["epoch"]
        kept = await _lose_quorum(made)
        assert await made.bridge.stop() == 0
        await made.bridge.start()
        await _check(made, kept, epoch)


async def test_everything_killed_comes_back_from_what_the_bridge_had_saved(tmp_path: Path) -> None:
    """Bridge and all tabs in one moment, as by a power cut; then only the bridge and one tab."""
    async with classroom(_ledger(tmp_path, "continue")) as made:
        epoch = (await made.presenter.status())["epoch"]
        for number, tab in enumerate(made.tabs.values()):
            vote = {"type": "vote", "n": number, "voter": tab.holder.name}
            assert await tab.send(vote) == {"accepted": True}
        made.bridge.kill()
        for tab in list(made.tabs.values()):
            await made.kill_browser(tab)
        await made.bridge.start()
        again = await made.open(made.laptop)
        await again.until("s.hosting && s.quorum", 60)
        now = (await again.status())["epoch"]
        assert generation_of(now) == generation_of(epoch) + 1
        counted = (await made.script())["state"]["counted"]
        names = [device.name for device in made.devices]
        assert {name: list(counted[name].values()) for name in names} == {
            name: [1] for name in names
        }
        assert await again.send({"type": "vote", "n": 9, "voter": "after"}) == {"accepted": True}
        assert made.problems() == []
