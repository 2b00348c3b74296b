"""Ways for frames to travel: one interface (:class:`Link`), several implementations.

A link delivers frames in order while it lives and may die at any moment; what was sent last may
then be lost. Nothing above a link relies on more: consensus tolerates loss, requests are
repeated by serial.
"""

from ftweb.transports.base import Link, LinkClosedError
from ftweb.transports.memory import memory_pair

__all__ = ["Link", "LinkClosedError", "memory_pair"]
