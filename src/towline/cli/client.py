"""Asks the daemon and decodes what it answers; knows no command."""

from __future__ import annotations

from towline.cli import jsontext
from towline.cli.address import Address, Tls, choose, parse_address
from towline.cli.errors import Unreachable
from towline.cli.exchange import IDLE_SECONDS, Exchange
from towline.cli.values import Object, as_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from towline.cli.flags import Parsed


class Client:
    """One daemon. Each call opens a connection of its own.

    Raises Unreachable when there is no HTTP answer, ApiError when the answer is an error (status 400 and above).
    """

    def __init__(self, address: Address) -> None:
        self.address = address

    def call(self, method: str, target: str, body: object = None, *, patient: bool = False) -> object:
        """The decoded answer, or None where it has no body. patient: wait as long as it takes."""
        with Exchange(self.address, method, target, body, None if patient else IDLE_SECONDS) as response:
            data = response.body()
        if not data.strip():
            return None
        return _decode(data)

    def objects(self, method: str, target: str) -> list[Object]:
        """The answer as a list of JSON objects."""
        value = self.call(method, target)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise Unreachable(f"the daemon's answer to {method} {target} is not a list of objects")
        return value

    def object(self, method: str, target: str, body: object = None, *, patient: bool = False) -> Object:
        """The answer as one JSON object."""
        value = self.call(method, target, body, patient=patient)
        if not isinstance(value, dict):
            raise Unreachable(f"the daemon's answer to {method} {target} is not an object")
        return value

    def stream(self, target: str) -> Iterator[Object]:
        """JSON objects, one a line, as they come; ends when the daemon ends the answer."""
        with Exchange(self.address, "GET", target, None, None) as response:
            for line in response.lines():
                if line.strip():
                    yield as_object(_decode(line))

    def raw(self, target: str) -> Iterator[bytes]:
        """The answer's bytes as they come; ends when the daemon ends it."""
        with Exchange(self.address, "GET", target, None, None) as response:
            yield from response.pieces()


def connect(args: Parsed) -> Client:
    """A client for the daemon that the flags and the environment name; nothing is sent yet."""
    url, source = choose(args.text("host"))
    return Client(parse_address(url, source, _tls(args)))


def _tls(args: Parsed) -> Tls | None:
    """TLS is on if any TLS flag is given, or DOCKER_TLS_VERIFY is set; DOCKER_CERT_PATH holds the files not named."""
    import os

    named = [args.text(name) for name in ("tlscacert", "tlscert", "tlskey")]
    wanted = args.on("tlsverify") if args.given("tlsverify") else bool(os.environ.get("DOCKER_TLS_VERIFY"))
    if not wanted and not any(named):
        return None
    if folder := os.environ.get("DOCKER_CERT_PATH", ""):
        files = (os.path.join(folder, name) for name in ("ca.pem", "cert.pem", "key.pem"))
        named = [flag or (file if os.path.exists(file) else "") for flag, file in zip(named, files, strict=True)]
    return Tls(*named)


def _decode(data: bytes) -> object:
    try:
        return jsontext.loads(data)
    except ValueError as error:
        raise Unreachable(f"the daemon's answer is not JSON: {error}") from None
