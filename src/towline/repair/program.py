"""For a program that lets itself be moved with its connections: what it does is in one object.

The program needs no privilege; whoever moves it reads and writes the connections. docs/repair.md has a whole server.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Sequence

from towline.repair.messages import (
    ADDRESS,
    Broken,
    Failed,
    Freeze,
    Go,
    Message,
    Moved,
    Ready,
    Resume,
    Saved,
    Thaw,
    receive,
    send,
)

RESUME = "TOWLINE_RESUME"
"""In the environment of a program that begins at the target: it waits for what it is."""
_CREDENTIALS = struct.Struct("=iII")  # struct ucred


class Movable:
    """Who may move this program is root, or its own user: nobody else is listened to.

    Watch `fileno()` for reading and call `handle` then. One per network namespace: OSError (address in use) otherwise.
    """

    def __init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(ADDRESS)
        self._listener.listen(2)

    def fileno(self) -> int:
        return self._listener.fileno()

    def close(self) -> None:
        self._listener.close()

    def resumed(self, begin: Callable[[bytes], None]) -> list[socket.socket] | None:
        """At the start. None where the program begins anew; else `begin` gets the saved state, and once the network is
        open here, the connections are the answer, in the order in which they were saved; they block, and are connected.

        What `begin` raises makes the move fail: the program goes on where it was.
        """
        if os.environ.get(RESUME) != "1":
            return None
        ready = False
        while True:
            with self._caller() as channel:
                try:
                    while True:
                        message, sockets = receive(channel)
                        if isinstance(message, Resume) and not ready:
                            ready = self._begin(channel, message, begin)
                        elif isinstance(message, Resume):
                            send(channel, Ready())
                        elif isinstance(message, Go) and ready:
                            return sockets
                        else:
                            raise Broken(f"{type(message).__name__} is not what comes now")
                except Broken:
                    continue

    def handle(self, save: Callable[[], tuple[bytes, Sequence[socket.socket]]]) -> bool:
        """Somebody called. save: the program's state and its connections; called when it is to be frozen. True: go on
        as ever; False: the program lives elsewhere now, so it should end, without good manners to its connections.

        Returns when it is decided, which takes as long as the move. A caller that dies is waited for.
        """
        decided: bool | None = None
        frozen = False
        while decided is None:
            with self._caller() as channel:
                try:
                    while decided is None:
                        message, _ = receive(channel)
                        frozen, decided = self._heed(channel, message, save, frozen=frozen)
                except Broken:
                    if not frozen:
                        return True
        return decided

    def _heed(
        self,
        channel: socket.socket,
        message: Message,
        save: Callable[[], tuple[bytes, Sequence[socket.socket]]],
        *,
        frozen: bool,
    ) -> tuple[bool, bool | None]:
        if isinstance(message, Freeze):
            try:
                state, sockets = save()
            except Exception as error:  # whatever the program's own code raises
                send(channel, Failed(f"{type(error).__name__}: {error}"))
                return False, True
            send(channel, Saved(state, len(sockets)), [each.fileno() for each in sockets])
            return True, None
        if isinstance(message, Thaw):
            return False, True
        if isinstance(message, Moved) and frozen:
            return True, False
        raise Broken(f"{type(message).__name__} is not what comes now")

    def _begin(self, channel: socket.socket, message: Resume, begin: Callable[[bytes], None]) -> bool:
        try:
            begin(message.state)
        except Exception as error:  # whatever the program's own code raises
            send(channel, Failed(f"{type(error).__name__}: {error}"))
            raise
        send(channel, Ready())
        return True

    def _caller(self) -> socket.socket:
        """The next one who may."""
        while True:
            channel = self._listener.accept()[0]
            found = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            if _CREDENTIALS.unpack(found)[1] in (0, os.geteuid()):
                return channel
            channel.close()
