"""The server of one sandbox: its sockets on the event loop, from open to close, whatever happens to the records."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

from towline.dns import wire
from towline.dns.answer import Forward, answer
from towline.dns.config import MAX_UPSTREAMS, ServerConfig
from towline.dns.memo import Memo
from towline.dns.names import Directory, Names
from towline.dns.redirect import Ports
from towline.dns.server_forward import DnsCounters, Forwarder, Origin, origin_of
from towline.dns.server_sockets import Inside, Opened
from towline.dns.server_stream import StreamServer

_BATCH = 64
"""Datagrams that are taken in one wake-up, before the other sockets get their turn."""


class SandboxServer:
    """directory: asked once per wake-up what the sandbox sees."""

    def __init__(self, sandbox_id: str, netns: str, inside: Inside, forwarder: Forwarder, directory: Directory) -> None:
        self.sandbox_id = sandbox_id
        self.netns = netns
        self.ports: Ports | None = None
        self._inside = inside
        self._forwarder = forwarder
        self._counters: DnsCounters = forwarder.counters
        self._directory = directory
        self._stream = StreamServer(self._answer_stream)
        self._tasks: set[asyncio.Task[None]] = set()
        self._udp: socket.socket | None = None
        self.configure(ServerConfig())

    def configure(self, config: ServerConfig) -> None:
        """How it forwards from now on."""
        upstreams = config.upstreams[:MAX_UPSTREAMS]
        self._ndots = config.ndots
        self._memo = Memo()
        self._outside = origin_of(self.sandbox_id, self._inside, upstreams)
        own = tuple(upstream for upstream in upstreams if not upstream.host)
        self._confined = origin_of(self.sandbox_id, self._inside, own)

    async def start(self, opened: Opened) -> None:
        """Takes the sockets over."""
        self.ports = opened.ports
        self._udp = opened.udp
        await self._stream.start(opened.tcp)
        asyncio.get_running_loop().add_reader(opened.udp, self._readable, opened.udp)

    async def close(self) -> None:
        """Questions that wait for an upstream server get no answer any more."""
        if self._udp is not None:
            asyncio.get_running_loop().remove_reader(self._udp)
            self._udp.close()
            self._udp = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stream.close()

    def _readable(self, sock: socket.socket) -> None:
        names = self._directory.names(self.sandbox_id)
        known = self._memo.at(self._directory.generation)
        count = 0
        while count < _BATCH:
            try:
                data, peer = sock.recvfrom(wire.RECEIVE)
            except OSError:
                break
            count += 1
            same = known.get(data[2:])
            if same is None:
                self._answer(sock, data, peer, names)
            else:
                _send(sock, data[:2] + same, peer)
        self._counters.queries += count

    def _answer(self, sock: socket.socket, data: bytes, peer: Any, names: Names) -> None:
        said = answer(data, names, self._memo.shuffle, ndots=self._ndots)
        if isinstance(said, bytes):
            self._memo.note(data, said)
            _send(sock, said, peer)
        elif said is not None:
            self._forward(sock, said, data, peer, self._origin(names))

    def _origin(self, names: Names) -> Origin:
        return self._outside if names.external else self._confined

    def _forward(self, sock: socket.socket, forward: Forward, data: bytes, peer: Any, origin: Origin) -> None:
        known = self._forwarder.cached(origin, forward.query, data, stream=False)
        if known is not None:
            _send(sock, known, peer)
            return
        task = asyncio.create_task(self._resolve(sock, forward, data, peer, origin))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resolve(self, sock: socket.socket, forward: Forward, data: bytes, peer: Any, origin: Origin) -> None:
        _send(sock, await self._forwarder.resolve(origin, forward.query, data, stream=False), peer)

    async def _answer_stream(self, data: bytes) -> bytes | None:
        self._counters.queries += 1
        names = self._directory.names(self.sandbox_id)
        said = answer(data, names, random.shuffle, stream=True, ndots=self._ndots)
        if not isinstance(said, Forward):
            return said
        origin = self._origin(names)
        known = self._forwarder.cached(origin, said.query, data, stream=True)
        return known or await self._forwarder.resolve(origin, said.query, data, stream=True)


def _send(sock: socket.socket, message: bytes, peer: Any) -> None:
    """A client that is gone, or whose buffer is full, asks again if it still cares."""
    try:  # not `suppress`, which costs a tenth of an answer
        sock.sendto(message, peer)
    except OSError:
        return
