"""The voting pages without a browser: counting and CSV by Node, and rules for every file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftweb.limits import BUNDLE_BYTES

if TYPE_CHECKING:
    from tests.examples.conftest import Classroom

PAGES = Path(__file__).resolve().parents[2] / "examples" / "voting" / "pages"
FILES = sorted(path for path in PAGES.rglob("*") if path.is_file())
VOTER = ["index.html", "base.css", "voter.css", "voter.js", "icon.svg"]
VOTER_MODULES = ["answer.js", "ballot.js", "dom.js", "options.js", "polls.js", "words.js"]

HANDLES = {
    "voter": "poll-question option my-vote tally status submit-vote text-answer notice",
    "presenter": "join-qr join-url participants new-question new-option create-poll close-poll"
    " export-csv reopen-poll show-results hide-results kind poll-question tally status",
}


def run(tmp_path: Path, script: str, given: Any) -> Any:
    """Run a module script beside the pages' own; ``given`` is what it gets."""
    node = shutil.which("node")
    assert node is not None, "Node is needed, as for building the runtime"
    shutil.copytree(PAGES / "lib", tmp_path / "lib", dirs_exist_ok=True)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "script.js").write_text(
        'import { readFileSync } from "node:fs";\n'
        "const given = JSON.parse(readFileSync(0, 'utf8'));\n"
        f"{script}\n"
    )
    done = subprocess.run(
        [node, "script.js"], input=json.dumps(given), cwd=tmp_path, text=True, encoding="utf-8",
        capture_output=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def poll(kind: str, options: list[str], choices: list[Any], **changes: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "question": "Why?",
        "options": options,
        "status": "open",
        "shown": True,
        "ballots": {f"{number:032x}": choice for number, choice in enumerate(choices)},
        **changes,
    }


async def test_pages_count_as_the_server_does(voting: Classroom, tmp_path: Path) -> None:
    cases: list[tuple[str, list[str], list[Any]]] = [
        ("single", ["A", "B", "C"], ["0", "2", "2"]),
        ("multiple", ["A", "B", "C"], [["0", "1"], ["1"], ["0", "1", "2"]]),
        ("rating", ["low", "high"], ["1", "5", "5", "3"]),
        ("text", [], ["Z", "z", "a", "A", "É", "é", "straße", "STRASSE", "ΣΑΣ", "σας", "İ", "i"]),
        ("text", [], ["b", "a", "a", "b", "c", "B", "😀", "\uffee", "10", "9", "__proto__"]),
        ("text", [], []),
    ]
    expected = []
    for kind, options, choices in cases:
        message = {"type": "create_poll", "kind": kind, "question": "Why?", "options": options}
        poll_id = (await voting.send(message, presenter=True))["poll_id"]
        for number, choice in enumerate(choices):
            await voting.send(
                {"type": "vote", "poll_id": poll_id, "choice": choice}, who=f"device {number}"
            )
        reply = await voting.send({"type": "tally", "poll_id": poll_id})
        expected.append([list(reply["counts"].items()), reply["voters"]])
    script = """
        import { rows, voters } from "./lib/polls.js";
        const result = Object.values(given.polls).map(
            poll => [rows(poll).map(row => [row.id, row.votes]), voters(poll)]);
        console.log(JSON.stringify(result));
    """
    got = run(tmp_path, script, voting.state)
    assert got == json.loads(json.dumps(expected))


def test_which_poll_a_phone_shows(tmp_path: Path) -> None:
    def state(current: str | None, **statuses: str) -> dict[str, Any]:
        polls = {name: poll("single", ["A", "B"], [], status=statuses[name]) for name in statuses}
        return {"created": 20, "current": current, "polls": polls}

    cases: list[tuple[dict[str, Any], str | None, str | None]] = [
        (state(None), None, None),
        (state("p1", p1="open"), None, "p1"),
        (state("p1", p1="closed"), None, "p1"),
        (state("p1", p1="ready"), None, None),  # prepared: not for the phones
        (
            state("p1", p1="ready", p2="open", p10="open"),
            None,
            "p10",
        ),  # newest, not last in letters
        (state("p1", p1="closed", p2="open"), None, "p1"),  # the screen leads
        (state("p1", p1="open", p2="open"), "p2", "p2"),  # unless somebody picked another
        (state("p1", p1="open", p2="closed"), "p2", "p1"),  # which must be open
        (state(None, p3="open"), "p9", "p3"),
    ]
    script = """
        import { pollForVoter } from "./lib/polls.js";
        console.log(JSON.stringify(given.map(([state, picked]) => pollForVoter(state, picked))));
    """
    got = run(tmp_path, script, [case[:2] for case in cases])
    assert got == [case[2] for case in cases]


def test_what_was_recorded_is_said_in_words(tmp_path: Path) -> None:
    planets = ["Mercury", "Venus", "Mars"]
    cases: list[tuple[dict[str, Any], Any, str]] = [
        (poll("single", planets, []), "1", "B · Venus"),
        (poll("multiple", planets, []), ["0", "2"], "A · Mercury, C · Mars"),
        (poll("rating", [], []), "4", "4"),
        (poll("rating", ["lost", "sure"], []), "5", "5 · sure"),
        (poll("rating", ["lost", "sure"], []), "4", "4"),
        (poll("rating", ["1", "2", "3", "4", "5"], []), "2", "2"),
        (poll("text", [], []), "photosynthesis", "photosynthesis"),
    ]
    script = """
        import { describe } from "./lib/polls.js";
        console.log(JSON.stringify(given.map(([poll, choice]) => describe(poll, choice))));
    """
    got = run(tmp_path, script, [case[:2] for case in cases])
    assert got == [case[2] for case in cases]


def test_csv_opens_as_it_is_meant(tmp_path: Path) -> None:
    formulas = ['=HYPERLINK("http://x","y")', "+1", "-1", "@SUM(A1)", "\uff1d1+1", " =1"]
    harmless = ['say "hi", or; not', "plain", "1-2", "a=b"]
    state = {
        "created": 11,
        "current": "p11",
        "polls": {
            "p11": poll("text", [], formulas + harmless),
            "p2": poll("single", ["Yes", "=1+1"], ["0", "0", "1"], question="Two,\tthree?"),
            "p3": poll("rating", ["low", "high"], ["5"], status="closed"),
            "p4": poll("text", [], [], status="ready"),
        },
    }
    script = """
        import { toCsv } from "./lib/csv.js";
        console.log(JSON.stringify(toCsv(given)));
    """
    text = run(tmp_path, script, state)
    assert text.startswith("\ufeffPoll,Question,")
    assert text.count("\n") == text.count("\r\n")
    assert text.endswith("\r\n")
    table = list(csv.DictReader(io.StringIO(text[1:], newline=""), strict=True))
    assert [row["Poll"] for row in table] == ["2"] * 2 + ["3"] * 5 + ["4"] + ["11"] * 10
    assert table[0] == {
        "Poll": "2",
        "Question": "Two,\tthree?",
        "Kind": "single",
        "Status": "open",
        "Option": "A",
        "Answer": "Yes",
        "Votes": "2",
        "Percent": "67",
        "Voters": "3",
    }
    assert table[1]["Answer"] == "'=1+1"
    assert (table[6]["Option"], table[6]["Answer"], table[6]["Percent"]) == ("5", "high", "100")
    assert table[7]["Status"] == "ready"
    answers = {row["Answer"] for row in table[8:]}
    assert answers == {f"'{text}" for text in formulas} | set(harmless)


def test_the_voters_page_is_light() -> None:
    names = VOTER + [f"lib/{name}" for name in VOTER_MODULES]
    sizes = {name: len(gzip.compress((PAGES / name).read_bytes(), 6)) for name in names}
    assert sum(sizes.values()) < 20_000, sizes  # a fifth of what a first load may be in all
    assert sum(path.stat().st_size for path in FILES) < BUNDLE_BYTES / 100


def test_the_voters_page_loads_what_is_measured() -> None:
    needed: set[str] = set()
    new = {"voter.js"}
    while new:
        name = new.pop()
        needed.add(name)
        text = (PAGES / name).read_text()
        own = re.findall(r'from "\./((?:lib/)?[\w-]+\.js)"', text)
        folder = Path(name).parent
        new |= {(folder / other).as_posix() for other in own} - needed
    assert needed == {"voter.js", *(f"lib/{name}" for name in VOTER_MODULES)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_inline_nothing_from_elsewhere_and_text_only_as_text(path: Path) -> None:
    text = path.read_text()
    elsewhere = re.findall(
        r"(?:https?:)?//[\w.-]+\.\w+", text.replace("http://www.w3.org/2000/svg", "")
    )
    assert elsewhere == []
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]* src=)", text)
    if path.suffix == ".js":
        forbidden = (
            r"innerHTML|outerHTML|insertAdjacent|document\.write|DOMParser|eval\(|Function\("
        )
        assert not re.search(forbidden, text)


@pytest.mark.parametrize("page", HANDLES)
def test_handles_for_scripts_are_there(page: str) -> None:
    libraries = {
        "voter": ["answer", "ballot", "options"],
        "presenter": ["stage", "composer", "join"],
    }[page]
    markup = "index" if page == "voter" else "presenter"
    sources = [f"{markup}.html", f"{page}.js", *(f"lib/{name}.js" for name in libraries)]
    text = "".join((PAGES / name).read_text() for name in sources)
    missing = [one for one in HANDLES[page].split() if f'"{one}"' not in text]
    assert missing == []


def test_what_scripts_hold_on_to_is_documented() -> None:
    used = set()
    for path in FILES:
        used |= set(re.findall(r'data-testid"?[=:]\s?"([\w-]+)"', path.read_text()))
    readme = (PAGES.parent / "README.md").read_text()
    assert sorted(one for one in used if f"`{one}`" not in readme) == []


def test_types() -> None:
    """The pages' JSDoc types hold, against the runtime's own."""
    root = PAGES.parents[2]
    done = subprocess.run(
        ["node_modules/.bin/tsc", "-p", "examples/tsconfig.json"],
        cwd=root, text=True, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_messages_and_refusals_are_documented() -> None:
    app = (PAGES.parent / "app.py").read_text()
    readme = (PAGES.parent / "README.md").read_text()
    codes = set(re.findall(r'Refusal\(\s*"(\w+)"', app))
    types = set(re.findall(r'^    "(\w+)": \w+', app, re.MULTILINE)) | {"vote", "tally"}
    assert {"bad_choice", "poll_closed"} <= codes
    assert {"create_poll", "close_poll"} <= types
    assert sorted(one for one in codes | types if f"`{one}`" not in readme) == []


STATES = ("connected", "provisional", "taking-over", "offline", "no-quorum", "no-bridge")


def test_every_state_of_the_connection_has_words_of_its_own(tmp_path: Path) -> None:
    script = """
        import { adviceInWords, stateInWords } from "./lib/words.js";
        const status = (state) => ({ state, text: "what to do", term: 2, error: null });
        console.log(JSON.stringify(given.map((state) =>
            [stateInWords(status(state)), stateInWords(status(state), true),
             adviceInWords(status(state))])));
    """
    said = run(tmp_path, script, STATES)
    assert len({phone for phone, _, _ in said}) == len(STATES)
    assert len({presenter for _, presenter, _ in said}) == len(STATES)
    assert "Connecting…" not in {words for phone, board, _ in said for words in (phone, board)}
    told = [state for state, (_, _, advice) in zip(STATES, said, strict=True) if advice]
    assert told == ["no-bridge"]
