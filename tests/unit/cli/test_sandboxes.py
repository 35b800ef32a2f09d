"""ls, inspect, logs, start, stop, rm and network connect against canned answers."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cli.conftest import Serve
from tests.unit.cli.server import EMPTY, answer, chunked, run
from towline.cli import sandbox_words
from towline.cli.errors import Unreachable
from towline.cli.main import main
from towline.cli.sandbox_logs import frames

Capture = pytest.CaptureFixture[str]


def ago(seconds: float) -> str:
    moment = time.gmtime(time.time() - seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S.5Z", moment)


def endpoint(network: str, **more: object) -> dict[str, object]:
    return {
        "id": f"e-{network}",
        "network_name": network,
        "ipv4": "10.80.0.5/24",
        "ipv6": "",
        "gateway_ipv4": "10.80.0.1",
        "gateway_ipv6": "",
        "mac": "02:42:00:00:00:05",
        "ifname": "eth0",
        "host_link": "veth0123",
        "dns_names": ["shop", "sql"],
        "published": [],
        **more,
    }


def sandbox(name: str, **more: object) -> dict[str, object]:
    return {
        "id": (name.encode().hex() * 64)[:64],
        "name": name,
        "origin": "run",
        "state": "running",
        "created": ago(7300),
        "started": ago(301),
        "finished": "",
        "exit_code": 0,
        "pid": 4711,
        "netns": "/run/n/x",
        "command": ["python3", "-m", "http.server"],
        "directory": "/srv",
        "hostname": "shop",
        "restart": "no",
        "labels": {"k": "v"},
        "endpoints": [endpoint("web")],
        **more,
    }


PUBLISHED = [
    {"protocol": "tcp", "host_ip": "0.0.0.0", "host_port": 8080, "port": 80},
    {"protocol": "tcp", "host_ip": "::", "host_port": 8080, "port": 80},
    {"protocol": "udp", "host_ip": "", "host_port": 0, "port": 53},
]


def test_ls_shows_what_runs(serve: Serve, capsys: Capture) -> None:
    ended = sandbox("old", state="exited", exit_code=3, finished=ago(91000))
    daemon = serve(answer([sandbox("shop"), ended]))
    assert run(daemon, "ls") == 0
    assert capsys.readouterr().out == (
        "SANDBOX ID     NAME      COMMAND                  CREATED       STATUS         NETWORKS        PORTS\n"
        '73686f707368   shop      "python3 -m http.ser…"   2 hours ago   Up 5 minutes   web=10.80.0.5   \n'
    )
    assert daemon.requests[0].line == "GET /towline/v1/sandboxes HTTP/1.1"


@pytest.mark.parametrize("args", [["-a"], ["-f", "status=exited"]])
def test_ls_all_shows_how_the_others_ended(serve: Serve, capsys: Capture, args: list[str]) -> None:
    ended = sandbox("old", state="exited", exit_code=3, finished=ago(91000), endpoints=[])
    new = sandbox("new", state="created", started="", endpoints=[])
    outside = sandbox("vm", origin="attach", command=[], endpoints=[endpoint("a"), endpoint("b", ipv4="", ipv6="")])
    assert run(serve(answer([ended, new, outside])), "ps", *args, "--format", "{{.Status}}|{{.Networks}}") == 0
    assert capsys.readouterr().out == "Exited (3) 25 hours ago|\nCreated|\nUp 5 minutes|a=10.80.0.5, b\n"


@pytest.mark.parametrize(
    ("args", "want"),
    [
        (["-q"], "73686f707368\n"),
        (["-q", "--no-trunc"], ("73686f70" * 8) + "\n"),
        (["--format", "{{.Ports}}"], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 53/udp\n"),
        (["--format", '{{.ID}} {{.Names}} {{.State}} {{.Label "k"}} {{.Labels}}'], "73686f707368 shop running v k=v\n"),
        (["--format", "{{.Command}}"], '"sleep aaaaaaaaaaaaa…"\n'),
        (["--no-trunc", "--format", "{{.Command}}"], '"sleep ' + "a" * 40 + '"\n'),
        (["--format", "table {{.Name}}\\t{{.RunningFor}}"], "NAME      CREATED\nshop      2 hours ago\n"),
    ],
)
def test_ls_formats(serve: Serve, capsys: Capture, args: list[str], want: str) -> None:
    shop = sandbox("shop", command=["sleep", "a" * 40], endpoints=[endpoint("web", published=PUBLISHED)])
    assert run(serve(answer([shop])), "ls", *args) == 0
    assert capsys.readouterr().out == want


def test_ls_json_and_filters(serve: Serve, capsys: Capture) -> None:
    shop = sandbox("shop")
    daemon = serve(answer([shop]))
    assert run(daemon, "ls", "--json", "-f", "label=k=v", "-f", "network=web") == 0
    assert json.loads(capsys.readouterr().out) == [shop]
    query = parse_qs(urlsplit(daemon.requests[0].line.split()[1]).query)
    assert json.loads(query["filters"][0]) == {"label": {"k=v": True}, "network": {"web": True}}


def test_names_cannot_drive_the_terminal(serve: Serve, capsys: Capture) -> None:
    hostile = sandbox("a\x1b[2J", command=["\x1b]0;x\x07"], endpoints=[endpoint("n\nx")])
    assert run(serve(answer([hostile]), answer(hostile), answer([])), "ls") == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "want"),
    [
        (0.2, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (2759, "45 minutes"),
        (2760, "About an hour"),
        (172799, "47 hours"),
        (172800, "2 days"),
        (1209600, "2 weeks"),
        (5184000, "2 months"),
        (63072000, "2 years"),
    ],
)
def test_durations_are_worded_as_docker_does(seconds: float, want: str) -> None:
    assert sandbox_words.lasting(seconds) == want


@given(st.integers(0, 10**10))
def test_times_are_read_as_the_calendar_has_them(seconds: int) -> None:
    text = time.strftime("%Y-%m-%dT%H:%M:%S.25Z", time.gmtime(seconds))
    assert sandbox_words.seconds_since_1970(text) == seconds + 0.25


PATH = [
    {
        "endpoint": "e-web",
        "steps": [
            {"object": "interface eth0", "text": "is up", "problem": ""},
            {"object": "default route", "text": "by 10.80.0.1", "problem": "is missing"},
        ],
    }
]


def test_inspect_explains_the_path(serve: Serve, capsys: Capture) -> None:
    shop = sandbox("shop", endpoints=[endpoint("web", published=PUBLISHED[:1])])
    daemon = serve(answer(shop), answer(PATH))
    assert run(daemon, "inspect", "shop") == 0
    assert capsys.readouterr().out == (
        "shop  Up 5 minutes\n"
        f"  id          {shop['id']}\n"
        '  command     "python3 -m http.server"\n'
        "  directory   /srv\n"
        "  hostname    shop\n"
        "  process     4711\n"
        "  namespace   /run/n/x\n"
        "  labels      k=v\n"
        "\n"
        "  network web\n"
        "    interface   eth0 at veth0123\n"
        "    mac         02:42:00:00:00:05\n"
        "    ipv4        10.80.0.5/24 by 10.80.0.1\n"
        "    names       shop, sql\n"
        "    ports       0.0.0.0:8080->80/tcp\n"
        "    ok     interface eth0: is up\n"
        "    wrong  default route: by 10.80.0.1: is missing\n"
    )
    assert daemon.requests[1].line == f"GET /towline/v1/sandboxes/{shop['id']}/explain HTTP/1.1"


def test_inspect_for_programs(serve: Serve, capsys: Capture) -> None:
    shop = sandbox("shop")
    daemon = serve(answer(shop), answer(PATH), answer({"message": "No such container: x"}, "404 Not Found"))
    assert run(daemon, "--json", "inspect", "shop", "x") == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == [{**shop, "path": PATH}]
    assert err == "towline: No such container: x\n"


def test_inspect_with_a_daemon_that_does_not_explain(serve: Serve, capsys: Capture) -> None:
    daemon = serve(answer(sandbox("shop")), answer({"message": "page not found"}, "404 Not Found"))
    assert run(daemon, "inspect", "-f", "{{.state}} {{len .path}}", "shop") == 0
    assert capsys.readouterr().out == "running 0\n"


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


def test_logs_go_to_their_streams(serve: Serve, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    data = frame(1, b"a\n") + frame(2, b"\xff\n") + frame(1, b"b")
    daemon = serve(chunked(data[:9], data[9:25], data[25:]))
    assert run(daemon, "logs", "-f", "-n", "5", "shop") == 0
    assert capsysbinary.readouterr() == (b"a\nb", b"\xff\n")
    assert daemon.requests[0].line == "GET /containers/shop/logs?stdout=1&stderr=1&tail=5&follow=1 HTTP/1.1"


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40))), st.integers(1, 20))
def test_frames_are_found_however_they_are_cut(texts: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(frame(stream, text) for stream, text in texts)
    assert list(frames(data[at : at + size] for at in range(0, len(data), size))) == texts


@pytest.mark.parametrize("data", [b"hello world", frame(1, b"ab")[:-1], b"\x01\0\0\0\xff\xff\xff\xff", b"\x01"])
def test_what_is_no_log_is_said(data: bytes) -> None:
    with pytest.raises(Unreachable):
        list(frames([data]))


@pytest.mark.parametrize(
    ("words", "message"), [("logs --tail x shop", '"x"'), ("--json logs shop", "--json"), ("stop -t 1.5 x", '"1.5"')]
)
def test_wrong_values_are_named(sockets: object, capsys: Capture, words: str, message: str) -> None:
    assert main(["-H", f"unix://{sockets}/none", *words.split()]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("start a/b", "POST /towline/v1/sandboxes/a%2Fb/start"),
        ("stop a", "POST /towline/v1/sandboxes/a/stop"),
        ("stop -t 0 a", "POST /towline/v1/sandboxes/a/stop?t=0"),
        ("rm a", "DELETE /towline/v1/sandboxes/a"),
        ("rm --force a", "DELETE /towline/v1/sandboxes/a?force=1"),
    ],
)
def test_one_request_a_sandbox(serve: Serve, capsys: Capture, words: str, line: str) -> None:
    daemon = serve(answer({"id": "a"}) if words.startswith("start") else EMPTY)
    assert run(daemon, *words.split()) == 0
    assert capsys.readouterr().out == words.split()[-1] + "\n"
    assert daemon.requests[0].line == f"{line} HTTP/1.1"


def test_a_refusal_does_not_stop_the_others(serve: Serve, capsys: Capture) -> None:
    running = answer({"message": "container is running"}, "409 Conflict")
    assert run(serve(running, EMPTY), "--json", "rm", "a", "b") == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"Removed": ["b"], "Errors": [{"Sandbox": "a", "Message": "container is running"}]}
    assert err == "towline: container is running\n"


def test_what_is_so_already_is_no_error(serve: Serve, capsys: Capture) -> None:
    missing = answer({"message": "No such container: b"}, "404 Not Found")
    daemon = serve(b"HTTP/1.1 304 Not Modified\r\n\r\n", missing)
    assert run(daemon, "stop", "a") == 0
    assert run(daemon, "rm", "-f", "b") == 0
    assert capsys.readouterr() == ("a\n", "")


def test_rm_without_force_misses_it(serve: Serve, capsys: Capture) -> None:
    assert run(serve(answer({"message": "No such container: b"}, "404 Not Found")), "rm", "b") == 1
    assert capsys.readouterr() == ("", "towline: No such container: b\n")


def test_connect_and_disconnect_speak_docker(serve: Serve, capsys: Capture) -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    daemon = serve(ok, ok)
    assert run(daemon, "network", "connect", "--alias", "db", "a/b", "shop") == 0
    assert run(daemon, "network", "disconnect", "-f", "web", "shop") == 0
    assert capsys.readouterr() == ("", "")
    connect, disconnect = daemon.requests
    assert connect.line == "POST /networks/a%2Fb/connect HTTP/1.1"
    assert connect.json["Container"] == "shop"
    assert connect.json["EndpointConfig"]["Aliases"] == ["db"]
    assert disconnect.line == "POST /networks/web/disconnect HTTP/1.1"
    assert disconnect.json == {"Container": "shop", "Force": True}


def test_a_name_too_many_is_named(sockets: object, capsys: Capture) -> None:
    assert main(["-H", f"unix://{sockets}/none", "network", "connect", "a", "b", "c"]) == 2
    assert re.search("takes NETWORK SANDBOX; too many: c", capsys.readouterr().err)
