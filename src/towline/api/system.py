"""/_ping, /version, /info."""

from __future__ import annotations

import os
import platform
import sys
import time
from functools import lru_cache
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from towline import __version__
from towline.api import versions, wire_swarm
from towline.api.call import TEXT_HEADERS, Call, json_value
from towline.api.wire_out import rfc3339_nano

_PING_HEADERS: CIMultiDict[str] = CIMultiDict(TEXT_HEADERS)
_PING_HEADERS.update(
    {
        "Builder-Version": "2",
        "Swarm": "inactive",
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
    }
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


async def ping(call: Call) -> web.Response:
    headers = _PING_HEADERS
    if (swarm := wire_swarm.ping_state(call.engine.cluster.state)) != "inactive":
        headers = CIMultiDict(headers)
        headers["Swarm"] = swarm
    return web.Response(body=b"OK" if call.request.method == "GET" else b"", headers=headers)


async def version(call: Call) -> web.Response:
    kernel = platform.release()
    machine = _ARCHITECTURES.get(platform.machine(), platform.machine())
    shown = {
        "Version": __version__,
        "ApiVersion": versions.NEWEST,
        "MinAPIVersion": versions.OLDEST,
        "Os": "linux",
        "Arch": machine,
        "KernelVersion": kernel,
        "GitCommit": "",
        "GoVersion": f"none (Python {platform.python_version()})",
        "BuildTime": "",
    }
    engine = {
        "Name": "Engine",
        "Version": __version__,
        "Details": {**shown, "Experimental": "false"},
    }
    return json_value({"Platform": {"Name": "Towline"}, "Components": [engine], **shown})


async def info(call: Call) -> web.Response:
    config = call.engine.config
    states = [sandbox.state for sandbox in call.engine.sandboxes()]
    pools = [{"Base": pool.base, "Size": pool.size} for pool in config.default_address_pools]
    return json_value(
        {
            "ID": call.engine.daemon_id,
            "Containers": len(states),
            "ContainersRunning": states.count("running"),
            "ContainersPaused": 0,
            "ContainersStopped": len(states) - states.count("running"),
            "Images": 0,
            "Driver": "none",
            "DriverStatus": [],
            "Plugins": {
                "Volume": [],
                "Network": ["bridge", "host", "null", "overlay"],
                "Authorization": None,
                "Log": [],
            },
            "Debug": config.debug,
            "NEventsListener": call.engine.events.listeners,
            "SystemTime": rfc3339_nano(time.time_ns()),
            "LoggingDriver": "none",
            "CgroupDriver": "none",
            "DockerRootDir": config.data_root,
            "Labels": list(config.labels),
            "ExperimentalBuild": False,
            "ServerVersion": __version__,
            "Runtimes": {},
            "DefaultRuntime": "",
            "LiveRestoreEnabled": True,
            "Isolation": "",
            "InitBinary": "",
            "SecurityOptions": [],
            "DefaultAddressPools": pools,
            "Swarm": wire_swarm.info(call.engine.cluster.state),
            "Warnings": [],
            "IPv4Forwarding": _sysctl("net/ipv4/ip_forward") == "1",
            **_host(),
        }
    )


@lru_cache(maxsize=1)
def _host() -> dict[str, Any]:
    return {
        "Name": platform.node(),
        "KernelVersion": platform.release(),
        "OperatingSystem": _operating_system(),
        "OSType": sys.platform,
        "Architecture": platform.machine(),
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }


def _sysctl(path: str) -> str:
    try:
        with open(f"/proc/sys/{path}") as file:
            return file.read().strip()
    except OSError:
        return ""


def _operating_system() -> str:
    for path in _OS_RELEASE:
        try:
            with open(path) as file:
                fields = dict(line.rstrip().split("=", 1) for line in file if "=" in line)
        except OSError:
            continue
        return fields.get("PRETTY_NAME", "linux").strip('"')
    return "linux"
