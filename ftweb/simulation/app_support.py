"""Simulating an author's own app: what people ask it for, and what must hold.

In ``APP_DIR/simulation.py``, or in any ``APP_DIR/tests/*.py`` that imports this module::

    from ftweb.simulation.app_support import Person, invariant, requests

    @requests
    def ask(person: Person, draw: random.Random):
        if person.presenter and not person.state["polls"]:
            return {"type": "create_poll", ...}
        return {"type": "vote", ...}          # None: asks nothing this time

    @invariant
    def no_more_ballots_than_devices(state):  # after every change
        assert ...

    @invariant
    def every_vote_is_there(state, history):  # at the end; history: the requests with answers
        assert ...

One function has to be decorated with ``@requests``; any number with ``@invariant``. Decorating
only marks a function, so the same file may hold ordinary tests.
"""

from __future__ import annotations

import importlib.util
import inspect
import random
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ftweb.app import Server
from ftweb.app.loader import load_app
from ftweb.errors import AppLoadError
from ftweb.simulation.history import History, Request
from ftweb.simulation.invariants import Violation

__all__ = ["Person", "Request", "invariant", "requests"]

_MARK: Final = "__ftweb_simulation__"


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Who asks.

    Attributes:
        device_id: as handlers see it in ``source``.
        client_id: as handlers see it in ``source``.
        presenter: has the presenter's token.
        state: the app's state as this person's page shows it; None before it has come.
        number: of the request, counted over all persons: good for unique ids.
    """

    device_id: str
    client_id: str
    presenter: bool
    state: Any
    number: int


type Ask = Callable[[Person, random.Random], Any]


def requests[F: Callable[..., Any]](function: F) -> F:
    """Mark the function that says what a person asks for next."""
    setattr(function, _MARK, "requests")
    return function


def invariant[F: Callable[..., Any]](function: F) -> F:
    """Mark a function that raises AssertionError if something does not hold.

    With one parameter it is called with the state after every change; with two, with the state
    and the list of all requests at the end.
    """
    setattr(function, _MARK, "invariant")
    return function


class AuthorsApp:
    """Implements :class:`ftweb.simulation.workload.App` for an app's directory.

    Args:
        directory: holds ``app.py``.

    Raises:
        AppLoadError: the app cannot be imported, or nothing says what people ask for.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        server = load_app(directory)
        self.name = server.name
        self._initial = server.initial_state
        marked = list(_marked(directory))
        asks = [function for function, mark in marked if mark == "requests"]
        if len(asks) != 1:
            found = f"{len(asks)} functions are" if asks else "no function is"
            raise AppLoadError(
                f"{directory}: {found} decorated with @requests in simulation.py or tests/*.py, "
                "where one says what people ask the app for (see docs/simulation.md, Your own app)."
            )
        self._ask: Ask = asks[0]
        self._always: list[Callable[[Any], object]] = []
        self._finally: list[Callable[[Any, Sequence[Request]], object]] = []
        for function, mark in marked:
            if mark == "invariant":
                count = len(inspect.signature(function).parameters)
                (self._always if count == 1 else self._finally).append(function)

    def server(self) -> Server:
        """See :class:`~ftweb.simulation.workload.App`: imported anew, as each tab does, so that
        what an app keeps outside of its state shows."""
        return load_app(self._directory)

    def initial_state(self) -> Any:
        """See :class:`~ftweb.simulation.workload.App`."""
        return self._initial

    def request(self, person: Person, draw: random.Random) -> Any:
        """See :class:`~ftweb.simulation.workload.App`."""
        return _call(self._ask, person, draw)

    def probe(self, person: Person, draw: random.Random) -> Any:
        """See :class:`~ftweb.simulation.workload.App`."""
        return _call(self._ask, person, draw)

    def watch(self, state: Any) -> None:
        """See :class:`~ftweb.simulation.workload.App`."""
        for function in self._always:
            _call(function, state)

    def judge(self, state: Any, history: History) -> None:
        """See :class:`~ftweb.simulation.workload.App`."""
        for function in self._finally:
            _call(function, state, history.requests)

    def is_vote(self, payload: Any) -> bool:
        """See :class:`~ftweb.simulation.workload.App`: whatever was acknowledged counts."""
        return True


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the author's; whatever it raises is told with its name, file and line."""
    try:
        return function(*arguments)
    except Exception as error:
        text = str(error)
        if not isinstance(error, AssertionError):
            text = f"it raised {type(error).__name__}: {text}"
        raise Violation(
            function.__name__, f"{text or 'does not hold'} ({_place(error, function)})"
        ) from error


def _place(error: BaseException, function: Callable[..., Any]) -> str:
    """The innermost line of the author's file: what it calls is not where to look first."""
    file = inspect.unwrap(function).__code__.co_filename
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    return f"{Path(file).name}:{lines[-1]}" if lines else Path(file).name


def _marked(directory: Path) -> list[tuple[Callable[..., Any], str]]:
    files = [directory / "simulation.py", *sorted((directory / "tests").glob("*.py"))]
    found = []
    for path in files:
        if path.is_file() and "ftweb.simulation" in path.read_text(encoding="utf-8"):
            for value in vars(_import(path)).values():
                mark = getattr(value, _MARK, None)
                if mark is not None and callable(value):
                    found.append((value, str(mark)))
    return found


def _import(path: Path) -> ModuleType:
    name = f"_ftweb_simulation_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise AppLoadError(f"{path}: {type(error).__name__}: {error}") from error
    return module
