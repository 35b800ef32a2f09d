"""Suggestions for words that do not exist."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.cli.guess import nearest, slips

FLAGS = ["--host", "--subnet", "--gateway", "--label", "--ipam-driver", "--ipam-opt", "--internal", "-o", "--ip"]
WORDS = st.text("abc", max_size=6)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("--bogus", ""),
        ("--most", "--host"),
        ("--subnte", "--subnet"),
        ("--gatway", "--gateway"),
        ("--lable", "--label"),
        ("-label", "--label"),
        ("--intern", "--internal"),
        ("--ipam", ""),
        ("--xyz", ""),
        ("-x", ""),
        ("", ""),
    ],
)
def test_only_what_is_near_is_suggested(word: str, meant: str) -> None:
    assert nearest(word, FLAGS) == meant


def test_nothing_known_nothing_meant() -> None:
    assert nearest("--label", []) == ""


@given(WORDS, WORDS)
def test_slips_are_a_distance(a: str, b: str) -> None:
    assert slips(a, b) == slips(b, a)
    assert (slips(a, b) == 0) == (a == b)
    assert abs(len(a) - len(b)) <= slips(a, b) <= max(len(a), len(b))


@given(WORDS, st.data())
def test_each_kind_of_slip_is_one(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word)))
    assert slips(word, word[:at] + "x" + word[at:]) == 1
    if at < len(word):
        assert slips(word, word[:at] + word[at + 1 :]) == slips(word, word[:at] + "x" + word[at + 1 :]) == 1
    if at + 1 < len(word) and word[at] != word[at + 1]:
        assert slips(word, word[:at] + word[at + 1] + word[at] + word[at + 2 :]) == 1
