"""What the recorded answers do not reach; Docker's own texts are replayed from them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.model.errors import Failure, InvalidParameter
from towline.model.events import Event
from towline.model.network import Network
from towline.policy.filters import EventFilter, NetworkFilter, PruneFilter, parse
from towline.policy.patterns import matcher
from towline.policy.timestamps import parse_moment, parse_seconds

SECOND = 10**9


def net(name: str = "web", **fields: Any) -> Network:
    return Network(**{"id": "ab" * 32, "name": name, "created": 100 * SECOND, "driver": "bridge", **fields})


def wants(filters: object, network: Network, *, used: bool = False) -> bool:
    return NetworkFilter(parse(json.dumps(filters))).matches(network, lambda _: used)


@pytest.mark.parametrize("text", ["", "{}", "null"])
def test_no_filter(text: str) -> None:
    assert parse(text) == {}
    assert NetworkFilter(parse(text)).matches(net(), lambda _: False)


def test_both_notations_mean_the_same() -> None:
    assert parse('{"name":["a","b"]}') == parse('{"name":{"a":true,"b":true}}')


@pytest.mark.parametrize(
    "text", ["{", "[]", "5", '"name"', '{"name":"a"}', '{"name":[1]}', '{"name":{"a":1}}', '{"a":["b"],"c":{"d":true}}']
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(InvalidParameter, match="^invalid filter$"):
        parse(text)


def test_a_deep_filter_is_no_filter() -> None:
    with pytest.raises(InvalidParameter, match="^invalid filter$"):
        parse('{"a":' * 100_000)


@pytest.mark.parametrize(
    ("filters", "network", "matches"),
    [
        ({"driver": ["bridge", "null"]}, net(), True),
        ({"driver": ["brid"]}, net(), False),
        ({"driver": {"bridge": False}}, net(), False),
        ({"driver": []}, net(), True),
        ({"scope": ["swarm"]}, net(scope="swarm"), True),
        ({"id": ["abab"]}, net(), True),
        ({"id": ["^ba"]}, net(), False),
        ({"name": {"web": False}}, net(), True),
        ({"name": ["^w.b$", "db"]}, net(), True),
        ({"name": ["W"]}, net(), False),
        ({"name": ["(?i)W"]}, net(), True),
        ({"name": ["("]}, net("("), True),
        ({"name": ["["]}, net(), False),
        ({"label": ["a"]}, net(labels={"a": "b"}), True),
        ({"label": ["a="]}, net(labels={"a": "b"}), False),
        ({"label": ["a=b", "c"]}, net(labels={"a": "b"}), False),
        ({"label": ["a=b=c"]}, net(labels={"a": "b=c"}), True),
        ({"type": ["builtin"]}, net("host"), True),
        ({"type": ["builtin", "custom"]}, net(), True),
        ({"type": ["custom"]}, net("none"), False),
        ({"driver": ["bridge"], "name": ["db"]}, net(), False),
    ],
)
def test_networks(filters: object, network: Network, matches: bool) -> None:
    assert wants(filters, network) is matches


@pytest.mark.parametrize(
    ("value", "name", "used", "matches"),
    [("true", "web", False, True), ("1", "web", True, False), ("0", "web", True, True), ("true", "host", False, False)],
)
def test_dangling(value: str, name: str, used: bool, matches: bool) -> None:
    assert wants({"dangling": [value]}, net(name), used=used) is matches


@pytest.mark.parametrize(
    ("filters", "error", "text"),
    [
        ({"nope": ["x"]}, InvalidParameter, "invalid filter 'nope'"),
        ({"type": ["x"]}, Failure, "invalid filter: 'type'='x'"),
        ({"dangling": ["true", "1"]}, InvalidParameter, 'got more than one value for filter key "dangling"'),
        ({"name": ["(a+)+$"]}, InvalidParameter, "invalid filter: pattern too complex: (a+)+$"),
    ],
)
def test_refused(filters: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as refusal:
        wants(filters, net())
    assert str(refusal.value) == text


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("a.c", "xabcx", True),
        ("^a$", "a", True),
        (r"a\z", "ba", True),
        (r"\d", "٣", False),
        ("a{2}", "aa", True),
        ("a{", "a{", True),
        ("[*+]", "+", True),
        ("(a)(b)?", "a", True),
        (r"(a)\1", "aa", False),
        ("a(?=b)", "ab", False),
        ("a**", "a", False),
        ("[[:alpha:]]", "a", False),
        ("[a-z]", "b", True),
        ("[^]]", "b", True),
        (".", "x" * 300, False),
        ("x", "x" * 300, True),
    ],
)
def test_patterns(pattern: str, text: str, found: bool) -> None:
    assert matcher(pattern)(text) is found


@pytest.mark.parametrize(
    "pattern",
    ["(a*)*", "(a|a)+", "a*a*a*b", "a{1,9}b*c+", "a?" * 9 + "a", "(a|b)" * 9, "x" * 1025 + "."],
)
def test_patterns_that_could_take_long(pattern: str) -> None:
    with pytest.raises(InvalidParameter, match="^invalid filter: pattern too complex: "):
        matcher(pattern)


@given(st.text("ab.*+?()|[]{}^$\\12,", max_size=16), st.text("ab", max_size=256))
def test_any_pattern_is_refused_or_quick(pattern: str, text: str) -> None:
    began = time.perf_counter()
    try:
        matcher(pattern)(text)
    except InvalidParameter:
        return
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, False),
        ({"label": ["keep"]}, True),
        ({"label": ["x"]}, False),
        ({"label!": ["x"]}, True),
        ({"label!": ["x=2"]}, False),
        ({"until": ["50s"]}, True),
        ({"until": ["20s"]}, False),
        ({"until": ["100"]}, False),
        ({"until": ["99.5"]}, True),
        ({"until": ["1970-01-01T00:01:30Z"]}, True),
        ({"until": ["1970-01-01T01:01:41+01:00"]}, False),
    ],
)
def test_prune(filters: object, kept: bool) -> None:
    spare = PruneFilter(parse(json.dumps(filters)), now=130 * SECOND)
    assert spare.keeps(net(labels={"x": "1"})) is kept


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ({"dangling": ["true"]}, "invalid filter 'dangling'"),
        ({"until": ["1h", "2h"]}, "more than one until filter specified"),
        ({"until": [""]}, "failed to parse value as time or duration: value is empty"),
        ({"until": ["x"]}, 'failed to parse value as time or duration: invalid seconds "x": invalid syntax'),
        ({"until": ["2020-13-01"]}, 'parsing time "2020-13-01": month must be in 1..12'),
        ({"until": ["-1"]}, 'parsing time "-1": not an RFC 3339 time'),
    ],
)
def test_prune_refused(filters: object, text: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        PruneFilter(parse(json.dumps(filters)), now=0)
    assert str(refusal.value) == text


EVENT = Event("network", "connect", "ab" * 32, {"name": "web", "type": "bridge", "container": "c" * 64}, "local", 0)


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        ({}, True),
        ({"type": ["network"], "event": ["connect", "create"]}, True),
        ({"type": ["container"]}, False),
        ({"event": ["create"]}, False),
        ({"scope": ["swarm"]}, False),
        ({"network": ["we"]}, True),
        ({"network": ["abab"]}, True),
        ({"network": ["eb"]}, False),
        ({"label": ["type=bridge"]}, True),
        ({"container": ["nope"]}, False),
        ({"unheard": ["of"]}, True),
    ],
)
def test_events(filters: object, matches: bool) -> None:
    assert EventFilter(parse(json.dumps(filters))).matches(EVENT) is matches


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0", 0),
        ("1", SECOND),
        ("1.5", 1_500_000_000),
        ("1.000000001", SECOND + 1),
        ("1m", 940 * SECOND),
        ("1h0.5ms", 1000 * SECOND - 3600 * SECOND - 500_000),
        ("-1s", 1001 * SECOND),
        ("1970-01-02", 86400 * SECOND),
        ("1970-01-01T00:00:01.5", 1_500_000_000),
        ("1970-01-01T01", 3600 * SECOND),
        ("1970-01-01T01:30-01:30", 3 * 3600 * SECOND),
    ],
)
def test_moments(text: str, moment: int) -> None:
    assert parse_moment(text, 1000 * SECOND) == moment


@given(st.integers(-(10**10), 10**10), st.integers(0, SECOND - 1))
def test_seconds(seconds: int, nanoseconds: int) -> None:
    assert parse_seconds(f"{seconds}.{nanoseconds:09d}") == seconds * SECOND + nanoseconds


@given(st.text(max_size=20))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    for read in (parse_seconds, lambda value: parse_moment(value, 0)):
        try:
            assert isinstance(read(text), int)
        except InvalidParameter:
            continue
