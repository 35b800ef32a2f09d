from __future__ import annotations

import pytest

from towline.cli.errors import UsageError
from towline.cli.flags import Flag, Parsed, parse

FLAGS = (
    Flag("quiet", "", short="q"),
    Flag("verbose", "", short="v"),
    Flag("driver", "", "text", "d"),
    Flag("label", "", "list", "l"),
    Flag("subnet", "", "list", commas=True),
)


def read(*words: str) -> Parsed:
    parsed = Parsed()
    parse(words, FLAGS, "network create", parsed)
    return parsed


def test_flags_and_names_mix() -> None:
    parsed = read("a", "--driver", "x", "b", "-q", "--", "-v", "--driver")
    assert parsed.operands == ["a", "b", "-v", "--driver"]
    assert parsed.text("driver") == "x"
    assert parsed.on("quiet")
    assert not parsed.on("verbose")


@pytest.mark.parametrize(
    "words", [("--driver=x",), ("--driver", "x"), ("-d", "x"), ("-dx",), ("-d=x",), ("-qvd", "x"), ("-qdx",)]
)
def test_every_way_to_give_a_value(words: tuple[str, ...]) -> None:
    assert read(*words).text("driver") == "x"


def test_the_last_text_counts_and_lists_grow() -> None:
    parsed = read("-d", "a", "-d", "b", "-l", "x=1", "--label", "y", "--subnet", "1,2", "--subnet=3", "-l", "z=a,b=c")
    assert parsed.text("driver") == "b"
    assert parsed.pairs("label") == {"x": "1", "y": "", "z": "a,b=c"}
    assert parsed.items("subnet") == ["1", "2", "3"]


@pytest.mark.parametrize(("word", "on"), [("true", True), ("1", True), ("F", False), ("false", False)])
def test_switches_take_a_value_after_an_equals_sign_only(word: str, on: bool) -> None:
    parsed = read(f"--quiet={word}", "-v", "false")
    assert parsed.on("quiet") is on
    assert parsed.given("quiet")
    assert parsed.operands == ["false"]


def test_an_empty_value_is_a_value() -> None:
    parsed = read("--driver=", "--label", "")
    assert parsed.given("driver")
    assert parsed.text("driver") == ""
    assert parsed.items("label") == [""]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--lable", "x"), "unknown flag --lable for `network create`; did you mean --label?"),
        (("--zzzz",), "unknown flag --zzzz for `network create`"),
        (("-x",), "unknown flag -x for `network create`"),
        (("-qx",), "unknown flag -x for `network create`"),
        (("--driver",), "flag --driver needs a value"),
        (("-d",), "flag -d needs a value"),
        (("--quiet=maybe",), 'flag --quiet is on or off: want "true" or "false", not "maybe"'),
    ],
)
def test_errors_name_the_flag(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(*words)
    assert caught.value.message == message
    assert caught.value.hint == "See `towline network create --help`."
