"""The commands, their options and their help. ``docs/cli.md`` is made of these texts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

import ftweb
from ftweb.cli import errors
from ftweb.cli.errors import debugging

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 88}


_host = click.option(
    "--host",
    metavar="A",
    default="0.0.0.0",
    help="Address to listen on; default: all of this machine's.",
)
_port = click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 lets the system choose.",
)


@click.group(invoke_without_command=True, context_settings=_SETTINGS)
@click.version_option(ftweb.__version__, prog_name="ftweb", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Run a web app whose server lives in the audience's own browser tabs.

    \b
    Examples:
      ftweb run examples/voting     serve an app on this network, open its page
      ftweb bridge ADDRESS          on another laptop: nobody depends on the first any more
      ftweb browse                  list the servers on this network
      ftweb check my_app            see whether tabs can run it
      ftweb simulate                see that no fault loses a vote

    FTWEB_DEBUG=1 shows tracebacks and debug logs.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@click.argument("app_dir", metavar="APP_DIR", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Name of this server; default: the app's own.")
@_host
@_port
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where tokens and saved votes are kept; default: a directory of this app and name "
    "among the user's data.",
)
@click.option("--no-browser", is_flag=True, help="Do not open the presenter's page.")
@click.option("--no-mdns", is_flag=True, help="Do not publish the server by name.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Say where the server is as one line of JSON on stdout; logs go to stderr.",
)
def run(
    app_dir: Path,
    name: str | None,
    host: str,
    port: int,
    data: Path | None,
    no_browser: bool,
    no_mdns: bool,
    as_json: bool,
) -> None:
    """Serve the app in APP_DIR on this network until Ctrl-C.

    APP_DIR holds app.py (the server, with ftweb.init_server) and pages/ (index.html, and
    presenter.html if the presenter has a page of their own). Prints the address and a QR code for
    phones, and opens the presenter's page in this machine's browser, whose tab then runs the
    server.

    \b
    Examples:
      ftweb run examples/voting
      ftweb run examples/voting --name "Physics 101" --port 8000
      ftweb run my_app --data ./saved        keep tokens and state in ./saved
      BROWSER=none ftweb run my_app          like --no-browser
      ftweb run my_app --json                for scripts: name, guid, port, urls,
                                             join_url, presenter_url, join_token,
                                             presenter_token, data, bridge_command
    """
    from ftweb.cli.run import RunOptions, run_app

    run_app(
        RunOptions(
            app_dir=app_dir,
            name=name,
            host=host,
            port=port,
            data=data,
            open_browser=not no_browser,
            mdns=not no_mdns,
            as_json=as_json,
        )
    )


@cli.command()
@click.argument("app_dir", metavar="APP_DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(app_dir: Path, as_json: bool) -> None:
    """Tell what is in an app, or what is wrong with it, without running it.

    app.py is imported in a process of its own, with what tabs have: a module that is only on this
    machine is an error, as it will be in a tab. `ftweb run` begins with the same. The exit status
    is 0 if the app can be run.

    \b
    Examples:
      ftweb check my_app
      ftweb check my_app --json        name, messages, http, on_quorum_loss, pages,
                                       presenter_page, files, bytes, simulation, notes
    """
    from ftweb.cli.report import report_app

    report_app(app_dir, as_json=as_json)


@cli.command()
@click.argument("address", metavar="[ADDRESS]", required=False)
@click.option(
    "--token", metavar="T", help="The presenter token, unless ADDRESS has it after #presenter=."
)
@_host
@_port
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the app, tokens and saved votes are kept; default: a directory of this server "
    "among the user's data.",
)
@click.option("--no-mdns", is_flag=True, help="Do not look for or publish the server by name.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Say where the bridge is as one line of JSON on stdout; logs go to stderr.",
)
def bridge(
    address: str | None,
    token: str | None,
    host: str,
    port: int,
    data: Path | None,
    no_mdns: bool,
    as_json: bool,
) -> None:
    """Join a running server with this laptop, so that the first one may leave.

    On the first laptop `ftweb run` prints the whole command. ADDRESS is where its bridge is, with
    the presenter token, which is never sent: both sides prove that they know it. The app comes from
    there; no files are needed here. This bridge then serves the same pages, carries messages
    between its phones and the others', and keeps a copy of all that is saved. When the first laptop
    closes, phones come over by themselves and newcomers join here.

    Without ADDRESS: with --data of an earlier time everything is known already; else the server
    is looked for on this network by name, and the token asked for.

    \b
    Examples:
      ftweb bridge 'http://192.0.2.7:8765/#presenter=TOKEN'
      ftweb bridge 192.0.2.7:8765 --token TOKEN
      ftweb bridge                          find it by name, ask for the token
      ftweb bridge --data ./saved           again, also when no other laptop is left
      ftweb bridge ADDRESS --json           for scripts: as ftweb run
    """
    from ftweb.cli.bridge import BridgeOptions, run_bridge

    run_bridge(
        BridgeOptions(
            address=address,
            token=token,
            host=host,
            port=port,
            data=data,
            mdns=not no_mdns,
            as_json=as_json,
        )
    )


@cli.command()
@click.option(
    "--timeout",
    metavar="S",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    show_default=True,
    help="Seconds to listen.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object per server, each on a line, once the time is over.",
)
def browse(timeout: float, as_json: bool) -> None:
    """List the servers on this network, found by mDNS.

    A server is shown as it was last heard of: when its host changes while this listens, the
    newer (epoch, term) counts; one that said goodbye is left out. Finding none is no error.

    \b
    Examples:
      ftweb browse
      ftweb browse --timeout 10
      ftweb browse --json           name, type, host, addresses, port, url, path,
                                    guid, epoch, term, node
    """
    from ftweb.cli.browse import browse_network

    browse_network(timeout=timeout, as_json=as_json)


@cli.command()
@click.option(
    "--schedules",
    metavar="N",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="How many schedules to run.",
)
@click.option(
    "--seed", metavar="S", type=int, default=1, show_default=True, help="Of the first schedule."
)
@click.option(
    "--jobs",
    metavar="J",
    type=click.IntRange(1),
    help="Processes; default: one for each core.",
)
@click.option(
    "--app",
    "app_dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Simulate this app, with what its simulation.py says people ask for and what must hold; "
    "default: a vote and a few registers.",
)
@click.option(
    "--replay",
    metavar="SEED",
    help="Run this one schedule and tell what happens; also a file with a smallest schedule.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(
    schedules: int,
    seed: int,
    jobs: int | None,
    app_dir: Path | None,
    replay: str | None,
    as_json: bool,
) -> None:
    """Run many fault schedules on virtual time, each from a seed.

    A whole class runs in one process: bridge, tabs and network, with the real replicas, handlers
    and client sessions. Tabs crash, freeze and leave, links fail, the bridge is killed; afterwards
    each acknowledged vote must be there exactly once. The exit status is 1 if anything that
    ftweb promises, or your app's own invariant, does not hold.

    \b
    Examples:
      ftweb simulate                                200 schedules
      ftweb simulate --schedules 100000 --seed 7
      ftweb simulate --replay 42                    what happens in schedule 42
      ftweb simulate --app my_app                   your own handlers and invariants
      ftweb simulate --json                         for scripts
    """
    from ftweb.cli.simulate import SimulateOptions
    from ftweb.cli.simulate import simulate as run_simulation

    status = run_simulation(
        SimulateOptions(
            schedules=schedules,
            seed=seed,
            jobs=jobs,
            app_dir=app_dir,
            replay=replay,
            as_json=as_json,
        )
    )
    click.get_current_context().exit(status)


def main(arguments: Sequence[str] | None = None) -> None:
    """The ``ftweb`` command. Does not return.

    Args:
        arguments: instead of the process's own.
    """
    try:
        status = cli.main(args=arguments, prog_name="ftweb", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        status = 130  # as a shell has it for SIGINT, here: before there was anything to stop
    except Exception as error:
        if debugging() and not isinstance(error, click.ClickException):
            raise
        status = errors.report(error)
    sys.exit(status if isinstance(status, int) else 0)
