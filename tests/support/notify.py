"""The receiving end of sd_notify(3): wait for a process to say that it is ready."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path


class NotifySocket:
    """Give its `path` to a process as NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def drain(self) -> None:
        """Forget what came in so far."""
        with suppress(BlockingIOError):
            while self._socket.recv(4096):
                pass

    def wait(self, line: str, process: subprocess.Popen[bytes], patience: float) -> str | None:
        """The first message with this line; None if the process ended first, or nothing came in `patience` seconds."""
        deadline = time.monotonic() + patience
        exited = os.pidfd_open(process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket, selectors.EVENT_READ)
                selector.register(exited, selectors.EVENT_READ)
                while events := selector.select(max(0.0, deadline - time.monotonic())):
                    if not any(key.fileobj is self._socket for key, _ in events):
                        return None
                    message = self._socket.recv(4096).decode()
                    if line in message.splitlines():
                        return message
        finally:
            os.close(exited)
        return None

    def close(self) -> None:
        self._socket.close()
