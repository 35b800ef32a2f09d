"""A sandbox's /etc/hosts, /etc/resolv.conf and /etc/hostname, and its name server at 127.0.0.11 (docker-api facts 6.5,
6.6)."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from pathlib import Path

from towline.control.collaborators import NameServers
from towline.control.host import RESOLV_CONF
from towline.dns.config import RESOLVER, ServerConfig
from towline.dns.hosts import parse_extra_host, render_hosts, revise_hosts
from towline.dns.resolvconf import digest, parse_resolv_conf, render_host, render_internal, render_legacy
from towline.model.errors import Failure
from towline.model.network import RESERVED_NAMES, Network
from towline.model.requests import StartedSandbox
from towline.model.sandbox import Sandbox
from towline.model.view import View

log = logging.getLogger(__name__)

LARGEST = 256 * 1024  # bytes of a file that may be one of ours


class Names:
    """directory: parent of the sandboxes' directories. hidden: see `StartedSandbox`."""

    def __init__(
        self,
        view: View,
        servers: NameServers,
        directory: Path,
        *,
        hidden: tuple[str, ...] = (),
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        self._view = view
        self._servers = servers
        self._directory = directory
        self._hidden = hidden
        self._resolv_conf = resolv_conf
        self._written: dict[Path, str] = {}
        self._parse = lru_cache(1)(parse_resolv_conf)
        self._render_internal = lru_cache(16)(render_internal)

    async def open(self, sandbox: Sandbox) -> StartedSandbox:
        networks = self._networks(sandbox)
        text, config = self._resolution(sandbox, networks)
        files = self._write(sandbox, text)
        if config is not None and sandbox.netns:
            await self._serve(sandbox, config)
        else:
            await self._servers.close(sandbox.id)
        return files

    async def _serve(self, sandbox: Sandbox, config: ServerConfig) -> None:
        try:
            await self._servers.open(sandbox.id, sandbox.netns, config)
        except OSError as error:
            raise Failure(f"sandbox {sandbox.name}: its name server at {RESOLVER} cannot be opened: {error}") from error

    async def close(self, sandbox_id: str, *, gone: bool = False) -> None:
        """Its next start has a new /etc/hosts."""
        await self._servers.close(sandbox_id, gone=gone)
        (self._directory / sandbox_id / "hosts").unlink(missing_ok=True)

    def forget(self, sandbox_id: str) -> None:
        directory = self._directory / sandbox_id
        for name in ("hosts", "resolv.conf", "resolv.conf.hash", "hostname"):
            self._written.pop(directory / name, None)
            (directory / name).unlink(missing_ok=True)

    def changed(self, network_id: str) -> None:
        self._servers.names_changed(network_id)

    def _networks(self, sandbox: Sandbox) -> list[Network]:
        found = (self._view.network(endpoint.network) for endpoint in self._view.endpoints_in(sandbox.id))
        return [network for network in found if network is not None]

    def _resolution(self, sandbox: Sandbox, networks: list[Network]) -> tuple[str, ServerConfig | None]:
        """The text of resolv.conf, and how the sandbox's own server forwards if it has one: on a user-defined network.

        The server itself asks nothing from the host's namespace for a sandbox without a way out.
        """
        host = self._parse(_read(self._resolv_conf), str(self._resolv_conf))
        if any(network.driver == "host" for network in networks):
            return render_host(host, sandbox.dns), None
        if any(network.name not in RESERVED_NAMES for network in networks):
            internal = self._render_internal(host, sandbox.dns)
            return internal.text, internal.config
        return render_legacy(host, sandbox.dns, ipv6=any(network.enable_ipv6 for network in networks)), None

    def _write(self, sandbox: Sandbox, resolv_conf: str) -> StartedSandbox:
        directory = self._directory / sandbox.id
        if directory / "hostname" not in self._written:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        endpoints = [endpoint for endpoint in self._view.endpoints_in(sandbox.id) if not endpoint.way_out]
        addresses = [cidr.partition("/")[0] for e in endpoints for cidr in (e.ipv4, e.ipv6) if cidr]
        extra = [parse_extra_host(text) for text in sandbox.extra_hosts]
        ipv6 = any(endpoint.ipv6 for endpoint in endpoints)
        wanted = render_hosts(sandbox.hostname, addresses, extra, ipv6=ipv6)
        _revise(directory / "hosts", wanted, sandbox.hostname)
        self._put(directory / "hostname", sandbox.hostname + "\n")
        self._put_resolv_conf(directory, resolv_conf)
        return StartedSandbox(
            id=sandbox.id,
            netns=sandbox.netns,
            hosts=str(directory / "hosts"),
            resolv_conf=str(directory / "resolv.conf"),
            hostname=str(directory / "hostname"),
            hidden=self._hidden,
        )

    def _put_resolv_conf(self, directory: Path, text: str) -> None:
        """A file that was edited inside is the user's from then on, as its header says."""
        path, mark = directory / "resolv.conf", directory / "resolv.conf.hash"
        if self._written.get(path) != text and not _edited(path, mark):
            self._put(path, text)
            self._put(mark, digest(text))

    def _put(self, path: Path, text: str) -> None:
        """What it holds already is not written again."""
        if self._written.get(path) != text:
            _write_in_place(path, text.encode())
            self._written[path] = text


def _write_in_place(path: Path, data: bytes) -> None:
    """The same inode, because it may be mounted in the sandbox, and at no moment empty. Readable inside by everybody,
    as /etc's files are; the directory keeps others out on the host."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, data)
        os.ftruncate(fd, len(data))
        os.fchmod(fd, 0o644)
    finally:
        os.close(fd)


def _revise(path: Path, wanted: str, hostname: str) -> None:
    """The file is there while the sandbox runs. It may be written inside: one that is huge is left alone."""
    held = _head(path)
    if held is None:
        _write_in_place(path, wanted.encode())
    elif len(held) <= LARGEST:
        text = held.decode(errors="surrogateescape")
        revised = revise_hosts(text, wanted, hostname)
        if revised != text:
            _write_in_place(path, revised.encode(errors="surrogateescape"))


def _head(path: Path) -> bytes | None:
    """What it holds, up to one byte more than is ours; None if it is absent."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except FileNotFoundError:
        return None


def _edited(path: Path, mark: Path) -> bool:
    """Does the file hold something else than what was written last? It is the sandbox's to write, so it may be huge."""
    held = _head(path)
    try:
        written = mark.read_text()
    except FileNotFoundError:
        return False
    return held is not None and (len(held) > LARGEST or digest(held.decode(errors="replace")) != written)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        log.warning("the host's resolv.conf cannot be read", extra={"fields": {"path": path, "error": str(error)}})
        return ""
