"""Sockets that the API is served on. They are bound, and queue clients, before the engine starts."""

from __future__ import annotations

import contextlib
import errno
import grp
import logging
import os
import socket
import stat

from towline.daemon.values import split_host_port
from towline.model.config import Config
from towline.model.errors import ConfigError, Failure

BACKLOG = 512
FIRST_INHERITED = 3  # sd_listen_fds(3)
log = logging.getLogger(__name__)


class Listener:
    """A listening socket. host: as configured. encrypted: to be served with TLS (tcp:// with --tls)."""

    def __init__(self, sock: socket.socket, host: str, *, encrypted: bool = False, path: str = "") -> None:
        self.socket = sock
        self.host = host
        self.encrypted = encrypted
        self._path = path
        self._identity = _identity(path) if path else None

    def close(self) -> None:
        """A socket file is removed if it is still the one we made."""
        if self._path and _identity(self._path) == self._identity:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        self.socket.close()


def open_listeners(config: Config) -> list[Listener]:
    """All of config.hosts, or none. Raises ConfigError or Failure naming the host and the remedy."""
    with contextlib.ExitStack() as undo:
        opened: list[Listener] = []
        for host in config.hosts:
            for listener in _open(host, config):
                undo.callback(listener.close)
                opened.append(listener)
        undo.pop_all()
    return opened


def _open(host: str, config: Config) -> list[Listener]:
    scheme, _, rest = host.partition("://")
    if scheme == "unix":
        return [_unix(rest, config.group)]
    if scheme == "fd":
        found = [Listener(sock, host, encrypted=config.tls and _is_tcp(sock)) for sock in _inherited(rest)]
    else:
        found = [Listener(sock, host, encrypted=config.tls) for sock in _tcp(host, rest)]
    if any(_is_tcp(listener.socket) and not listener.encrypted for listener in found):
        log.warning(
            "the API is reachable without encryption or authentication: anyone who can connect to this address "
            "controls this host's networks; use --tlsverify with certificates, or a unix socket",
            extra={"fields": {"host": host}},
        )
    return found


def _is_tcp(sock: socket.socket) -> bool:
    return sock.family in (socket.AF_INET, socket.AF_INET6)


def _unix(path: str, group: str) -> Listener:
    """The file is born 0600 and opened to the group (0660) only once that group owns it."""
    gid = _group_id(group) if group else -1
    _clear_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(sock.fileno(), 0o600)  # bind gives the file the mode of the socket's inode
        sock.bind(path)
        os.chown(path, -1, gid)
        os.chmod(path, 0o660)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        hint = f"; make the directory {os.path.dirname(path)} first" if error.errno == errno.ENOENT else ""
        raise Failure(f"cannot listen on unix://{path}: {error.strerror}{hint}") from None
    return Listener(sock, f"unix://{path}", path=path)


def _clear_stale(path: str) -> None:
    """Remove a socket file that nobody listens on. Failure if somebody does, or if it is another kind of file."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise Failure(f"cannot listen on unix://{path}: a file that is not a socket is in the way; move it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        outcome = probe.connect_ex(path)
    if outcome != errno.ECONNREFUSED:
        raise Failure(f"cannot listen on unix://{path}: another process does; stop it, or choose another --host")
    os.unlink(path)


def _group_id(group: str) -> int:
    try:
        return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"group {group!r} does not exist; make it (groupadd {group}), or leave --group out") from None


def _tcp(host: str, address: str) -> list[socket.socket]:
    name, port = split_host_port(address)
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Failure(f"cannot listen on {host}: {name!r} has no address: {error.strerror}") from None
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, target in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            bound.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(target)
            sock.listen(BACKLOG)
    except OSError as error:
        for sock in bound:
            sock.close()
        raise Failure(f"cannot listen on {host}: {error.strerror}") from None
    return bound


def _inherited(wanted: str) -> list[socket.socket]:
    """fd:// is every socket systemd passed, fd://3 that descriptor, fd://name those of FileDescriptorName=name."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise Failure(f"no socket was passed for fd://{wanted}; it is for socket activation by systemd")
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for index in range(count):
        fd = FIRST_INHERITED + index
        if wanted in ("", "*", str(fd), *names[index : index + 1]):
            found.append(_adopt(fd))
    if not found:
        raise Failure(f"systemd passed no socket for fd://{wanted} (it passed {count}: {':'.join(names)})")
    return found


def _adopt(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise Failure(f"descriptor {fd}, passed by systemd, cannot be used: {error.strerror}") from None
    sock.set_inheritable(False)
    return sock


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
