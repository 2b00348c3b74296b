"""The code in the documentation runs: every fenced block is compiled, the apps are run for real."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest

import ftweb
from ftweb.app import load_app
from ftweb.bridge import BridgeConfig
from ftweb.cli.check import check_app
from ftweb.cli.commands import cli
from ftweb.simulation.runner import run_many
from tests.bridge.conftest import PATIENCE, Bridge

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
PAGES += sorted(ROOT.glob("examples/*/README.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [code for found, code in BLOCK.findall(text) if found == language]


def everywhere(language: str) -> list[Any]:
    return [
        pytest.param(code, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, code in enumerate(blocks(str(page.relative_to(ROOT)), language))
    ]


# --- every block ------------------------------------------------------------------------------


def compiled(code: str) -> Any:
    return compile(code, "<docs>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("code", everywhere("python"))
def test_python_compiles(code: str) -> None:
    compiled(code)


@pytest.mark.parametrize("code", everywhere("js"))
def test_javascript_parses(code: str) -> None:
    node = shutil.which("node")
    assert node, "Node is needed, see CONTRIBUTING.md"
    done = subprocess.run(
        [node, "--input-type=module", "--check", "-"],
        input=code,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", everywhere("sh"))
def test_commands_are_understood(code: str) -> None:
    for line in code.splitlines():
        words = shlex.split(line, comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            del words[0]
        if words[:1] == ["ftweb"]:
            # Raises click.UsageError for what it does not know.
            cli.commands[words[1]].make_context(words[1], words[2:])
        elif words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


# --- the apps, for real -----------------------------------------------------------------------


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, code in files.items():
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    return folder


@pytest.fixture
def guide_app(tmp_path: Path) -> Path:
    """The app of the guide, with its HTTP route and its simulation."""
    python = blocks("docs/writing-apps.md", "python")
    (http,) = [code for code in python if "server.mount(" in code]
    (simulation,) = [code for code in python if "@invariant" in code]
    return write(tmp_path / "my-app", app=f"{python[0]}\n{http}", simulation=simulation)


async def hosted(app: Path, data: Path, use: Callable[[Bridge], Any]) -> None:
    """Serve an app by a real bridge, and host it in a tab without a browser."""
    facts = check_app(app)
    bridge = Bridge(
        BridgeConfig.create(
            name=facts.name,
            app_dir=app,
            data_dir=data,
            initial_state=facts.state,
            on_quorum_loss=facts.options["on_quorum_loss"],
            host="127.0.0.1",
            port=0,
            mdns=False,
            serves_http=facts.serves_http,
        )
    )
    await bridge.start()
    try:
        tab = await bridge.tab(load_app(app))
        await tab.hosts()
        await asyncio.wait_for(use(bridge), PATIENCE)
    finally:
        await bridge.stop()


def test_the_guides_app_answers_scripts_and_curl(guide_app: Path, tmp_path: Path) -> None:
    (script,) = [c for c in blocks("docs/writing-apps.md", "python") if "ftweb.connect(" in c]
    table = []

    async def use(bridge: Bridge) -> None:
        assert bridge.started is not None
        names: dict[str, Any] = {}
        address = f"{bridge.origin}/#join={bridge.started.join_token}"
        body = script.replace("http://localhost:8765/#join=TOKEN", address)
        exec(compiled(body.replace("asyncio.run(main())", "")), names)
        await names["main"]()
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{bridge.origin}/ballots.csv")
        table.append((answer.status_code, answer.headers["content-type"], answer.text))

    with redirect_stdout(StringIO()) as out:
        asyncio.run(hosted(guide_app, tmp_path / "data", use))
    assert "{'accepted': True}\n" in out.getvalue()
    assert "told {'type': 'tally', 'counts': {'A': 1}}\n" in out.getvalue()
    assert out.getvalue().endswith("1 have voted\n")
    ((status, kind, text),) = table
    assert status == 200
    assert kind.startswith("text/csv")
    assert re.fullmatch(r"[0-9a-f]{32},A\r\n", text)


@pytest.mark.parametrize("page", ["docs/writing-apps.md", "docs/simulation.md"])
def test_the_guides_app_can_be_simulated(page: str, guide_app: Path) -> None:
    (simulation,) = [code for code in blocks(page, "python") if "@invariant" in code]
    write(guide_app, simulation=simulation)
    summary = run_many(range(3), app_dir=guide_app)
    assert [str(found.violation) for found in summary.violations] == []
    assert summary.votes > 50
    assert set(summary.errors) <= {"session_expired"}, summary.examples  # by a fault


def test_the_apps_invariant_finds_a_lost_ballot(guide_app: Path) -> None:
    app = (guide_app / "app.py").read_text(encoding="utf-8")
    forgetful = app.replace(
        'with server.change() as state:\n        state["ballots"]',
        "with "
        'server.change() as state:\n        state["ballots"].clear()\n        state["ballots"]',
    )
    assert forgetful != app
    write(guide_app, app=forgetful)
    (found,) = run_many(range(1), app_dir=guide_app).violations
    assert str(found.violation).startswith("nobody_is_forgotten: a ballot is lost")


def test_the_readmes_app_and_script(tmp_path: Path) -> None:
    app, script = blocks("README.md", "python")
    folder = write(tmp_path / "my_app", app=app)
    said: list[Any] = []

    async def use(bridge: Bridge) -> None:
        assert bridge.started is not None
        # By its address: looking a name up takes a network.
        body = script.replace('"classroom-vote"', repr(bridge.origin))
        names = {"ftweb": ftweb, "TOKEN": bridge.started.join_token, "print": said.append}
        await eval(compiled(body), names)

    asyncio.run(hosted(folder, tmp_path / "data", use))
    assert said == [{"accepted": True}]


def test_the_http_apps(tmp_path: Path) -> None:
    published, mounted = blocks("docs/flyweb.md", "python")
    board = (ROOT / "examples" / "asgi" / "board.py").read_text(encoding="utf-8")
    facts = check_app(write(tmp_path / "board", app=published, board=board))
    assert (facts.name, facts.messages, facts.serves_http) == ("notice-board", None, True)
    queue = write(tmp_path / "queue", app=mounted)
    got = []

    async def use(bridge: Bridge) -> None:
        async with httpx.AsyncClient() as client:
            url = f"{bridge.origin}/waiting"
            got.append((await client.post(url, json={"name": "Ada"})).json())
            got.append((await client.get(url)).json())

    asyncio.run(hosted(queue, tmp_path / "data", use))
    assert got == [{"place": 1}, ["Ada"]]


def test_what_the_file_examples_call_exists() -> None:
    """They are parts of scripts; what they do is tested with the files themselves."""
    handler, script = blocks("docs/files.md", "python")
    server = ftweb.init_server("files", state={"files": {}})
    exec(compiled(handler), {"server": server})
    assert server.handler is not None
    imports = "\n".join(line for line in script.splitlines() if line.startswith("from "))
    names: dict[str, Any] = {}
    exec(imports, names)
    inspect.signature(names["download"]).bind("manifest", Path(), origins=[])
    assert callable(names["parse_manifest"])
