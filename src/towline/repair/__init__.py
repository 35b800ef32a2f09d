"""Established TCP connections taken out of one kernel and put into another: `take`, `put`, `go`.

For programs that save themselves, and for tools that move them. It stands by itself: no daemon is needed.
"""

from towline.repair.connection import Connection
from towline.repair.tcp import NotEstablished, go, put, take

__all__ = ["Connection", "NotEstablished", "go", "put", "take"]
