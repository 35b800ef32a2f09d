"""One request and its answer over a connection of their own, with every failure put into words."""

from __future__ import annotations

from towline.cli import http, jsontext
from towline.cli.errors import ApiError, CliError, Unreachable, UsageError
from towline.cli.transport import open_channel, reason
from towline.cli.values import as_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from towline.cli.address import Address

IDLE_SECONDS = 300.0
_MAX_MESSAGE = 4000


class Exchange:
    """A request and its answer as a context: the connection is closed at its end, system errors get words."""

    def __init__(self, address: Address, method: str, target: str, body: object, timeout: float | None) -> None:
        self._address = address
        self._request = http.encode_request(method, target, _host_header(address), _encode(body), _kind(body))
        self._changes = method != "GET"
        self._channel = open_channel(address, timeout)

    def __enter__(self) -> http.Response:
        try:
            self._send()
            response = http.read_response(self._channel)
            if response.status >= 300:
                raise ApiError(response.status, _message(response))
        except BaseException as error:
            self._channel.close()
            raise self._explain(error) from None
        return response

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._channel.close()
        if error is not None and (better := self._explain(error)) is not error:
            raise better from None

    def _send(self) -> None:
        try:
            self._channel.sendall(self._request)
        except (BrokenPipeError, ConnectionResetError):
            return  # the daemon may have refused early: its answer says why

    def _explain(self, error: BaseException) -> BaseException:
        if isinstance(error, TimeoutError):
            found: CliError = Unreachable(f"no answer from {self._address} within {IDLE_SECONDS:g} seconds")
        elif isinstance(error, ConnectionResetError):
            found = Unreachable("the daemon closed the connection in the middle of its answer")
        elif isinstance(error, OSError):
            found = Unreachable(f"the connection to {self._address} failed: {reason(error)}")
        elif isinstance(error, Unreachable):
            found = error
        else:
            return error
        if self._address.tls and not self._address.tls.cert:
            found.hint = "It may want a certificate of this client: --tlscert and --tlskey."
        elif self._changes and not found.hint:
            found.hint = "The request may have been carried out or not: look before repeating it."
        return found


def _encode(body: object) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    try:
        return jsontext.dumps(body).encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError("a name or value is not valid UTF-8") from None


def _kind(body: object) -> str:
    """Media type."""
    return "application/octet-stream" if isinstance(body, bytes) else "application/json"


def _message(response: http.Response) -> str:
    """The daemon's own words, or what of the body can be shown."""
    data = response.body()
    try:
        message = as_object(jsontext.loads(data)).get("message")
    except ValueError:
        message = None
    if not isinstance(message, str) or not message:
        message = data.decode("utf-8", "replace").strip() or f"the daemon answered with status {response.status}"
    return message[:_MAX_MESSAGE]


def _host_header(address: Address) -> str:
    if not address.host:
        return "towline"
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"
