"""Where the daemon is: from flags, environment or the default, as one checked value."""

from __future__ import annotations

import os

from towline.cli.errors import UsageError

DEFAULT_HOST = "unix:///run/towline/docker.sock"


class Tls:
    """Files for mutual TLS; "" where none is given. The server is always verified: with `ca`, else the system's CAs."""

    __slots__ = ("ca", "cert", "key")

    def __init__(self, ca: str = "", cert: str = "", key: str = "") -> None:
        self.ca = ca
        self.cert = cert
        self.key = key


class Address:
    """path: of a unix socket, or "" for TCP. source: what named it ("-H", "DOCKER_HOST", "default")."""

    __slots__ = ("host", "path", "port", "source", "tls", "url")

    def __init__(
        self, url: str, source: str, path: str = "", host: str = "", port: int = 0, tls: Tls | None = None
    ) -> None:
        self.url = url
        self.source = source
        self.path = path
        self.host = host
        self.port = port
        self.tls = tls

    def __str__(self) -> str:
        return self.url if self.source == "default" else f"{self.url} (from {self.source})"


def choose(flag: str) -> tuple[str, str]:
    """(url, source): the flag, else TOWLINE_HOST, else DOCKER_HOST, else the default. Empty counts as not given."""
    if flag:
        return flag, "-H"
    for name in ("TOWLINE_HOST", "DOCKER_HOST"):
        value = os.environ.get(name, "")
        if value:
            return value, name
    return DEFAULT_HOST, "default"


def parse_address(url: str, source: str, tls: Tls | None) -> Address:
    """unix://PATH or tcp://HOST[:PORT]; the port is 2376 with TLS, else 2375. UsageError for anything else."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        guess = f"unix://{url}" if url.startswith("/") else f"tcp://{url}"
        raise UsageError(f'invalid host "{url}" from {source}: no scheme', f'Did you mean "{guess}"?')
    if scheme == "unix":
        return _unix(url, source, rest)
    if scheme == "tcp":
        return _tcp(url, source, rest.rstrip("/"), tls)
    raise UsageError(f'invalid host "{url}" from {source}: {scheme}:// is not supported', "Use unix:// or tcp://.")


def _unix(url: str, source: str, path: str) -> Address:
    if not path:
        return _unix(DEFAULT_HOST, source, DEFAULT_HOST.removeprefix("unix://"))
    if len(os.fsencode(path)) > 107:
        raise UsageError(f"socket path from {source} is longer than the 107 bytes the kernel allows: {path}")
    if "\0" in path:
        raise UsageError(f"socket path from {source} holds a NUL byte")
    return Address(url, source, path=path)


def _tcp(url: str, source: str, rest: str, tls: Tls | None) -> Address:
    host, port = _split_port(rest)
    if not host or not host.isascii() or not all(c.isalnum() or c in ".-_:%" for c in host):
        raise UsageError(f'invalid host "{url}" from {source}: want tcp://HOST:PORT')
    if not port:
        number = 2376 if tls else 2375
    elif port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536:
        number = int(port[:6])
    else:
        raise UsageError(f'invalid host "{url}" from {source}: port "{port}" is not between 1 and 65535')
    return Address(url, source, host=host, port=number, tls=tls)


def _split_port(rest: str) -> tuple[str, str]:
    """Splits HOST:PORT, HOST, [V6]:PORT and [V6]; the port is "" if none is there."""
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        return host, tail.removeprefix(":")
    host, _, port = rest.partition(":")
    return host, port
