"""The API on TCP with TLS: who gets in, and what is said when files are wrong."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, Pem
from tests.support.daemon import Daemon, DaemonFailed, fresh_daemon
from tests.support.needs import need_tool

ADDRESS, PORT = "127.0.0.1", 2376
MakeDaemon = Callable[..., Daemon]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pem:
    return authority.server("server", ADDRESS)


@pytest.fixture(scope="module")
def verifying(authority: Authority, server: Pem) -> Iterator[Daemon]:
    """A daemon that wants client certificates of the authority."""
    files = ["--tlscacert", str(authority.cert), "--tlscert", str(server.cert), "--tlskey", str(server.key)]
    with fresh_daemon("--tlsverify", *files, "-H", f"tcp://{ADDRESS}") as daemon:
        yield daemon.start()


def ping(daemon: Daemon, context: ssl.SSLContext) -> tuple[str, bytes]:
    """TLS version and body of GET /_ping, asked from the daemon's network namespace."""

    def ask() -> tuple[str, bytes]:
        connection = http.client.HTTPSConnection(ADDRESS, PORT, timeout=20, context=context)
        try:
            connection.request("GET", "/_ping")
            version = connection.sock.version() if isinstance(connection.sock, ssl.SSLSocket) else ""
            return version or "", connection.getresponse().read()
        finally:
            connection.close()

    return daemon.namespace.call(ask)


def context(authority: Authority, client: Pem | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(authority.cert))
    if client:
        made.load_cert_chain(client.cert, client.key)
    return made


def test_client_of_the_authority_gets_in(verifying: Daemon, authority: Authority) -> None:
    version, body = ping(verifying, context(authority, authority.client("alice")))
    assert (version, body) == ("TLSv1.3", b"OK")
    assert "without encryption" not in verifying.log


def test_client_without_certificate_does_not(verifying: Daemon, authority: Authority) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ping(verifying, context(authority))
    assert verifying.process.poll() is None


def test_client_of_another_authority_does_not(verifying: Daemon, authority: Authority, folder: Path) -> None:
    stranger = Authority(folder, "stranger").client("mallory")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ping(verifying, context(authority, stranger))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_versions_from_1_2(verifying: Daemon, authority: Authority) -> None:
    alice = authority.client("alice")
    at_most_1_2 = context(authority, alice)
    at_most_1_2.maximum_version = ssl.TLSVersion.TLSv1_2
    assert ping(verifying, at_most_1_2) == ("TLSv1.2", b"OK")
    old = context(authority, alice)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="(?i)protocol"):
        ping(verifying, old)


def test_docker_cli_with_tlsverify(verifying: Daemon, authority: Authority) -> None:
    cli = need_tool("docker")
    alice = authority.client("alice")
    files = ["--tlscacert", str(authority.cert), "--tlscert", str(alice.cert), "--tlskey", str(alice.key)]
    listed = verifying.run(cli, "-H", f"tcp://{ADDRESS}:{PORT}", "--tlsverify", *files, "network", "ls")
    assert "bridge" in listed


def test_tls_alone_lets_everybody_in_encrypted(make_daemon: MakeDaemon, authority: Authority, server: Pem) -> None:
    files = ["--tlscert", str(server.cert), "--tlskey", str(server.key)]
    daemon = make_daemon("--tls", *files, "-H", f"tcp://{ADDRESS}").start()
    assert ping(daemon, context(authority))[1] == b"OK"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"--tlscert": "/none.pem"}, "cannot use tlscert /none.pem"),
        ({"--tlscacert": "/none.pem"}, "cannot use tlscacert /none.pem: No such file or directory"),
        ({"--tlskey": None}, "needs tlskey too"),
    ],
)
def test_wrong_files_are_named(
    make_daemon: MakeDaemon, authority: Authority, server: Pem, wrong: dict[str, str | None], message: str
) -> None:
    files = {"--tlscacert": str(authority.cert), "--tlscert": str(server.cert), "--tlskey": str(server.key), **wrong}
    flags = [part for flag, path in files.items() if path for part in (flag, path)]
    daemon = make_daemon("--tlsverify", *flags, "-H", f"tcp://{ADDRESS}")
    with pytest.raises(DaemonFailed) as caught:
        daemon.start()
    assert caught.value.status == 2
    assert message in daemon.log
