"""tcp:// with mutual TLS against a small server on the loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.unit.cli.server import answer
from towline.cli.main import main

Capture = pytest.CaptureFixture[str]


class Files:
    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        self.ca = str(authority.cert)
        self.server = authority.server("server", "127.0.0.1")
        self.client = authority.client("client")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def url(files: Files) -> Iterator[str]:
    """A server that answers one connection with no networks, if the client's certificate is good."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.server.cert, files.server.key)
    context.load_verify_locations(files.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(answer([]))
        except OSError:
            return

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def client_flags(files: Files) -> list[str]:
    return ["--tlscert", str(files.client.cert), "--tlskey", str(files.client.key)]


def test_both_sides_are_verified(url: str, files: Files, capsys: Capture) -> None:
    flags = ["--tlsverify", "--tlscacert", files.ca, *client_flags(files)]
    assert main(["-H", url, *flags, "network", "ls", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_the_docker_variables_do_the_same(
    url: str, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, source in (("ca.pem", files.ca), ("cert.pem", files.client.cert), ("key.pem", files.client.key)):
        (tmp_path / name).symlink_to(source)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", url)
    assert main(["network", "ls"]) == 0


def test_a_client_without_certificate_is_told(url: str, files: Files, capsys: Capture) -> None:
    assert main(["-H", url, "--tlscacert", files.ca, "network", "ls"]) == 125
    assert "--tlscert and --tlskey" in capsys.readouterr().err


def test_an_unknown_authority_is_refused(url: str, files: Files, capsys: Capture) -> None:
    assert main(["-H", url, "--tlsverify", *client_flags(files), "network", "ls"]) == 125
    assert "does not verify" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tlscacert", "/nowhere/ca.pem"], "cannot use the TLS files /nowhere/ca.pem: no such file or directory"),
        (["--tlscacert", "/etc/passwd"], "cannot use the TLS files /etc/passwd: "),
        (["--tlscert", "/x"], "--tlscert and --tlskey go together"),
    ],
)
def test_files_that_are_wrong_are_named(url: str, capsys: Capture, flags: list[str], words: str) -> None:
    assert main(["-H", url, *flags, "network", "ls"]) == 2
    assert words in capsys.readouterr().err
