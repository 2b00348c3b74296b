"""``ftweb check``: what is in an app, and what its author may not have meant."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import click

from ftweb.bridge.bundle import make_bundle
from ftweb.cli.check import AppFacts, check_app


def report_app(app_dir: Path, *, as_json: bool) -> None:
    """Run the command.

    Raises:
        AppLoadError: the app cannot be run.
    """
    facts = check_app(app_dir)
    bundle = make_bundle(app_dir.absolute())
    with zipfile.ZipFile(io.BytesIO(bundle.data)) as archive:
        sizes = [info.file_size for info in archive.infolist()]
    found: dict[str, Any] = {
        "name": facts.name,
        "messages": facts.messages,
        "http": facts.serves_http,
        "on_quorum_loss": facts.options["on_quorum_loss"],
        "pages": sorted(bundle.pages),
        "presenter_page": "presenter.html" in bundle.pages,
        "files": len(sizes),
        "bytes": sum(sizes),
        "simulation": (app_dir / "simulation.py").is_file(),
        "notes": notes(app_dir, facts),
    }
    click.echo(json.dumps(found) if as_json else _for_people(found, app_dir))


def notes(app_dir: Path, facts: AppFacts) -> list[str]:
    """What works, and hardly as meant."""
    if facts.serves_http or (app_dir / "pages" / "index.html").is_file():
        return []
    return [
        "There is no pages/index.html, so phones that open the address get a page that only stands "
        "by as host. Put there what everybody is to see."
    ]


def _for_people(found: dict[str, Any], app_dir: Path) -> str:
    pages = [name for name in found["pages"] if name.endswith(".html")]
    own = "" if found["presenter_page"] or not pages else " (the presenter opens it, too)"
    lines = {
        "messages": f"{found['messages']}()" if found["messages"] else "none",
        "HTTP": "an ASGI application" if found["http"] else "none",
        "pages": f"{', '.join(pages)}{own}" if pages else "none",
        "too few left": found["on_quorum_loss"],
        "every tab loads": f"{found['files']} files, {found['bytes'] / 1000:,.1f} kB",
        "simulation": f"ftweb simulate --app {app_dir}" if found["simulation"] else "none",
    }
    return "\n".join(
        [
            f"{found['name']} can be run: ftweb run {app_dir}",
            *(f"  {name:<16} {value}" for name, value in lines.items()),
            *(f"Note: {note}" for note in found["notes"]),
        ]
    )
