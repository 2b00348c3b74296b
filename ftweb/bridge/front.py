"""Which part of the bridge answers: its own addresses, the app's page files, or the app in the tab.

1. ``/healthz`` and all below ``/ftweb/`` are the runtime's.
2. A page file of the bundle answers GET and HEAD.
3. All else is the app's: other addresses, other methods, WebSockets. While no tab has offered to
   serve HTTP, and the app is not known to, there is nothing there.
"""

from __future__ import annotations

from collections.abc import Callable

from ftweb.bridge.security import App, Receive, Scope, Send


class Front:
    """ASGI application that chooses.

    Args:
        own: answers the runtime's addresses and the page files.
        app: passes on to the tab.
        is_page: whether there is a page file at a path.
        serves: whether the app answers HTTP at all.
    """

    def __init__(
        self,
        *,
        own: App,
        app: App,
        is_page: Callable[[str], bool],
        serves: Callable[[], bool],
    ) -> None:
        self._own = own
        self._app = app
        self._is_page = is_page
        self._serves = serves

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        chosen = self._app if self._for_app(scope) and self._serves() else self._own
        await chosen(scope, receive, send)

    def _for_app(self, scope: Scope) -> bool:
        path = scope["path"]
        if path == "/healthz" or path.startswith("/ftweb/"):
            return False
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        return not (reads and self._is_page(path))
