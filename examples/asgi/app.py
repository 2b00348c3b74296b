"""Serves the notice board of ``board.py`` from whichever tab hosts."""

import ftweb.flyweb
from board import app

server = ftweb.flyweb.publish("notice-board", app)
