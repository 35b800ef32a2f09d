"""A small disk for a daemon's data root, mounted where only that daemon and the test see it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.daemon import Daemon

HOLD = 'mount $1 "$2" "$3" && echo mounted && exec sleep infinity'


class Disk:
    """Make it with `tmpfs` or `ext4`. It lives in a mount namespace that a process of ours holds."""

    def __init__(self, daemon: Daemon, options: str, source: str) -> None:
        self._options, self._source, self._target = options, source, str(daemon.data_root)
        daemon.data_root.mkdir()
        self._holder = subprocess.Popen(
            [*("unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD, "-"), options, source, self._target],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n"
        self._enter = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]
        self.path = Path(f"/proc/{self._holder.pid}/root{self._target}")
        daemon.entry = [*self._enter, *daemon.entry]

    def run(self, *command: str) -> None:
        subprocess.run([*self._enter, *command], check=True, capture_output=True)

    def remount(self, options: str) -> None:
        self.run("mount", "-o", f"remount,{options}", self._target)

    def mount_anew(self) -> None:
        self.run("umount", self._target)
        self.run("mount", *self._options.split(), self._source, self._target)

    def fill(self) -> None:
        with (self.path / "ballast").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert os.statvfs(self.path).f_bavail == 0

    def free(self) -> None:
        (self.path / "ballast").unlink()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


@contextmanager
def tmpfs(daemon: Daemon, size: str) -> Iterator[Disk]:
    """Before the daemon's first start; gone at the end."""
    disk = Disk(daemon, f"-t tmpfs -o size={size}", "towline-test")
    try:
        yield disk
    finally:
        daemon.close()
        disk.close()


@contextmanager
def ext4(daemon: Daemon) -> Iterator[Disk]:
    """The same on a file system that can be made to give up: `remount("abort")`."""
    image = daemon.root / "disk.img"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    disk = Disk(daemon, "-t ext4 -o loop", str(image))
    try:
        yield disk
    finally:
        daemon.close()
        disk.close()
