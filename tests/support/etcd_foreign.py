"""Somebody else's etcd, as an operator runs it: Debian's, with TLS and users, in a host's namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.hosts import Host
from tests.support.needs import need_tool
from tests.support.polling import until

PASSWORD = "correct horse"


class ForeignEtcd:
    """On the host's address, port 2379; user "towline" may read and write /towline/. Its files are in `folder`."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder
        authority = Authority(folder)
        Authority(folder, "strange")
        pem = authority.server("etcd", host.address)
        (folder / "password").write_text(f"{PASSWORD}\n")
        (folder / "wrong").write_text("battery staple\n")
        self._url = f"https://{host.address}:2379"
        self._command = [
            *(need_tool("etcd"), f"--data-dir={folder / 'data'}", "--logger=zap", "--log-level=warn"),
            *(f"--listen-client-urls={self._url}", f"--advertise-client-urls={self._url}"),
            *("--listen-peer-urls=http://127.0.0.1:2380", f"--cert-file={pem.cert}", f"--key-file={pem.key}"),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        for command in (
            ("user", "add", "root:r"),
            ("user", "grant-role", "root", "root"),
            ("user", "add", f"towline:{PASSWORD}"),
            ("role", "add", "towline"),
            ("role", "grant-permission", "towline", "--prefix=true", "readwrite", "/towline/"),
            ("user", "grant-role", "towline", "towline"),
            ("auth", "enable"),
        ):
            self.ctl(*command)

    def url(self, ca: str = "ca.pem", password: str = "password") -> str:
        """For --cluster-store. ca, password: names of files."""
        folder = self.folder
        return f"etcd://towline@{self.host.address}?ca={folder / ca}&password-file={folder / password}"

    def ctl(self, *command: str, check: bool = True) -> str:
        user = ["--user=root:r"] if self._authenticated else []
        base = ["env", "ETCDCTL_API=3", "etcdctl", f"--endpoints={self._url}", f"--cacert={self.folder / 'ca.pem'}"]
        said = self.host.net.run([*base, *user, *command], check=check)
        self._authenticated = self._authenticated or command[0] == "auth"
        return said

    _authenticated = False

    def names(self) -> list[str]:
        return self.ctl("get", "--prefix", "/", "--keys-only").split()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = self.host.net.popen(self._command, stdout=log, stderr=log)
        until(self._answers)

    def _answers(self) -> bool:
        """etcdctl tells it on stderr."""
        base = f"ETCDCTL_API=3 etcdctl --endpoints={self._url} --cacert={self.folder / 'ca.pem'}"
        base += " --user=root:r" if self._authenticated else ""
        return "is healthy" in self.host.net.run(["sh", "-c", f"{base} endpoint health 2>&1"], check=False)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def foreign_etcd(host: Host, folder: Path) -> Iterator[ForeignEtcd]:
    folder.mkdir(parents=True, exist_ok=True)
    etcd = ForeignEtcd(host, folder)
    try:
        yield etcd
    finally:
        etcd.stop()
