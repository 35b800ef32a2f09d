"""The command line against a real daemon: what it makes is in the kernel, what it removes is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.daemon import Daemon


class Done:
    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.status = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def towline(daemon: Daemon, *args: str) -> Done:
    command = [sys.executable, "-m", "towline.cli", "-H", f"unix://{daemon.socket}", *args]
    return Done(subprocess.run(command, capture_output=True, text=True, timeout=30, check=False))


def links(daemon: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(daemon.run("ip", "-json", "address", "show", "type", "bridge"))
    return found


def test_a_network_is_made_shown_and_removed(daemon: Daemon) -> None:
    made = towline(
        daemon, "network", "create", "--subnet", "10.9.0.0/24", "--gateway", "10.9.0.7", "--label", "a=b", "web"
    )
    assert (made.status, made.err) == (0, "")
    network_id = made.out.strip()
    bridge = next(link for link in links(daemon) if link["ifname"] == f"br-{network_id[:12]}")
    assert "10.9.0.7" in [address["local"] for address in bridge["addr_info"]]

    assert f"{network_id[:12]}   web       bridge    local" in towline(daemon, "network", "ls").out
    template = "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}} {{.Labels.a}}"
    assert towline(daemon, "network", "inspect", "-f", template, "web").out == "10.9.0.0/24 10.9.0.7 b\n"

    assert towline(daemon, "network", "rm", "--wait", network_id[:8]).status == 0
    assert f"br-{network_id[:12]}" not in [link["ifname"] for link in links(daemon)]
    assert towline(daemon, "network", "inspect", "web").err == "towline: network web not found\n"


def test_both_families_and_every_pool_flag(daemon: Daemon) -> None:
    pools = "--subnet 10.9.0.0/24 --subnet fd00:9::/64 --ip-range 10.9.0.128/25 --gateway fd00:9::5"
    flags = f"--ipv6 --internal {pools} --aux-address r=10.9.0.9"
    assert towline(daemon, "network", "create", *flags.split(), "x").status == 0
    (found,) = towline(daemon, "network", "inspect", "x").json
    assert found["Internal"]
    assert found["IPAM"]["Config"][0]["IPRange"] == "10.9.0.128/25"
    assert found["IPAM"]["Config"][0]["AuxiliaryAddresses"] == {"r": "10.9.0.9"}
    assert found["IPAM"]["Config"][1]["Gateway"] == "fd00:9::5"


def test_ls_filters_and_quiet(daemon: Daemon) -> None:
    for name in ("net2", "net10"):
        towline(daemon, "network", "create", name)
    names = towline(daemon, "network", "ls", "-f", "type=custom", "--format", "{{.Name}}").out
    assert names == "net2\nnet10\n"
    assert len(towline(daemon, "network", "ls", "-q", "--no-trunc").out.split()[0]) == 64
    assert {network["Name"] for network in towline(daemon, "--json", "network", "ls").json} >= {
        "bridge",
        "host",
        "none",
    }


def test_errors_are_the_daemons_words_and_status_1(daemon: Daemon) -> None:
    assert towline(daemon, "network", "create", "bridge").status == 1
    clash = towline(daemon, "network", "create", "--subnet", "10.9.0.1/24", "x")
    assert clash.status == 1
    assert "it should be 10.9.0.0/24" in clash.err
    removal = towline(daemon, "network", "rm", "host", "nope")
    assert removal.status == 1
    assert removal.err.splitlines() == [
        "towline: host is a pre-defined network and cannot be removed",
        "towline: network nope not found",
    ]


@pytest.mark.parametrize("name", ["a/b", "a b", "é", "a%2Fb", "?x=1", "#"])
def test_odd_names_reach_the_daemon_unchanged(daemon: Daemon, name: str) -> None:
    assert towline(daemon, "network", "create", name).status == 0
    assert towline(daemon, "network", "inspect", "-f", "{{.Name}}", name).out == f"{name}\n"
    assert towline(daemon, "network", "rm", name).out == f"{name}\n"


def test_prune_removes_what_is_unused(daemon: Daemon) -> None:
    towline(daemon, "network", "create", "a")
    towline(daemon, "network", "create", "--label", "keep", "b")
    pruned = towline(daemon, "network", "prune", "--force", "--wait", "--filter", "label!=keep")
    assert pruned.out == "Deleted Networks:\na\n\n"
    assert towline(daemon, "network", "ls", "-f", "type=custom", "--format", "{{.Name}}").out == "b\n"
