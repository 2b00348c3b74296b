"""The voting app as a class uses it: by its pages, on three phones at an insecure origin.

What the handlers refuse and count is tested without browsers in ``tests/examples``; here it is
about what people see and do, and about ballots across takeovers.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.e2e.classroom import VOTING, Classroom, Tab, until
from tests.e2e.classroom import classroom as make_classroom

pytestmark = pytest.mark.asyncio(loop_scope="module")

expect.set_options(timeout=15_000)

HOSTILE = (
    "<img src=x onerror=\"globalThis.hit=1\"><script>hit=1</script> ${hit} {{hit}} 'x' & <b>B</b>"
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared() -> AsyncIterator[Classroom]:
    async with make_classroom(VOTING) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def classroom(shared: Classroom) -> AsyncIterator[Classroom]:
    """The class restored; afterwards no page may have complained."""
    await shared.restore()
    yield shared
    assert shared.problems() == []


async def create(
    classroom: Classroom, question: str, options: Sequence[str] = (), kind: str = "single"
) -> None:
    """Create and start a poll with the presenter's form; wait until every phone shows it."""
    tab = classroom.presenter
    await tab.get("new-question").fill(question)
    await tab.page.locator(f'[data-testid="kind"][data-kind="{kind}"]').click()
    for number, option in enumerate(options):
        await tab.get("new-option").nth(number).fill(option)
    await tab.get("create-poll").click()
    for one in [tab, *classroom.phone_tabs]:
        await expect(one.get("poll-question")).to_have_text(question)


async def recorded(tab: Tab, words: str) -> None:
    """The page says that this is what has been recorded."""
    await expect(tab.get("my-vote")).to_contain_text(words)


async def test_single_choice_can_be_changed_until_it_is_closed(classroom: Classroom) -> None:
    one, two, three = classroom.phone_tabs
    presenter = classroom.presenter
    await create(classroom, "Which planet is largest?", ["Mars", "Jupiter", "Venus"])
    await one.option("1").click()
    await two.option("1").click()
    await three.option("0").click()
    await recorded(one, "Jupiter")
    await recorded(three, "Mars")
    await three.option("2").click()
    await recorded(three, "Venus")
    for option_id, votes in (("0", 0), ("1", 2), ("2", 1)):
        await expect(presenter.tally(option_id, votes)).to_be_visible()

    await expect(one.tally("1")).to_have_count(0)  # not shown yet
    await presenter.get("show-results").click()
    await expect(one.tally("1", 2)).to_be_visible()
    await presenter.get("hide-results").click()
    await expect(one.tally("1")).to_have_count(0)

    await presenter.get("close-poll").click()
    await expect(one.option("0").locator("input")).to_be_disabled()
    await recorded(one, "Jupiter")
    await presenter.get("reopen-poll").click()
    await one.option("0").click()
    await recorded(one, "Mars")
    await expect(presenter.tally("0", 1)).to_be_visible()


async def test_multiple_choice(classroom: Classroom) -> None:
    one, two, _ = classroom.phone_tabs
    await create(classroom, "Which are prime?", ["2", "4", "7"], "multiple")
    await one.option("0").click()
    await one.option("2").click()
    await one.get("submit-vote").click()
    await two.option("2").click()
    await two.get("submit-vote").click()
    await recorded(one, "2")
    for option_id, votes in (("0", 1), ("1", 0), ("2", 2)):
        await expect(classroom.presenter.tally(option_id, votes)).to_be_visible()


async def test_rating(classroom: Classroom) -> None:
    one, two, three = classroom.phone_tabs
    await create(classroom, "How clear was that?", kind="rating")
    for tab, step in ((one, "5"), (two, "4"), (three, "5")):
        await tab.option(step).click()
        await recorded(tab, step)
    await expect(classroom.presenter.tally("5", 2)).to_be_visible()
    await expect(classroom.presenter.tally("4", 1)).to_be_visible()


async def test_short_answers_from_people_are_text_and_nothing_else(classroom: Classroom) -> None:
    one, two, three = classroom.phone_tabs
    await create(classroom, f"Why? {HOSTILE}", kind="text")
    await one.get("text-answer").fill(HOSTILE)
    await one.get("submit-vote").click()
    for tab in (two, three):
        await tab.get("text-answer").fill("Because")
        await tab.get("submit-vote").click()
        await recorded(tab, "Because")
    await recorded(one, HOSTILE)
    presenter = classroom.presenter
    await expect(presenter.get("tally").filter(has_text=HOSTILE)).to_be_visible()
    await expect(presenter.get("tally").filter(has_text="Because")).to_have_attribute(
        "data-votes", "2"
    )
    for tab in classroom.tabs.values():
        assert await tab.page.evaluate("globalThis.hit") is None
        assert await tab.page.locator("img[src=x], b").count() == 0


async def test_hostile_questions_and_options_are_text(classroom: Classroom) -> None:
    await create(classroom, HOSTILE, [f"{HOSTILE} one", f"{HOSTILE} two"])
    for tab in classroom.phone_tabs:
        await expect(tab.option("0")).to_contain_text(HOSTILE)
    for tab in classroom.tabs.values():
        assert await tab.page.evaluate("globalThis.hit") is None
        assert await tab.page.locator("img[src=x], b").count() == 0


async def test_csv_export(classroom: Classroom, tmp_path: Path) -> None:
    one = classroom.phone_tabs[0]
    await create(classroom, 'Say "cheese", or not; =1+1', ["=HYPERLINK(1)", "No, thanks"])
    await one.option("1").click()
    await recorded(one, "No, thanks")
    await expect(classroom.presenter.tally("1", 1)).to_be_visible()
    session = await classroom.laptop.browser.new_browser_cdp_session()
    await session.send(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    await classroom.presenter.get("export-csv").click()

    def read() -> str:
        """Empty until all of it is there: the browser makes the file first, then fills it."""
        texts = [path.read_text(encoding="utf-8-sig") for path in tmp_path.glob("*.csv")]
        return texts[0] if len(texts) == 1 and not list(tmp_path.glob("*.crdownload")) else ""

    async def saved() -> bool:
        return bool(await asyncio.to_thread(read))

    await until(saved)
    text = read()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    mine = [row for row in rows if row["Question"] == 'Say "cheese", or not; =1+1']
    assert [(row["Answer"], row["Votes"]) for row in mine] == [
        ("'=HYPERLINK(1)", "0"),  # a spreadsheet must not run it
        ("No, thanks", "1"),
    ]


async def test_a_reload_keeps_the_ballot_and_a_second_tab_is_no_second_vote(
    classroom: Classroom,
) -> None:
    one = classroom.phone_tabs[0]
    await create(classroom, "Once only?", ["Yes", "No"])
    await one.option("0").click()
    await recorded(one, "Yes")
    node = (await one.status())["nodeId"]
    await one.page.reload()
    await recorded(one, "Yes")
    await expect(one.option("0").locator("input")).to_be_checked()
    await one.until("s.ready && s.nodeId !== x", argument=node)

    second = Tab(one.device, await one.device.open(classroom.bridge.join_url))
    await recorded(second, "Yes")
    await second.option("1").click()
    await recorded(second, "No")
    await recorded(one, "No")
    await expect(classroom.presenter.tally("0", 0)).to_be_visible()
    await expect(classroom.presenter.tally("1", 1)).to_be_visible()
    await second.page.close()


async def test_a_browser_that_crashed_is_still_the_same_voter(classroom: Classroom) -> None:
    one = classroom.phone_tabs[0]
    await create(classroom, "Again after a crash?", ["Yes", "No"])
    await one.option("0").click()
    await recorded(one, "Yes")
    await classroom.kill_browser(one)
    again = await classroom.open(classroom.phones[0])
    await recorded(again, "Yes")
    await again.option("1").click()
    await recorded(again, "No")
    await expect(classroom.presenter.tally("0", 0)).to_be_visible()
    await expect(classroom.presenter.tally("1", 1)).to_be_visible()


async def test_votes_go_on_while_the_host_is_killed_and_a_late_joiner_counts_the_same(
    classroom: Classroom,
) -> None:
    one, two, three = classroom.phone_tabs
    await create(classroom, "Who goes on?", ["Us", "They"])
    await one.option("0").click()
    await recorded(one, "Us")
    poll_id = list((await classroom.script())["state"]["polls"])[-1]

    await two.option("1").click()  # on its way while the host dies
    await classroom.kill_browser(classroom.presenter)
    await three.option("0").click()  # sent into the gap
    await recorded(two, "They")
    await recorded(three, "Us")
    assert await classroom.host_tab() in classroom.phone_tabs
    for tab in classroom.phone_tabs:
        await expect(tab.get("status")).to_have_attribute("data-state", "connected")

    joined = await classroom.script({"type": "tally", "poll_id": poll_id})
    assert joined["replies"] == [{"poll_id": poll_id, "counts": {"0": 2, "1": 1}, "voters": 3}]
    devices = [(await tab.status())["deviceId"] for tab in (one, two, three)]
    assert joined["state"]["polls"][poll_id]["ballots"] == dict(
        zip(devices, ["0", "1", "0"], strict=True)
    )

    back = await classroom.open(classroom.laptop)
    await expect(back.tally("0", 2)).to_be_visible()
    await back.until("s.hosting", 60)
    await back.get("close-poll").click()
    await expect(one.option("0").locator("input")).to_be_disabled()


async def test_only_the_presenter_runs_polls(classroom: Classroom) -> None:
    poll = {"type": "create_poll", "kind": "single", "question": "Mine?", "options": ["A", "B"]}
    refused = (await classroom.script(poll))["replies"][0]
    assert refused["error"] == "not_presenter"
    created = (await classroom.script(poll, presenter=True))["replies"][0]
    replies = (
        await classroom.script(
            {"type": "close_poll", "poll_id": created["poll_id"]},
            {"type": "vote", "poll_id": created["poll_id"], "choice": "7"},
            {"type": "vote", "poll_id": "nowhere", "choice": "0"},
        )
    )["replies"]
    assert [reply["error"] for reply in replies] == ["not_presenter", "bad_choice", "unknown_poll"]
    await classroom.script({"type": "close_poll", **created}, presenter=True)
    vote = {"type": "vote", "poll_id": created["poll_id"], "choice": "0"}
    assert (await classroom.script(vote))["replies"][0]["error"] == "poll_closed"


async def test_the_presenter_sees_who_is_there_and_how_to_join(classroom: Classroom) -> None:
    presenter = classroom.presenter
    await expect(presenter.get("participants")).to_have_text("4")
    url = await presenter.get("join-url").text_content()
    assert url is not None
    # The laptop's tab is at localhost, which would be a phone's own: it shows the LAN address.
    assert url.replace(" ", "").startswith(
        f"http://{classroom.bridge.host.address}:{classroom.bridge.port}/"
    )
    assert classroom.bridge.info["join_token"] in url
    assert await presenter.get("join-qr").locator("svg").count() == 1
    await expect(presenter.get("status")).to_have_attribute("data-state", "connected")


async def test_voting_by_keyboard_alone(classroom: Classroom) -> None:
    one = classroom.phone_tabs[0]
    await create(classroom, "Without a mouse?", ["No", "Yes", "Perhaps"])
    await one.page.bring_to_front()
    inside = "document.activeElement.closest('[data-testid=option]')?.dataset.optionId ?? null"
    for _ in range(15):
        await one.page.keyboard.press("Tab")
        if await one.page.evaluate(inside) is not None:
            break
    assert await one.page.evaluate(inside) == "0"
    outline = await one.page.evaluate(
        """() => {
            const input = document.activeElement, label = input.closest("label");
            const seen = one => getComputedStyle(one).outlineStyle !== "none" ||
                getComputedStyle(one).boxShadow !== "none";
            return seen(input) || seen(label);
        }"""
    )
    assert outline, "the focus cannot be seen"
    await one.page.keyboard.press("ArrowDown")
    assert await one.page.evaluate(inside) == "1"
    await expect(one.get("my-vote")).to_have_count(0)  # passing by is no vote
    await one.page.keyboard.press("Space")
    await recorded(one, "Yes")
    await one.page.keyboard.press("3")
    await recorded(one, "Perhaps")


async def test_what_a_screen_reader_is_told(classroom: Classroom) -> None:
    one = classroom.phone_tabs[0]
    await create(classroom, "Can you hear me?", ["Yes", "No"])
    # Found by role and name alone: group, radio buttons, and a status that is announced.
    group = one.page.get_by_role("group", name="Can you hear me?")
    await group.get_by_role("radio", name="Yes").check()
    await expect(one.page.get_by_role("status").filter(has_text="Recorded: ")).to_have_count(1)
    await expect(one.page.get_by_role("heading", name="Can you hear me?")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_fit_and_differ_in_light_and_dark(
    classroom: Classroom, scheme: str, tmp_path: Path
) -> None:
    one, presenter = classroom.phone_tabs[0], classroom.presenter
    long = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 2
    await create(classroom, f"Fits {scheme}? {long}", [long, "Short"])
    await one.option("0").click()
    await expect(one.get("my-vote")).to_be_visible()
    await presenter.get("show-results").click()
    await expect(one.tally("0", 1)).to_be_visible()
    darkness = {}
    for tab, sizes in ((one, [(360, 740)]), (presenter, [(1920, 1080), (1280, 800)])):
        # Playwright's word for "as it was" is missing from its types, hence the two branches.
        if scheme == "dark":
            await tab.page.emulate_media(color_scheme="dark")
        else:
            await tab.page.emulate_media(color_scheme="light")
        for width, height in sizes:
            await tab.page.set_viewport_size({"width": width, "height": height})
            wide = await tab.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wide <= 0, f"{tab.device.name} scrolls sideways by {wide} px at {width} px"
            shot = await tab.page.screenshot(path=tmp_path / f"{tab.device.name}-{width}.png")
            assert len(shot) > 5_000
        darkness[tab.device.name] = await tab.page.evaluate(
            """() => {
                const probe = (one, key) => {
                    const canvas = document.createElement("canvas").getContext("2d");
                    canvas.fillStyle = getComputedStyle(one)[key];
                    canvas.fillRect(0, 0, 1, 1);
                    const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
                    return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
                };
                const { documentElement, body } = document;
                return [probe(documentElement, "backgroundColor"), probe(body, "color")];
            }"""
        )
        await tab.page.emulate_media(color_scheme="null")
    for background, text in darkness.values():
        assert (background < 0.3 < text) if scheme == "dark" else (text < 0.4 < background)
