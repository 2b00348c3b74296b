"""Chaos: faults in random order for a while, then the ledger must be exact.

A class on the namespace LAN whose three phones cast numbered votes all the time. Each round begins
with everybody back, then one or two faults strike, mostly the host: browsers killed, paused or
cut off, tabs closed, reloaded or frozen, the bridge killed, paused or stopped. Sometimes the
second strikes while the first is still being dealt with. After each round the phones must get votes
through again, and a newcomer reads the ledger: each acknowledged vote once, none doubled, none
that nobody cast.

``--seed`` chooses the faults; what a seed does still depends on timing, so a failure need not come
again, but its faults are in the output.

Baseline: the time to acknowledge a vote while all is well, against the longest wait of a round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import time
from collections import Counter
from typing import Any

from _common import finish, machine, say, summary

from tests.e2e.classroom import APPS, Classroom, Tab, classroom
from tests.e2e.ledger import voting

SETTLED_SECONDS = 1.5
"""After everybody is back, until the first fault: by then there are five voters."""

OF_TABS = ("kill", "close", "reload", "freeze", "unplug", "pause browser")
OF_BRIDGES = ("kill bridge", "stop bridge", "pause bridge")


class Round:
    """One round's faults."""

    def __init__(self, made: Classroom, chooser: random.Random) -> None:
        self.made = made
        self.chooser = chooser
        self.done: list[str] = []
        self.silenced: set[str] = set()
        """Phones whose page, and with it the record of its votes, is gone."""

    async def strike(self) -> None:
        """One fault, mostly to the host."""
        made, chooser = self.made, self.chooser
        tabs = list(made.tabs.values())
        hosts = [tab for tab in tabs if (await tab.status()).get("hosting")]
        victim = hosts[0] if hosts and chooser.random() < 0.7 else chooser.choice(tabs)
        fault = chooser.choice(OF_TABS + OF_BRIDGES)
        if victim is made.tabs.get("laptop") and fault == "unplug":
            fault = "kill"  # the laptop's cable is the bridge's: that is "pause bridge"
        if fault in ("kill", "close") and len(tabs) <= 2:
            fault = "stop bridge"
        name = victim.device.name if fault in OF_TABS else "laptop"
        self.done.append(f"{fault}: {name}" if fault in OF_TABS else fault)
        say(f"  {self.done[-1]}")
        await (self.to_tab(fault, victim) if fault in OF_TABS else self.to_bridge(fault))
        if fault in ("kill", "close", "reload"):
            self.silenced.add(name)

    async def to_tab(self, fault: str, tab: Tab) -> None:
        device = tab.device
        match fault:
            case "kill":
                await self.made.kill_browser(tab)
            case "close":
                await self.made.close_tab(tab)
            case "reload":
                await tab.page.reload(wait_until="domcontentloaded")
            case "freeze":
                await device.set_lifecycle(tab.page, "frozen")
                await asyncio.sleep(self.chooser.uniform(0.2, 7))
                await device.set_lifecycle(tab.page, "active")
            case "unplug":
                device.host.unplug()
                await asyncio.sleep(self.chooser.uniform(0.2, 8))
                device.host.plug()
            case "pause browser":
                assert device.process is not None
                await self.pause(device.process.pid)

    async def to_bridge(self, fault: str) -> None:
        bridge = self.made.bridge
        assert bridge.process is not None
        if fault == "pause bridge":
            await self.pause(bridge.process.pid)
            return
        if fault == "kill bridge":
            bridge.kill()
        else:
            await bridge.stop()
        await asyncio.sleep(self.chooser.uniform(0, 2))
        await bridge.start()

    async def pause(self, group: int) -> None:
        os.killpg(group, signal.SIGSTOP)
        await asyncio.sleep(self.chooser.uniform(0.3, 8))
        os.killpg(group, signal.SIGCONT)


async def one_round(made: Classroom, chooser: random.Random) -> dict[str, Any]:
    await made.restore()
    await made.script({"type": "clear"})
    for tab in made.phone_tabs:
        await tab.page.evaluate("Object.assign(votes, {next: 1, acknowledged: [], refused: []})")
    here = Round(made, chooser)
    phones = made.phone_tabs
    async with voting(made, phones, interval=chooser.choice((10, 25, 60))) as outcome:
        await asyncio.sleep(SETTLED_SECONDS)
        quiet_until = time.time() * 1000
        for _ in range(chooser.randint(1, 2)):
            await here.strike()
            await asyncio.sleep(chooser.choice((0, 0.1, 0.3, 1, 2)))
        for phone in phones:
            if phone.device.name in here.silenced:
                made.tabs.pop(phone.device.name, None)
        left = [tab for tab in phones if tab in made.tabs.values()]
        for tab in left:
            had = await tab.page.evaluate("votes.acknowledged.length")
            await tab.until("votes.acknowledged.length >= x", 60, had + 3)
    votes = [vote for report in outcome.reports for vote in report.acknowledged]
    for phone in phones:  # a reloaded page is still open, but is opened anew for the next round
        if phone.device.name in here.silenced and phone.device.running:
            await phone.page.close()
    return {
        "faults": here.done,
        "quiet": [vote.done - vote.sent for vote in votes if vote.done < quiet_until],
        "longest": max(vote.done - vote.sent for vote in votes),
        "votes": len(votes),
        "lost": len(outcome.lost),
        "doubled": len(outcome.doubled),
        "invented": len(outcome.invented),
        "refused": sum(len(report.refused) for report in outcome.reports),
        "unanswered": sum(r.cast - len(r.acknowledged) - len(r.refused) for r in outcome.reports),
    }


BAD = ("lost", "doubled", "invented", "refused", "unanswered")


async def measure(seconds: float, seed: int) -> tuple[dict[str, Any], bool]:
    before, chooser = machine(), random.Random(seed)
    done: list[dict[str, Any]] = []
    end = time.monotonic() + seconds
    async with classroom(APPS / "ledger") as made:
        while time.monotonic() < end:
            say(f"round {len(done) + 1}")
            done.append(await one_round(made, chooser))
        problems = made.problems()
    bad = {key: sum(one[key] for one in done) for key in BAD}
    quiet = summary([value for one in done for value in one["quiet"]])
    longest = summary([one["longest"] for one in done])
    result = {
        "benchmark": "chaos",
        "seed": seed,
        "rounds": len(done),
        "faults": Counter(fault.partition(":")[0] for one in done for fault in one["faults"]),
        "votes": sum(one["votes"] for one in done),
        **bad,
        "bad_rounds": [one["faults"] for one in done if any(one[key] for key in BAD)],
        "longest_wait_of_a_round_ms": longest,
        "baseline_vote_ms": quiet,
        "ratio": round(longest["median"] / quiet["median"], 1),
        "page_problems": problems,
        "machine": before,
    }
    return result, not any(bad.values()) and not problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    result, ok = asyncio.run(measure(arguments.seconds, arguments.seed))
    finish(result, ok=ok)
