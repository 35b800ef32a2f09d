"""Ids, join tokens, certificates, and what a node keeps of itself."""

from __future__ import annotations

import hashlib
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.needs import need_tool
from towline.cluster import pki
from towline.cluster.identity import Credentials, Identity, IdentityFiles
from towline.cluster.ids import base36, is_id, new_id
from towline.cluster.tokens import digest_of, new_token, parse_token, role_of
from towline.model.cluster import Role
from towline.model.errors import InvalidParameter, StoreCorrupt


def test_ids_are_25_digits_and_differ() -> None:
    made = {new_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(is_id(text) for text in made)


@given(st.integers(0, 1 << 260))
def test_base_36_is_what_python_reads(number: int) -> None:
    assert int(base36(number, 1), 36) == number


def test_a_token_names_its_root_and_can_be_read() -> None:
    root = pki.new_root()
    token = new_token(root.certificate)
    parts = token.split("-")
    assert [len(part) for part in parts[2:]] == [50, 25]
    assert parse_token(token).digest == digest_of(root.certificate)
    assert digest_of(root.certificate) == hashlib.sha256(root.certificate.encode()).hexdigest()
    assert new_token(root.certificate) != token


_BAD = ["", "x", "SWMTKN-1", "SWMTKN-2-" + "0" * 50 + "-" + "0" * 25, "SWMTKN-1-" + "0" * 49 + "-" + "0" * 25]
_BAD += ["SWMTKN-1-" + "z" * 50 + "-" + "0" * 25, "SWMTKN-1-" + "A" * 50 + "-" + "0" * 25]
_BAD += ["SWMTKN-1-" + "0" * 50 + "-" + "0" * 24 + "/", "SWMTKN-1-" + "0" * 50 + "-" + "0" * 25 + "-x"]


@pytest.mark.parametrize("text", _BAD)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="^invalid join token$"):
        parse_token(text)


def test_a_token_gives_its_role_and_no_other() -> None:
    root = pki.new_root()
    worker, manager = new_token(root.certificate), new_token(root.certificate)
    assert role_of(worker, worker=worker, manager=manager) == "worker"
    assert role_of(manager, worker=worker, manager=manager) == "manager"
    assert role_of(new_token(root.certificate), worker=worker, manager=manager) is None


def _issued(root: pki.KeyPair, role: Role = "worker", node: str = "n" * 25) -> tuple[str, str]:
    request = pki.new_request()
    subject = pki.Subject(node, role, "c" * 25)
    return pki.issue_node(root, request.certificate, subject, seconds=3600), request.key


@pytest.mark.parametrize("role", ["worker", "manager"])
def test_openssl_reads_what_we_issue(role: Role, tmp_path: Path) -> None:
    openssl = need_tool("openssl")
    root = pki.new_root()
    certificate, key = _issued(root, role)
    (tmp_path / "ca").write_text(root.certificate)
    (tmp_path / "crt").write_text(certificate)
    (tmp_path / "key").write_text(key)

    def ask(*words: str) -> str:
        done = subprocess.run([openssl, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    for purpose in ("sslclient", "sslserver"):
        assert "crt: OK" in ask("verify", "-CAfile", "ca", "-purpose", purpose, "crt")
    shown = ask("x509", "-in", "crt", "-noout", "-subject", "-ext", "subjectAltName", "-nameopt", "RFC2253")
    assert f"CN={'n' * 25},OU=swarm-{role},O={'c' * 25}" in shown
    assert ("DNS:swarm-manager" in shown) == (role == "manager")
    assert ask("x509", "-in", "crt", "-noout", "-pubkey") == ask("pkey", "-in", "key", "-pubout")
    assert "CA:TRUE" in ask("x509", "-in", "ca", "-noout", "-text")


def test_subject_life_and_signature() -> None:
    root, other = pki.new_root(), pki.new_root()
    certificate, key = _issued(root, "manager")
    assert pki.subject_of(certificate) == pki.Subject("n" * 25, "manager", "c" * 25)
    since, until = pki.life_of(certificate)
    assert until - since == 3600
    assert pki.signed_by(certificate, root.certificate)
    assert not pki.signed_by(certificate, other.certificate)
    assert pki.belong_together(certificate, key)
    assert not pki.belong_together(certificate, other.key)
    with pytest.raises(InvalidParameter, match="not of a node"):
        pki.subject_of(root.certificate)


@pytest.mark.parametrize("request_text", ["", "x" * 20000, "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_a_bad_signing_request_is_refused(request_text: str) -> None:
    with pytest.raises(InvalidParameter, match="signing request"):
        pki.issue_node(pki.new_root(), request_text, pki.Subject("n", "worker", "c"), seconds=60)


def test_a_member_certificate_names_its_addresses() -> None:
    root = pki.new_root("etcd-ca")
    pair = pki.issue_member(root, "n" * 25, ["192.0.2.1", "127.0.0.1", "2001:db8::1"], seconds=60)
    assert pki.signed_by(pair.certificate, root.certificate)
    assert pki.belong_together(pair.certificate, pair.key)


def _begun(tmp_path: Path) -> tuple[IdentityFiles, Identity, Credentials]:
    root = pki.new_root()
    certificate, key = _issued(root)
    files = IdentityFiles(tmp_path / "cluster")
    identity = Identity("n" * 25, "c" * 25, "0.0.0.0", "192.0.2.1", "192.0.2.1", managers=("192.0.2.2:2377",))
    files.begin(identity, Credentials(certificate, key, root.certificate))
    return files, identity, files.credentials()


def test_what_was_kept_is_read_and_private(tmp_path: Path) -> None:
    files, identity, credentials = _begun(tmp_path)
    assert IdentityFiles(files.root).load() == identity
    assert credentials.key.startswith("-----BEGIN PRIVATE KEY")
    assert credentials.certificate.startswith("-----BEGIN CERTIFICATE")
    assert stat.S_IMODE(files.root.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.root.iterdir()} == {0o600}


def test_without_a_directory_there_is_no_cluster(tmp_path: Path) -> None:
    files, _, _ = _begun(tmp_path)
    files.erase()
    assert files.load() is None
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    files, identity, _ = _begun(tmp_path)
    shutil.copytree(files.root, tmp_path / "cluster.new")
    shutil.copytree(files.root, tmp_path / "cluster.gone")
    (files.root / "node.json.new").write_text("half")
    assert files.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["cluster"]
    assert files.load() == identity
    files.save(identity)
    assert files.load() == identity


def _swap_certificate(files: IdentityFiles) -> None:
    certificate, key = _issued(pki.new_root())
    files.save_certificate(certificate, key)


_DAMAGE: dict[str, Callable[[IdentityFiles], object]] = {
    "no state": lambda files: (files.root / "node.json").unlink(),
    "cut state": lambda files: (files.root / "node.json").write_text("{"),
    "no proof": lambda files: files.proof.unlink(),
    "binary proof": lambda files: files.proof.write_bytes(b"\xff\xfe"),
    "no key in it": lambda files: files.proof.write_text(files.credentials().certificate),
    "another root's": _swap_certificate,
    "no root": lambda files: files.ca.unlink(),
}


@pytest.mark.parametrize("damage", _DAMAGE)
def test_damage_is_told_by_the_directory_and_the_remedy(tmp_path: Path, damage: str) -> None:
    files, _, _ = _begun(tmp_path)
    _DAMAGE[damage](files)
    with pytest.raises(StoreCorrupt, match=r"cluster: this node's identity .* join again"):
        files.load()
