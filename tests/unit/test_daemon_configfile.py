"""The configuration file: dockerd's keys, and errors that name file, line, column and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.daemon.configfile import parse_config_text, read_config_file
from towline.daemon.jsonpos import Member, Node, parse_json, position
from towline.daemon.load import load, reload
from towline.daemon.settings import build_config
from towline.model.config import AddressPool, Config
from towline.model.errors import ConfigError

PATH = "/etc/x/daemon.json"


def parse(text: str) -> Config:
    return build_config(parse_config_text(PATH, text))


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_all_kinds_of_values() -> None:
    made = parse(
        json.dumps(
            {
                "data-root": "/d",
                "hosts": ["unix:///a", "tcp://127.0.0.1:1"],
                "mtu": 1400,
                "icc": False,
                "labels": ["a=b"],
                "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}],
                "default-network-opts": {"bridge": {"x": "y"}},
            }
        )
    )
    assert made.data_root == "/d"
    assert made.hosts == ("unix:///a", "tcp://127.0.0.1:1")
    assert (made.mtu, made.icc, made.labels) == (1400, False, ("a=b",))
    assert made.default_address_pools == (AddressPool("10.0.0.0/8", 24),)
    assert made.default_network_opts == {"bridge": {"x": "y"}}


@pytest.mark.parametrize("text", ["", " \n", "{}", "\ufeff{}".removeprefix("\ufeff")])
def test_nothing_said_is_the_default(text: str) -> None:
    assert parse(text) == Config()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{\n  "mtu": 1400,\n}', ["line 3, column 1", "key in double quotes"]),
        ('{\n  "mtu" 1400}', ["line 2, column 9", "':' is missing"]),
        ('{"mtu": 1400 "icc": true}', ["line 1, column 14", "',' or '}' is missing"]),
        ('{"mtu": }', ["line 1, column 9", "a value is missing"]),
        ('{"mtu": NaN}', ["NaN is not JSON"]),
        ('{"mtu": 1', ["line 1, column 10", "',' or '}' is missing"]),
        ('{"mtu": 1} x', ["line 1, column 12", "something follows"]),
        ('{"mtu": 1400,\n "mtu": 1500}', ["line 2, column 2", "'mtu' stands in line 1 already"]),
        ('{"labels": ' + "[" * 100, ["nested deeper"]),
        ("[1]", ["line 1, column 1", "an array", "one object"]),
        ('{\n\n  "nope": 1,\n "zz": 2}', ["don't match any configuration option: nope (line 3), zz (line 4)"]),
        ('{"default-address-pool": []}', ["did you mean default-address-pools?"]),
        ('{\n  "mtu": "1400"}', ["line 2, column 10: key mtu: a number is needed, not a string"]),
        ('{"mtu": 1.5}', ["key mtu"]),
        ('{"mtu": true}', ["key mtu: a number is needed, not a boolean"]),
        ('{"mtu": 12}', ["line 1, column 9: key mtu: 12: an MTU is between"]),
        ('{"mtu": ' + "9" * 5000 + "}", ["the number is too long"]),
        ('{"icc": "yes"}', ["key icc: a boolean is needed, not a string"]),
        ('{"bip": null}', ["key bip: a string is needed, not null"]),
        ('{"bip": "10.0.0.1"}', ["line 1, column 9: key bip: 10.0.0.1: no prefix length"]),
        ('{"hosts": "unix:///a"}', ["key hosts: an array is needed, not a string"]),
        ('{"hosts": ["unix:///a",\n 5]}', ["line 2, column 2: key hosts: a string is needed, not a number"]),
        ('{"hosts": ["x"]}', ["key hosts: x: write unix:///path"]),
        ('{"default-address-pools": [{"base": "10.0.0.0/8"}]}', ["key default-address-pools: a pool needs both"]),
        ('{"default-address-pools": [\n{"base": "10.0.0.0/8", "size": 3}]}', ["line 2, column 1", "size 3 is smaller"]),
        ('{"default-address-pools": [{"base": "10.0.0.0/8", "size": "3"}]}', ["a pool needs both"]),
        ('{"default-address-pools": [{"bse": 1}]}', ["'bse' is not part of a pool"]),
        ('{"default-address-pools": {}}', ["an array is needed, not an object"]),
        ('{"default-network-opts": {"bridge": {"a": 1}}}', ["key default-network-opts.bridge: a: a string is needed"]),
        ('{"default-network-opts": {"bridge": []}}', ["key default-network-opts.bridge: an object is needed"]),
        ('{"bip": "10.0.0.1/24",\n "fixed-cidr": "10.1.0.0/24"}', ["line 2, column 2: key fixed-cidr", "outside"]),
        ('{"tlsverify": true}', ["line 1, column 2: key tlsverify", "needs tlscert"]),
    ],
)
def test_error_names_place_and_key(text: str, parts: list[str]) -> None:
    message = refusal(text)
    assert f"unable to configure the Towline daemon with file {PATH}" in message
    for part in parts:
        assert part in message


def test_absent_file_matters_only_if_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "none.json")
    assert read_config_file(path, required=False) == {}
    with pytest.raises(ConfigError, match=r"none\.json: No such file"):
        load(["--config-file", path])


def test_not_utf8_and_too_large(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_bytes(b'{\n"bip": "\xff"}')
    with pytest.raises(ConfigError, match="line 2: not UTF-8"):
        load(["--config-file", str(path)])
    path.write_bytes(b" " * (2 << 20))
    with pytest.raises(ConfigError, match="larger than"):
        load(["--config-file", str(path)])


def test_set_in_both_places_has_dockerds_text(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"hosts": ["unix:///a"], "mtu": 1400, "icc": true}')
    with pytest.raises(ConfigError) as caught:
        load(["--config-file", str(path), "-H", "fd://", "--mtu", "1500"])
    assert str(caught.value) == (
        f"unable to configure the Towline daemon with file {path}: the following directives are specified both as a "
        "flag and in the configuration file: hosts: (from flag: [fd://], from file: [unix:///a]), "
        "mtu: (from flag: 1500, from file: 1400)"
    )


def test_reload_takes_debug_and_labels_and_names_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"mtu": 1400}')
    loaded = load(["--config-file", str(path), "--ipv6"])
    path.write_text('{"mtu": 1450, "debug": true, "labels": ["a=b"], "icc": false}')
    outcome = reload(loaded, loaded.config)
    assert set(outcome.changed) == {"debug", "labels"}
    assert set(outcome.waiting) == {"mtu", "icc"}
    assert outcome.config.debug
    assert outcome.config.labels == ("a=b",)
    assert (outcome.config.mtu, outcome.config.ipv6, outcome.config.icc) == (1400, True, True)


def plain(node: Node) -> object:
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    if isinstance(node.value, dict):
        members: dict[str, Member] = node.value
        return {key: plain(member.node) for key, member in members.items()}
    return node.value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.sampled_from([None, 2]))
def test_reads_what_json_reads(value: object, indent: int | None) -> None:
    assert plain(parse_json(json.dumps(value, indent=indent))) == value


@given(st.text(alphabet='{}[]",:truefals0123456789.e- \n\\', max_size=40))
def test_agrees_with_json_on_what_is_valid(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            parse_json(text)


@pytest.mark.parametrize(("at", "expected"), [(0, (1, 1)), (2, (1, 3)), (3, (2, 1)), (5, (3, 1))])
def test_position(at: int, expected: tuple[int, int]) -> None:
    assert position("ab\nc\nd", at) == expected
