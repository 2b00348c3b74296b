"""For all tests. Shared fixtures of one part stand in that part's own conftest."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes says nothing here: tests share two cores with browsers.
settings.register_profile("ftweb", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ftweb")
