"""Serves the notice board of ``board.py`` from whichever tab hosts."""

from board import app

import ftweb.flyweb

server = ftweb.flyweb.publish("notice-board", app)
