"""A switch that the hosts of `make demo-cluster` are plugged into: a bridge in a network namespace of its own."""

from __future__ import annotations

import subprocess

from demo_stage import ClaimFailedError, Stage, show

_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_PREFIX = "192.0.2"


class Switch:
    """Host n of a stage is at 192.0.2.n, its cable is in port n."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            [*_DIE_WITH_US, "unshare", "-n", "sh", "-c", "echo ready; exec sleep infinity"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self._ip("link add switch type bridge mcast_snooping 0", "link set switch up")

    def plug(self, stage: Stage, number: int) -> str:
        """Answers the host's address."""
        address = f"{_PREFIX}.{number}"
        port = f"port{number}"
        self._ip(f"link add {port} type veth peer name eth0 netns {stage.first}", f"link set {port} master switch up")
        stage.inside(f"ip address add {address}/24 dev eth0", quiet=True)
        stage.inside("ip link set eth0 up", quiet=True)
        stage.inside(f"ip route add default via {_PREFIX}.254", quiet=True)
        return address

    def cut(self, number: int) -> None:
        """Pull a cable."""
        self._ip(f"link set port{number} down")
        show(f"ip link set port{number} down", "", "switch")

    def mend(self, number: int) -> None:
        self._ip(f"link set port{number} up")
        show(f"ip link set port{number} up", "", "switch")

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()

    def _ip(self, *lines: str) -> None:
        argv = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "ip", "-batch", "-"]
        done = subprocess.run(argv, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClaimFailedError(f"the switch does `{'; '.join(lines)}` (it said: {done.stderr.strip()})")
