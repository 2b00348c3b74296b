"""The reference application, served from a tab."""

from odd import app  # type: ignore[import-not-found]

import ftweb.flyweb

server = ftweb.flyweb.publish("reference", app)
