"""Go's JSON texts. Those marked in the recorded answers are replayed too; the rest is from encoding/json's source."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.api.gojson.decode import BOOL, INT, STRING, Map, Slice, Struct, TypeMismatch, decode
from towline.api.gojson.scanner import MAX_DEPTH, MalformedJson, Number, quote_byte, scan


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unexpected EOF"),
        ("{", "unexpected EOF"),
        ('{"a":', "unexpected EOF"),
        ('"abc', "unexpected EOF"),
        ("nul", "unexpected EOF"),
        ("-", "unexpected EOF"),
        ("1.", "unexpected EOF"),
        ("{i", "invalid character 'i' looking for beginning of object key string"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 2}', "invalid character '2' after object key:value pair"),
        ('{"a":01}', "invalid character '1' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("'a'", "invalid character '\\'' looking for beginning of value"),
        ("trx", "invalid character 'x' in literal true (expecting 'u')"),
        ("falsy", "invalid character 'y' in literal false (expecting 'e')"),
        ("nuLl", "invalid character 'L' in literal null (expecting 'l')"),
        ('"\x01"', "invalid character '\\x01' in string literal"),
        ('"\n"', "invalid character '\\n' in string literal"),
        ('"\\x"', "invalid character 'x' in string escape code"),
        ('"\\u12G4"', "invalid character 'G' in \\u hexadecimal character escape"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ("1e+x", "invalid character 'x' in exponent of numeric literal"),
        ("ä", "invalid character 'Ã' looking for beginning of value"),
    ],
)
def test_malformed(text: str, message: str) -> None:
    with pytest.raises(MalformedJson) as refusal:
        scan(text.encode())
    assert str(refusal.value) == message


def test_depth_is_limited_as_in_go() -> None:
    assert scan(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH).end == 2 * MAX_DEPTH
    with pytest.raises(MalformedJson, match=r"invalid character '\[' exceeded max depth"):
        scan(b"[" * (MAX_DEPTH + 1))


def test_surrogates_and_bad_bytes_become_replacement_characters() -> None:
    assert scan(rb'"\ud83d\ude00 \ud800 \u0000"').value == "😀 � \0"
    assert scan(b'"\xff"').value == "�"


def test_what_follows_the_value_is_left() -> None:
    assert scan(b' {"a":[1,true,null]} x') == ({"a": [Number("1"), True, None]}, 20)


_JSON = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_JSON, st.sampled_from([None, 1]), st.booleans())
def test_reads_what_python_writes(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert _numbers(scan(text.encode("utf-8", "replace")).value) == json.loads(text.encode("utf-8", "replace"))


def _numbers(value: Any) -> Any:
    if isinstance(value, Number):
        return json.loads(value.text)
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    return [_numbers(item) for item in value] if isinstance(value, list) else value


@given(st.binary(max_size=40))
def test_agrees_with_python_on_what_is_json(data: bytes) -> None:
    try:
        json.loads(data.decode("latin-1").translate({0xFEFF: None}), parse_constant=_refuse)
        valid = True
    except ValueError:
        valid = False
    try:
        accepted = not data[scan(data).end :].strip(b" \t\r\n")
    except MalformedJson:
        accepted = False
    assert accepted == valid


def _refuse(constant: str) -> None:
    raise ValueError(constant)


@pytest.mark.parametrize(
    ("byte", "text"), [(ord("a"), "'a'"), (ord('"'), "'\"'"), (92, r"'\\'"), (0x7F, r"'\x7f'"), (0x85, r"'\u0085'")]
)
def test_bytes_in_messages(byte: int, text: str) -> None:
    assert quote_byte(byte) == text


PEER = Struct("net.Peer", {"Name": STRING, "Weight": INT})
THING = Struct("net.Thing", {"Name": STRING, "On": BOOL, "Tags": Map(STRING), "Peers": Slice(PEER), "Peer": PEER})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[]", "array into Go value of type net.Thing"),
        ("5", "number into Go value of type net.Thing"),
        ('{"Name":5}', "number into Go struct field Thing.Name of type string"),
        ('{"name":{}}', "object into Go struct field Thing.name of type string"),
        ('{"On":"x"}', "string into Go struct field Thing.On of type bool"),
        ('{"Tags":[]}', "array into Go struct field Thing.Tags of type map[string]string"),
        ('{"Tags":{"a/b":true}}', "bool into Go struct field Thing.Tags.a~1b of type string"),
        ('{"Peers":{}}', "object into Go struct field Thing.Peers of type []net.Peer"),
        ('{"Peers":[{},{"Name":1}]}', "number into Go struct field Thing.Peers.1.Name of type string"),
        ('{"Peer":{"Weight":1.5}}', "number 1.5 into Go struct field Thing.Peer.Weight of type int"),
        ('{"Peer":{"Weight":99999999999999999999}}', "number 99999999999999999999 into Go struct field "),
        ('{"On":1,"Name":2}', "number into Go struct field Thing.On of type bool"),
    ],
)
def test_wrong_types(value: str, message: str) -> None:
    with pytest.raises(TypeMismatch) as refusal:
        decode(scan(value.encode()).value, THING)
    assert f"json: cannot unmarshal {message}" in str(refusal.value)


def test_go_matches_names_without_case_and_skips_nulls_and_strangers() -> None:
    value = scan(b'{"NAME":"a","on":null,"tags":{"k":null},"peers":[null,{"weight":-3}],"x":[{}]}').value
    assert decode(value, THING) == {"Name": "a", "Tags": {"k": ""}, "Peers": [{}, {"Weight": -3}]}
    assert decode(None, THING) == {}
