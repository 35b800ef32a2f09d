"""doctor, events, info and version against a real daemon."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.e2e.test_cli_network import towline
from tests.support import boxes
from tests.support.daemon import Daemon
from tests.support.polling import eventually


def test_doctor_is_content_with_a_fresh_daemon(daemon: Daemon) -> None:
    towline(daemon, "network", "create", "web")
    found = towline(daemon, "doctor")
    assert (found.status, found.out) == (0, "Store and kernel are equal.\n")


def test_doctor_repairs_what_was_taken_away(daemon: Daemon) -> None:
    """The daemon may have healed it first: then there is nothing to find, and all is equal as well."""
    network_id = towline(daemon, "network", "create", "web").out.strip()
    daemon.run("ip", "link", "delete", f"br-{network_id[:12]}")
    fixed = towline(daemon, "--json", "doctor", "--fix")
    assert fixed.status == 0
    assert fixed.json["Equal"]
    assert f"br-{network_id[:12]}" in daemon.run("ip", "-brief", "link")


def test_doctor_restores_the_names_of_a_sandbox_whose_ruleset_was_flushed(daemon: Daemon) -> None:
    towline(daemon, "network", "create", "web")
    with boxes.running(daemon, "shop", "web", ports=["8080:80"]) as shop:
        assert towline(daemon, "doctor").status == 0
        shop.ns.run(["nft", "flush", "ruleset"])
        said = "port 53 of 127.0.0.11 does not lead to its name server any more"
        assert said in towline(daemon, "inspect", "shop").out
        assert said in towline(daemon, "doctor").out
        assert towline(daemon, "doctor", "--fix").status == 0
        assert shop.ask("shop") == [shop.ipv4]
        assert said not in towline(daemon, "inspect", "shop").out
        assert towline(daemon, "doctor").status == 0


def test_a_namespace_that_somebody_else_removed_ends_its_sandbox(daemon: Daemon) -> None:
    towline(daemon, "network", "create", "web")
    path = daemon.root / "theirs"
    path.touch()
    subprocess.run(["unshare", f"--net={path}", "ip", "link", "set", "lo", "up"], check=True)
    try:
        assert towline(daemon, "attach", "vm", "--netns", str(path), "--network", "web").status == 0
        assert boxes.inspect(daemon, "vm")["state"] == "running"
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
    towline(daemon, "doctor")

    def ended() -> None:
        assert boxes.inspect(daemon, "vm")["state"] == "exited"
        assert "veth" not in daemon.run("ip", "-brief", "link")

    eventually(ended)


def test_events_of_the_past_end_by_themselves(daemon: Daemon) -> None:
    network_id = towline(daemon, "network", "create", "web").out.strip()
    towline(daemon, "network", "rm", "web")
    found = towline(daemon, "events", "--since", "10m", "--until", "0s", "-f", "type=network")
    assert found.status == 0
    lines = [line.split(" ", 1)[1] for line in found.out.splitlines()]
    assert f"network create {network_id} (name=web, type=bridge)" in lines
    assert f"network destroy {network_id} (name=web, type=bridge)" in lines


def test_events_stream_as_they_happen(daemon: Daemon) -> None:
    command = [
        sys.executable,
        "-m",
        "towline.cli",
        "-H",
        f"unix://{daemon.socket}",
        "events",
        "--json",
        "--since",
        "1m",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stream:
        try:
            assert stream.stdout is not None
            towline(daemon, "network", "create", "late")
            names = (json.loads(line)["Actor"]["Attributes"].get("name") for line in stream.stdout)
            assert "late" in names
        finally:
            stream.terminate()


def test_info_and_version_know_the_daemon(daemon: Daemon) -> None:
    assert f"Data root:          {daemon.data_root}\n" in towline(daemon, "info").out
    assert towline(daemon, "--json", "version").json["Server"]["Platform"]["Name"] == "Towline"


def test_a_stopped_daemon_is_named(daemon: Daemon) -> None:
    daemon.stop()
    found = towline(daemon, "network", "ls")
    assert found.status == 125
    assert f"no daemon at unix://{daemon.socket}" in found.err
    assert "towlined" in found.err
