"""Run one command in an emulated machine with Debian's full kernel; its output and its exit status are ours.

The machine (QEMU without KVM) sees this host's root read-only under a tmpfs, so programs, this checkout and its .venv
are where they are, and nothing that it writes lasts. It has no network but loopback. Boots in about 3 s; Python is some
15 times slower in it. The command finds TOWLINE_VM=1 in its environment.

Exit status: the command's; 124 if the time is over, 125 if the machine ended without one.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from vm_image import SECOND, Kernel, first_files

_PASSED_ON = ("PATH", "HOME", "LANG", "CI", "VIRTUAL_ENV", "PYTHONPATH", "PYTEST_ADDOPTS", "TOWLINE_TEST_ALLOW_SKIP")
_QUIET_BOOT = "console=ttyS0 panic=-1 tsc=reliable no_timer_check mitigations=off nokaslr quiet"
_TIMED_OUT, _NO_STATUS = 124, 125


def command_file(command: list[str]) -> str:
    """The shell script that the machine runs, here as there."""
    lines = [f"export {name}={shlex.quote(os.environ[name])}" for name in _PASSED_ON if name in os.environ]
    return "\n".join([*lines, "export TOWLINE_VM=1", f"cd {shlex.quote(os.getcwd())}", shlex.join(command), ""])


def machine(kernel: Kernel, work: Path, memory: str, processors: int) -> list[str]:
    """QEMU's command line."""
    words = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]
    words += ["-smp", str(processors), "-m", memory, "-nodefaults", "-no-user-config", "-display", "none"]
    words += ["-no-reboot", "-monitor", "none", "-serial", f"file:{work / 'serial'}", "-device", "virtio-rng-pci"]
    words += ["-chardev", "stdio,id=c0,signal=off", "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=c0"]
    words += ["-kernel", str(kernel.uncompressed()), "-initrd", str(work / "initrd"), "-append", _QUIET_BOOT]
    for tag, path, readonly in (("root", Path("/"), "on"), ("out", work / "out", "off")):
        share = f"local,id={tag},path={path},security_model=none,readonly={readonly},multidevs=remap"
        words += ["-fsdev", share, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    return words


def run(kernel: Kernel, command: list[str], memory: str, processors: int, timeout: float) -> int:
    """Boot, run, and power off; the exit status."""
    work = Path(tempfile.mkdtemp(prefix="towline-vm-"))
    try:
        (work / "initrd").write_bytes(first_files(kernel))
        (work / "out").mkdir()
        (work / "out" / "second").write_text(SECOND)
        (work / "out" / "command").write_text(command_file(command))
        status = _boot(machine(kernel, work, memory, processors), work, timeout)
        if status in (_TIMED_OUT, _NO_STATUS) and (work / "serial").exists():
            sys.stderr.write((work / "serial").read_text(errors="replace")[-4000:])
        return status
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _boot(words: list[str], work: Path, timeout: float) -> int:
    try:
        subprocess.run(words, stdin=subprocess.DEVNULL, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        print(f"vmrun: not done after {timeout:g} s", file=sys.stderr)
        return _TIMED_OUT
    try:
        return int((work / "out" / "status").read_text())
    except (OSError, ValueError):
        print("vmrun: the machine ended without an exit status", file=sys.stderr)
        return _NO_STATUS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", type=Path, default=Path(__file__).resolve().parents[1] / ".cache" / "vm")
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--processors", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=900, help="seconds (default: %(default)s)")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no command")
    if shutil.which("qemu-system-x86_64") is None:
        parser.error("no qemu-system-x86_64 on this machine; `make setup` as root installs it")
    return run(Kernel(options.kernel), command, options.memory, options.processors, options.timeout)


if __name__ == "__main__":
    sys.exit(main())
