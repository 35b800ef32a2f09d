"""What the machine of vmrun.py boots from: kernel, first file system, and what runs in it before the command."""

from __future__ import annotations

import lzma
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

_FIRST_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_console")

# Runs first, out of memory. The host's root becomes the machine's, read-only under a tmpfs; `out` is a directory of the
# host that the machine writes to.
_INIT = r"""#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc p /proc; $B mount -t sysfs s /sys; $B mount -t devtmpfs d /dev
fail() { echo "vmrun: $1 failed" >/dev/console; $B poweroff -f; }
for m in $($B cat /modules.order); do $B insmod /modules/$m || fail "insmod $m"; done
O=trans=virtio,version=9p2000.L,msize=512000
$B mount -t 9p -o ro,cache=loose,$O root /lower || fail "mounting the root"
$B mount -t tmpfs -o size=75% t /upper; $B mkdir /upper/u /upper/w
$B mount -t overlay -o lowerdir=/lower,upperdir=/upper/u,workdir=/upper/w o /new || fail "mounting over the root"
for d in proc sys dev; do $B mount --move /$d /new/$d; done
$B mkdir -p /new/dev/pts /new/dev/shm /new/lib/modules /new/run /new/tmp
$B ln -s /proc/self/fd /new/dev/fd; $B ln -s /proc/self/fd/0 /new/dev/stdin; $B ln -s /proc/self/fd/1 /new/dev/stdout
$B mount -t devpts p /new/dev/pts; $B mount -t tmpfs s /new/dev/shm
$B mount -t tmpfs -o mode=755 r /new/run; $B mount -t tmpfs -o mode=1777 t /new/tmp
$B mkdir -p /new/run/netns /new/run/lock /new/run/vmrun
$B mount -t 9p -o cache=none,$O out /new/run/vmrun || fail "mounting out"
$B mount --bind "/new@KERNEL@/lib/modules" /new/lib/modules || fail "mounting the modules"
$B mount -t cgroup2 c /new/sys/fs/cgroup; $B mount -t bpf b /new/sys/fs/bpf
$B ip link set lo up; $B hostname vmrun
exec $B switch_root /new /bin/sh /run/vmrun/second
"""

SECOND = r"""
exec </dev/null >/dev/hvc0 2>&1
stty -opost <&1
/bin/sh /run/vmrun/command
echo $? >/run/vmrun/status
sync
exec >/dev/null 2>&1
echo o >/proc/sysrq-trigger
sleep 60
"""


class Kernel:
    """A kernel package unpacked in `root` (scripts/vm_kernel.sh): boot/vmlinuz-<version>, lib/modules/<version>."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        images = sorted(self.root.glob("boot/vmlinuz-*"))
        if not images:
            raise FileNotFoundError(f"no kernel in {root}")
        self.image = images[-1]
        self.version = self.image.name.removeprefix("vmlinuz-")

    def uncompressed(self) -> Path:
        """The kernel itself: emulated, its own unpacking would take longer than all the rest of the boot."""
        data = self.image.read_bytes()
        offset, length = struct.unpack_from("<II", data, 0x248)
        start = ((data[0x1F1] or 4) + 1) * 512 + offset
        payload = data[start : start + length]
        if not payload.startswith(b"\xfd7zXZ\0"):
            return self.image
        done = self.image.with_name(f"vmlinux-{self.version}")
        if not done.exists():
            fresh = done.with_suffix(f".{os.getpid()}")
            fresh.write_bytes(lzma.LZMADecompressor().decompress(payload))
            fresh.rename(done)
        return done

    def first_modules(self) -> list[Path]:
        """What must be loaded before the root can be mounted, in order."""
        found: dict[Path, None] = {}
        for name in _FIRST_MODULES:
            command = ["modprobe", "-d", str(self.root), "-S", self.version, "--show-depends", name]
            told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            for line in told.splitlines():
                if line.startswith("insmod "):
                    found[Path(line.split()[1])] = None
        return list(found)


def first_files(kernel: Kernel) -> bytes:
    """The initramfs: busybox, the first modules, and init."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("no busybox on this machine")
    modules = [(path.name.removesuffix(".xz"), _module(path)) for path in kernel.first_modules()]
    files = [
        *((name, 0o40755, b"") for name in ("bin", "dev", "modules", "proc", "sys", "lower", "upper", "new")),
        ("init", 0o100755, _INIT.replace("@KERNEL@", str(kernel.root)).encode()),
        ("modules.order", 0o100644, "\n".join(name for name, _ in modules).encode()),
        ("bin/busybox", 0o100755, Path(busybox).read_bytes()),
        *((f"modules/{name}", 0o100644, data) for name, data in modules),
    ]
    return _cpio(files)


def _module(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _cpio(files: Sequence[tuple[str, int, bytes]]) -> bytes:
    """(name, mode, content) as an archive in the kernel's format "newc", with /dev/console in it."""
    out = bytearray()

    def add(number: int, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        for part in (b"070701" + b"".join(b"%08X" % field for field in fields) + path, data):
            out.extend(part)
            out.extend(b"\0" * (-len(out) % 4))

    for number, (name, mode, data) in enumerate(files, 1):
        add(number, name, mode, data)
    add(len(files) + 1, "dev/console", 0o20600, device=(5, 1))
    add(0, "TRAILER!!!", 0)
    return bytes(out)
