"""`--cluster-store etcd://[user@]host[:port][,host[:port]...][?ca=FILE&cert=FILE&key=FILE&password-file=FILE&tls=off]`"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import msgspec

from towline.cluster.etcd_gateway import Gateway, Login
from towline.model.errors import ConfigError

PORT = 2379
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_FORM = "etcd://[user@]host[:port][,host[:port]...][?ca=FILE&cert=FILE&key=FILE&password-file=FILE&tls=off]"
_KNOWN = ("ca", "cert", "key", "password-file", "tls")


class EtcdUrl(msgspec.Struct, frozen=True):
    """Where an etcd is that is not ours. ca "": the system's authorities. Files are read by `gateway`."""

    endpoints: tuple[str, ...]
    user: str = ""
    password_file: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""

    def gateway(self) -> Gateway:
        """ConfigError if a file cannot be read, or is not what it should be."""
        context = self._context() if self.endpoints[0].startswith("https:") else None
        login = Login(self.user, _read(self.password_file)) if self.user else None
        return Gateway(self.endpoints, context, login=login)

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(each for each in (self.ca, self.cert, self.key) if each)
            raise ConfigError(f"--cluster-store: cannot use {files}: {error.strerror or error}") from error
        return context


def parse_etcd_url(text: str) -> EtcdUrl:
    """ConfigError says what is wrong. Never names a password: one in the URL is refused, for `ps` would show it."""
    scheme, found, rest = text.partition("://")
    if scheme != "etcd" or not found:
        raise ConfigError(f"--cluster-store: not an etcd URL: want {_FORM}")
    where, _, query = rest.partition("?")
    who, _, hosts = where.rpartition("@")
    user, colon, _ = who.partition(":")
    if colon:
        raise ConfigError(
            "--cluster-store: a password in the URL is seen by all: put it in a file, ?password-file=FILE"
        )
    options = _options(query)
    tls = options.pop("tls", "on")
    if tls not in ("on", "off"):
        raise ConfigError(f"--cluster-store: tls={tls}: want on or off")
    if tls == "off" and {"ca", "cert", "key"} & set(options):
        raise ConfigError("--cluster-store: tls=off excludes ca, cert and key")
    if "key" in options and "cert" not in options:
        raise ConfigError("--cluster-store: key without cert")
    if bool(user) != ("password-file" in options):
        raise ConfigError("--cluster-store: a user needs password-file, and password-file a user")
    return EtcdUrl(
        endpoints=_endpoints(hosts, "https" if tls == "on" else "http"),
        user=unquote(user),
        password_file=options.get("password-file", ""),
        ca=options.get("ca", ""),
        cert=options.get("cert", ""),
        key=options.get("key", ""),
    )


def _endpoints(hosts: str, scheme: str) -> tuple[str, ...]:
    names, _, path = hosts.partition("/")
    if path:
        raise ConfigError(f"--cluster-store: path /{path} has no meaning here: keys are under /towline/v1/ always")
    endpoints = []
    for name in names.split(","):
        found = _HOST.fullmatch(name)
        port = int(found["port"] or PORT) if found else 0
        if found is None or not 0 < port < 65536:
            raise ConfigError(f"--cluster-store: {name!r} is not host[:port]: want {_FORM}")
        endpoints.append(f"{scheme}://{found['host']}:{port}")
    return tuple(endpoints)


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ConfigError(f"--cluster-store: options are name=value, with & between them: want {_FORM}") from error
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in _KNOWN:
            raise ConfigError(f"--cluster-store: unknown option {name}: want one of {', '.join(_KNOWN)}")
        if name in options or not value:
            raise ConfigError(f"--cluster-store: option {name} {'twice' if name in options else 'without a value'}")
        options[name] = value
    return options


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"--cluster-store: cannot read password-file {path}: {reason}") from error
