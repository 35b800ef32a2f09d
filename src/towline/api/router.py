"""Which handler answers a path. Docker's router (gorilla/mux in moby daemon/server) has no 405 and cleans paths.

Every Docker route exists bare and under /v{version}; an unknown path and a wrong method are the same 404.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import normpath
from typing import Generic, NamedTuple, TypeVar

Handler = TypeVar("Handler")

_VERSIONED = re.compile(r"/v([0-9.]+)/")
_UNCLEAN = re.compile(r"//|/\.{1,2}(?:/|$)")
_OBJECT = re.compile(r"(/[a-z]+)/([^/]+)(/[a-z]+)?", re.DOTALL)
_ACTIONS = ("/connect", "/disconnect")


class Match(NamedTuple, Generic[Handler]):
    """version: text between /v and the next slash, "" on bare paths. term: {id} of the path, "" if it has none."""

    handler: Handler
    version: str
    term: str


class Router(Generic[Handler]):
    """exact: (method, path). by_network: what comes at /networks/{id}, where ids may hold slashes: keys are
    ("GET", ""), ("DELETE", ""), ("POST", "/connect"), ("POST", "/disconnect"). by_container: what comes at
    /containers/{id}/WORD: keys are (method, "/WORD"). by_object: what comes at /COLLECTION/{id} and
    /COLLECTION/{id}/WORD, where ids hold no slashes: keys are (method, "/COLLECTION", "") and (method, "/COLLECTION",
    "/WORD"). own: Towline's paths, not versioned by /v: (method, path) with at most one "{id}"."""

    def __init__(
        self,
        exact: Mapping[tuple[str, str], Handler],
        by_network: Mapping[tuple[str, str], Handler],
        by_container: Mapping[tuple[str, str], Handler],
        by_object: Mapping[tuple[str, str, str], Handler],
        own: Mapping[tuple[str, str], Handler],
    ) -> None:
        self._exact = exact
        self._by_network = by_network
        self._by_container = by_container
        self._by_object = by_object
        self._own = {key: handler for key, handler in own.items() if "{id}" not in key[1]}
        with_id = ((*key, handler) for key, handler in own.items() if "{id}" in key[1])
        self._own_with_id = sorted(with_id, key=lambda entry: -len(entry[1]))  # ids may hold slashes

    def find(self, method: str, path: str) -> Match[Handler] | None:
        """`path` is decoded and clean."""
        if path.startswith("/towline/"):
            return self._find_own(method, path)
        version = ""
        if (versioned := _VERSIONED.match(path)) is not None:
            version = versioned[1]
            path = path[versioned.end() - 1 :]
        handler = self._exact.get((method, path))
        if handler is not None:
            return Match(handler, version, "")
        if path.startswith("/containers/"):
            return self._find_container(method, path, version)
        if path.startswith("/networks/"):
            return self._find_network(method, path, version)
        return self._find_object(method, path, version)

    def _find_network(self, method: str, path: str, version: str) -> Match[Handler] | None:
        if method == "POST":
            for action in _ACTIONS:
                term = path[len("/networks/") : -len(action)]
                if path.endswith(action) and path == f"/networks/{term}{action}":
                    return Match(self._by_network["POST", action], version, term)
            return None
        handler = self._by_network.get((method, ""))
        return Match(handler, version, path[len("/networks/") :]) if handler is not None else None

    def _find_container(self, method: str, path: str, version: str) -> Match[Handler] | None:
        term, slash, action = path[len("/containers/") :].rpartition("/")
        handler = self._by_container.get((method, slash + action))
        return Match(handler, version, term) if handler is not None and term else None

    def _find_object(self, method: str, path: str, version: str) -> Match[Handler] | None:
        parts = _OBJECT.fullmatch(path)
        if parts is None:
            return None
        handler = self._by_object.get((method, parts[1], parts[3] or ""))
        return Match(handler, version, parts[2]) if handler is not None else None

    def _find_own(self, method: str, path: str) -> Match[Handler] | None:
        handler = self._own.get((method, path))
        if handler is not None:
            return Match(handler, "", "")
        for wanted, pattern, found in self._own_with_id:
            before, _, after = pattern.partition("{id}")
            term = path[len(before) : len(path) - len(after)]
            if wanted == method and term and path == f"{before}{term}{after}":
                return Match(found, "", term)
        return None


def clean(path: str) -> str:
    """The path without empty, "." and ".." parts; a trailing slash stays. The same text if it is clean."""
    if path.startswith("/") and not _UNCLEAN.search(path):
        return path
    cleaned = "/" + normpath("/" + path).lstrip("/")
    return cleaned + "/" if path.endswith("/") and cleaned != "/" else cleaned
