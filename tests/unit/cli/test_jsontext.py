from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.cli import jsontext

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([0, 2, 4]))
def test_writes_what_the_json_package_reads(value: object, indent: int) -> None:
    assert json.loads(jsontext.dumps(value, indent)) == value


@given(VALUES)
def test_indented_text_is_that_of_the_json_package(value: object) -> None:
    assert jsontext.dumps(value, 4) == json.dumps(value, indent=4, ensure_ascii=False)


@given(VALUES)
def test_reads_what_the_json_package_writes(value: object) -> None:
    assert jsontext.loads(b" \n" + json.dumps(value).encode() + b"\n ") == value


@pytest.mark.parametrize(
    "data", [b"", b" ", b"{", b'{"a"}', b"[1] 2", b"nope", b'"\xff"', b'"a\nb"', b"[" * 200_000, b"[1,]"]
)
def test_refuses_what_is_not_json(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        jsontext.loads(data)


def test_works_without_the_c_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_json", None)
    scan, quote = jsontext._c_parts()
    assert scan('{"a": [1, null]} ', 0) == ({"a": [1, None]}, 16)
    assert quote('a"\n') == '"a\\"\\n"'
