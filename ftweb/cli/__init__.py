"""The command line: ``ftweb run``, ``bridge``, ``check``, ``browse`` and ``simulate``.

1. Exit status: 0 done, or stopped by a signal; 1 it did not work; 2 the command was not understood.
2. An error is one line on stderr: what is wrong, whose fault it is, what to do, and its code in
   brackets. ``FTWEB_DEBUG=1`` shows tracebacks and debug logs.
3. With ``--json`` stdout has JSON only; everything for people goes to stderr.
4. Each command imports what it needs when it runs, so that ``--help`` is immediate.

=======================  ==============================================================
module                   concept
=======================  ==============================================================
:mod:`.commands`         the commands, their options and help
:mod:`.run`              ``ftweb run``
:mod:`.browse`           ``ftweb browse``
:mod:`.simulate`         ``ftweb simulate``
:mod:`.check`            imports an app in a process of its own and tells about it
:mod:`.tabs`             what tabs have for an app to import
:mod:`.report`           ``ftweb check``
:mod:`.datadir`          where a server's data are kept
:mod:`.banner`           what ``run`` says first
:mod:`.qr`               QR codes in a terminal
:mod:`.narrator`         what happens, as lines for people
:mod:`.errors`           errors as one line and an exit status
=======================  ==============================================================
"""

from __future__ import annotations

from ftweb.cli.commands import main

__all__ = ["main"]
