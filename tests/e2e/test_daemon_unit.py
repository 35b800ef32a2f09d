"""contrib/: the systemd unit's limits leave the daemon what it needs, and the example configuration is valid."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from tests.support.daemon import REPOSITORY, TOWLINED, Daemon
from tests.support.needs import need_tool

UNIT = REPOSITORY / "contrib" / "towlined.service"
HARDENING = REPOSITORY / "contrib" / "towlined-hardening.conf"
# PR_SET_MDWE (65), PR_MDWE_REFUSE_EXEC_GAIN: what MemoryDenyWriteExecute= asks of the kernel; kept over exec.
DENY_WRITE_EXECUTE = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


def setting(name: str) -> str:
    return next(line.partition("=")[2] for line in HARDENING.read_text().splitlines() if line.startswith(f"{name}="))


def test_daemon_works_within_the_hardenings_limits(make_daemon: Callable[..., Daemon]) -> None:
    capabilities = [name.lower().removeprefix("cap_") for name in setting("CapabilityBoundingSet").split()]
    bounds = "-all" + "".join(f",+{name}" for name in capabilities)
    limits = ["setpriv", "--bounding-set", bounds, "--inh-caps", "-all", "--no-new-privs", "--"]
    daemon = make_daemon("--group", "65534", entry=[*limits, sys.executable, "-c", DENY_WRITE_EXECUTE, *TOWLINED])
    daemon.start()
    created = daemon.http("POST", "/networks/create", {"Name": "web", "EnableIPv6": True})
    assert created.status == 201, created
    assert "towline" in daemon.run("nft", "list", "tables")
    assert daemon.http("DELETE", "/networks/web?wait=1").status == 204
    assert daemon.stop() == 0
    assert "level=error" not in daemon.log
    assert "level=warning" not in daemon.log


def test_systemd_finds_no_fault_in_the_units() -> None:
    analyze = need_tool("systemd-analyze")
    units = [str(UNIT), str(UNIT.with_suffix(".socket"))]
    done = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False, timeout=60)
    faults = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert faults == []


def test_the_unit_limits_nothing_that_detached_commands_would_inherit() -> None:
    inherited = {line.partition("=")[0] for line in HARDENING.read_text().splitlines() if "=" in line}
    assert "NoNewPrivileges" in inherited
    assert not inherited & {line.partition("=")[0] for line in UNIT.read_text().splitlines()}


def test_example_configuration_is_valid() -> None:
    command = [*TOWLINED, "--config-file", str(REPOSITORY / "contrib" / "daemon.json"), "--validate"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == "configuration OK\n"
