"""Network plugins that are programs, run once for each join and each leave: netavark and CNI's bridge plugin.

They have no daemon: what is measured is the program from its start to its end, as podman and containerd run it. Each
has a namespace of its own, in which one container stays joined, so that the bridge is there already.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from bench.boxes import FIRST_PORT
from bench.sandbox import Sandbox

_NETAVARK = Path("/usr/lib/podman/netavark")
_CNI = Path("/usr/lib/cni")
_ID = "b" * 64


class PluginFailed(Exception):
    """The message has its output."""


class Call:
    """One run of a program."""

    def __init__(self, argv: list[str], config: dict[str, Any], environment: Mapping[str, str] | None = None) -> None:
        self.argv = argv
        self.config = config
        self.environment = environment or {}


class Plugin(Protocol):
    """package: Debian's."""

    name: str
    package: str

    def calls(self, number: int, ports: int, *, add: bool) -> list[Call]:
        """What to run, in order; each call gets the answer of the one before it.

        number: of the container, whose namespace is /run/netns/box-<number>. ports: how many are published.
        """
        ...


class Netavark:
    name = "netavark"
    package = "netavark"

    def calls(self, number: int, ports: int, *, add: bool) -> list[Call]:
        network = {
            "name": "bench",
            "id": _ID,
            "driver": "bridge",
            "network_interface": "bench0",
            "subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}],
            "ipv6_enabled": False,
            "internal": False,
            "dns_enabled": False,
            "ipam_options": {"driver": "host-local"},
        }
        config = {
            "container_id": f"{number:064d}",
            "container_name": f"box-{number}",
            "networks": {"bench": {"interface_name": "eth0", "static_ips": [f"10.88.0.{number + 2}"]}},
            "network_info": {"bench": network},
            "port_mappings": [
                {"host_ip": "", "host_port": n, "container_port": n, "protocol": "tcp", "range": 1}
                for n in range(FIRST_PORT, FIRST_PORT + ports)
            ],
        }
        return [Call([str(_NETAVARK), "setup" if add else "teardown", f"/run/netns/box-{number}"], config)]


class CniBridge:
    name = "CNI bridge"
    package = "containernetworking-plugins"

    def calls(self, number: int, ports: int, *, add: bool) -> list[Call]:
        environment = {
            "CNI_COMMAND": "ADD" if add else "DEL",
            "CNI_CONTAINERID": f"box-{number}",
            "CNI_NETNS": f"/run/netns/box-{number}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(_CNI),
        }
        bridge = {
            "cniVersion": "0.4.0",
            "name": "bench",
            "type": "bridge",
            "bridge": "bench0",
            "isGateway": True,
            "ipMasq": True,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni",
                "ranges": [[{"subnet": "10.89.0.0/16"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        mappings = [
            {"hostPort": n, "containerPort": n, "protocol": "tcp"} for n in range(FIRST_PORT, FIRST_PORT + ports)
        ]
        portmap = {
            "cniVersion": "0.4.0",
            "name": "bench",
            "type": "portmap",
            "capabilities": {"portMappings": True},
            "runtimeConfig": {"portMappings": mappings},
        }
        calls = [Call([str(_CNI / "bridge")], bridge, environment)]
        if ports:
            calls.append(Call([str(_CNI / "portmap")], portmap, environment))
        return calls if add else calls[::-1]


class PluginHost:
    """The namespace of one plugin."""

    def __init__(self, plugin: Plugin) -> None:
        self.name = plugin.name
        self._plugin = plugin
        self._sandbox = Sandbox()
        self._sandbox.shell("sysctl -qw net.ipv4.ip_forward=1; ip netns add box-0; ip netns add box-1")
        self._run(self._plugin.calls(0, 0, add=True))

    def join(self, ports: int) -> float:
        """Seconds, for the second container."""
        self._sandbox.settle()
        return self._run(self._plugin.calls(1, ports, add=True))

    def leave(self, ports: int) -> float:
        """Seconds. ports: as for the join."""
        return self._run(self._plugin.calls(1, ports, add=False))

    def close(self) -> None:
        self._sandbox.close()

    def _run(self, calls: list[Call]) -> float:
        seconds, result = 0.0, None
        for call in calls:
            config = {**call.config, **({"prevResult": result} if result else {})}
            started = time.perf_counter()
            done = subprocess.run(
                self._sandbox.entering(call.argv),
                input=json.dumps(config),
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **call.environment},
                capture_output=True,
                text=True,
            )
            seconds += time.perf_counter() - started
            if done.returncode:
                raise PluginFailed(f"{self.name}: {done.stdout[-300:]} {done.stderr[-300:]}")
            result = json.loads(done.stdout) if done.stdout.strip() else None
        return seconds


def installed(names: Collection[str]) -> list[Plugin]:
    """Those of `names` (netavark, cni) whose programs are here."""
    found: list[Plugin] = []
    if "netavark" in names and _NETAVARK.exists():
        found.append(Netavark())
    if "cni" in names and (_CNI / "portmap").exists():
        found.append(CniBridge())
    return found


def version(plugin: Plugin) -> str:
    """Of its Debian package, "unknown" if it has none."""
    query = ["dpkg-query", "-W", "-f=${Version}", plugin.package]
    try:
        done = subprocess.run(query, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return done.stdout if done.returncode == 0 else "unknown"
