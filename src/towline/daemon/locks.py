"""One daemon per data root, one per network namespace, one process id file. All three locks die with the process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from typing import Protocol

from towline.model.errors import Failure

DATA_ROOT_LOCK = "towlined.lock"
NETNS_NAME = "\0towline/owner"


class Held(Protocol):
    def release(self) -> None: ...


class LockFile:
    """A file with our process id in it, locked (flock) for as long as this process lives.

    What a dead process left behind is not locked, and is taken over. Raises BlockingIOError with the holder's id in
    its text if a live process holds it; OSError as open(2).
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = _open_locked(path)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Removes the file, if it is still ours, before anyone else can lock it."""
        with contextlib.suppress(OSError):
            if _same_file(self._fd, self._path):
                os.unlink(self._path)
        os.close(self._fd)


class NetnsOwner:
    """An abstract unix socket, whose name exists once per network namespace. Any process can bind it: see `holder`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(NETNS_NAME)
            self._socket.listen(1)
        except OSError:
            self._socket.close()
            raise

    def release(self) -> None:
        self._socket.close()


def make_directories(data_root: str, exec_root: str) -> None:
    """Missing ones only. data_root is 0700; exec_root 0711, so that a group can reach the socket within."""
    for path, mode in ((data_root, 0o700), (exec_root, 0o711)):
        try:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            _make_directory(path, mode)
        except OSError as error:
            raise Failure(f"cannot make directory {path}: {error.strerror}") from None
        if not os.path.isdir(path):
            raise Failure(f"{path} exists and is not a directory")


def lock_data_root(data_root: str) -> Held:
    path = f"{data_root}/{DATA_ROOT_LOCK}"
    try:
        return LockFile(path)
    except BlockingIOError:
        raise Failure(
            f"data root {data_root} is in use by another towlined (process {_read_pid(path)}); "
            "stop that one, or give this one its own --data-root"
        ) from None
    except OSError as error:
        raise Failure(f"cannot lock data root {data_root}: {path}: {error.strerror}") from None


def lock_pidfile(path: str) -> Held:
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        return LockFile(path)
    except BlockingIOError:
        raise Failure(
            f"process id file {path} belongs to a running towlined (process {_read_pid(path)}); "
            "stop that one, or give this one its own --pidfile"
        ) from None
    except OSError as error:
        raise Failure(f"cannot write process id file {path}: {error.strerror}") from None


def lock_netns() -> Held:
    try:
        return NetnsOwner()
    except OSError as error:
        raise Failure(
            f"this network namespace is managed by another process ({_netns_holder()}): {error.strerror}; stop it, "
            "or start this daemon in a network namespace of its own (ip netns exec NAME towlined, unshare -n towlined)"
        ) from None


def _open_locked(path: str) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its last holder removed it between our open and our lock


def _same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _make_directory(path: str, mode: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
        os.chmod(path, mode)


def _read_pid(path: str) -> str:
    try:
        with open(path) as file:
            return file.read(20).strip() or "unknown"
    except OSError:
        return "unknown"


def _netns_holder() -> str:
    """Process id of whoever bound the name, by the credentials of its socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        probe.connect(NETNS_NAME)
        pid, uid, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return f"process {pid or 'in another pid namespace'}, user {uid}"
    return "its id cannot be read"
