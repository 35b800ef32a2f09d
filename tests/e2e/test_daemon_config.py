"""towlined's flags and configuration file as a user meets them, and SIGHUP."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import TOWLINED, Daemon, DaemonFailed

MakeDaemon = Callable[..., Daemon]


def towlined(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TOWLINED, *args], capture_output=True, text=True, timeout=30, check=False)


def test_help_and_version() -> None:
    assert "--data-root DIR" in towlined("--help").stdout
    assert towlined("-v").stdout.startswith("towlined ")


def test_wrong_flag_ends_with_2_and_a_hint() -> None:
    done = towlined("--bip", "10.0.0.1")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        'towlined: invalid argument "10.0.0.1" for "--bip" flag: no prefix length; '
        "write the bridge's address with one, such as 172.18.0.1/16\nSee 'towlined --help'.\n"
    )


def test_validate_tells_without_starting(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"mtu": 1400}')
    assert towlined("--config-file", str(path), "--validate").stdout == "configuration OK\n"
    path.write_text('{\n  "mtu": "big"\n}')
    done = towlined("--config-file", str(path), "--validate")
    assert done.returncode == 2
    assert f"{path}: line 2, column 10: key mtu: a number is needed, not a string" in done.stderr


def test_broken_file_stops_the_start(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.config_file.write_text('{"nope": 1}')
    with pytest.raises(DaemonFailed) as caught:
        daemon.start()
    assert caught.value.status == 2
    assert "the following directives don't match any configuration option: nope (line 1)" in daemon.log
    assert not daemon.data_root.exists()


def test_file_and_flags_reach_the_engine(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon("--bip", "10.77.0.1/24", "--label", "from=flag")
    daemon.config_file.write_text(json.dumps({"default-address-pools": [{"base": "10.99.0.0/16", "size": 24}]}))
    daemon.start()
    assert "10.77.0.1/24" in daemon.run("ip", "-o", "address", "show", "docker0")
    assert daemon.http("POST", "/networks/create", {"Name": "web"}).status == 201
    subnet = daemon.http("GET", "/networks/web").json["IPAM"]["Config"][0]["Subnet"]
    assert subnet.startswith("10.99.")
    assert daemon.http("GET", "/info").json["Labels"] == ["from=flag"]


def test_sighup_takes_labels_and_debug_and_names_the_rest(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    daemon.config_file.write_text('{"labels": ["a=b"], "debug": true, "mtu": 1400}')
    daemon.reload()
    assert 'msg="configuration reloaded" changed="debug,labels"' in daemon.log
    assert 'level=warning msg="these need a restart" options=mtu' in daemon.log
    info = daemon.http("GET", "/info").json
    assert info["Labels"] == ["a=b"]
    assert info["Debug"] is True


def test_sighup_with_a_broken_file_keeps_what_runs(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.config_file.write_text('{"labels": ["a=b"]}')
    daemon.start()
    daemon.config_file.write_text('{\n"labels": 5}')
    daemon.reload()
    assert 'msg="configuration not reloaded"' in daemon.log
    assert "line 2, column 11: key labels: an array is needed" in daemon.log
    assert daemon.http("GET", "/info").json["Labels"] == ["a=b"]


def test_json_logs(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon("--log-format", "json").start()
    daemon.stop()
    lines = [json.loads(line) for line in daemon.log.splitlines()]
    assert {"time", "level", "msg"} <= lines[0].keys()
    assert any(line["msg"] == "ready" and line["version"] for line in lines)
