"""Established TCP connections taken out of one kernel and put into another: `take`, `put`, `go`.

For programs that let themselves be moved (`Movable`), and for tools that move them (`mover`). It stands by itself: no
daemon is needed.
"""

from towline.repair.connection import Connection
from towline.repair.program import Movable
from towline.repair.tcp import NotEstablished, freeze, go, put, take, thaw

__all__ = ["Connection", "Movable", "NotEstablished", "freeze", "go", "put", "take", "thaw"]
