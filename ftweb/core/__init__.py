"""Consensus without I/O: see the modules (the theory of operation is being written here)."""

from ftweb.core.node import Node
from ftweb.core.ready import Ready
from ftweb.core.settings import Settings

__all__ = ["Node", "Ready", "Settings"]
