"""Debian's etcd as it comes, without TLS, on a free port of the loopback: for tests of the client."""

from __future__ import annotations

import os
import socket
import subprocess
import urllib.request
from pathlib import Path

from tests.support.needs import need_tool
from tests.support.polling import eventually
from towline.cluster.etcd import EtcdClient
from towline.cluster.etcd_gateway import Gateway


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Ports of TCP that nobody has now."""
    found = [socket.create_server((address, 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in found]
    finally:
        for each in found:
            each.close()


class EtcdProcess:
    """One member. Its data is in `folder`; started again it goes on with it."""

    def __init__(self, folder: Path, *options: str) -> None:
        client, peer = free_ports(2)
        self.endpoint = f"http://127.0.0.1:{client}"
        self._log = folder / "etcd.log"
        self._command = [
            *(need_tool("etcd"), "--name=one", f"--data-dir={folder / 'data'}", "--logger=zap", "--log-level=warn"),
            *(f"--listen-client-urls={self.endpoint}", f"--advertise-client-urls={self.endpoint}"),
            *(f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
            *(f"--initial-cluster=one=http://127.0.0.1:{peer}", "--experimental-watch-progress-notify-interval=200ms"),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        path = {"PATH": os.environ["PATH"]}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stderr=log, stdout=log, env=path)
        eventually(self._answers, within=20)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def gateway(self, *more: str) -> Gateway:
        return Gateway([self.endpoint, *more], silence=5)

    def client(self) -> EtcdClient:
        return EtcdClient(self.gateway())

    def _answers(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"{self.endpoint}/health", timeout=2) as answer:
                assert b"true" in answer.read()
        except OSError as error:
            raise AssertionError(str(error)) from error
