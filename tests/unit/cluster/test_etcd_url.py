"""`--cluster-store`: what is accepted, and in which words the rest is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import Authority
from towline.cluster.etcd_url import EtcdUrl, parse_etcd_url
from towline.model.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("etcd://one", EtcdUrl(("https://one:2379",))),
        ("etcd://10.0.0.1:1,[fd00::1],h-2.example:65535/", EtcdUrl(("https://10.0.0.1:1", "https://[fd00::1]:2379", "https://h-2.example:65535"))),
        ("etcd://127.0.0.1?tls=off", EtcdUrl(("http://127.0.0.1:2379",))),
        (
            "etcd://to%40wn@h?ca=/a%20b&cert=/c&key=/k&password-file=/p",
            EtcdUrl(("https://h:2379",), user="to@wn", password_file="/p", ca="/a b", cert="/c", key="/k"),
        ),
    ],
)  # fmt: skip
def test_is_parsed(text: str, want: EtcdUrl) -> None:
    assert parse_etcd_url(text) == want


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://h", "not an etcd URL"),
        ("etcd:h", "not an etcd URL"),
        ("etcd://", "is not host"),
        ("etcd://a,,b", "is not host"),
        ("etcd://a:0", "is not host"),
        ("etcd://a:65536", "is not host"),
        ("etcd://fd00::1", "is not host"),
        ("etcd://a b", "is not host"),
        ("etcd://a/x", "path /x has no meaning"),
        ("etcd://u:secret@a", "a password in the URL"),
        ("etcd://u@a", "a user needs password-file"),
        ("etcd://a?password-file=/p", "password-file a user"),
        ("etcd://a?tls=no", "tls=no: want on or off"),
        ("etcd://a?tls=off&ca=/c", "tls=off excludes"),
        ("etcd://a?key=/k", "key without cert"),
        ("etcd://a?x=1", "unknown option x"),
        ("etcd://a?ca", "name=value"),
        ("etcd://a?ca=", "option ca without a value"),
        ("etcd://a?ca=1&ca=2", "option ca twice"),
    ],
)
def test_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_etcd_url(text)
    assert "secret" not in str(caught.value)


async def test_files_are_read_for_a_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.client("towline")
    url = f"etcd://u@h?ca={authority.cert}&cert={client.cert}&key={client.key}&password-file={tmp_path}/password"
    with pytest.raises(ConfigError, match="password-file .*password: No such file"):
        parse_etcd_url(url).gateway()
    (tmp_path / "password").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="it is not text"):
        parse_etcd_url(url).gateway()
    (tmp_path / "password").write_text("secret\n")
    gateway = parse_etcd_url(url).gateway()
    assert gateway.has_login
    await gateway.close()
    client.cert.write_text("nonsense")
    with pytest.raises(ConfigError, match="cannot use .*towline.pem"):
        parse_etcd_url(url).gateway()
