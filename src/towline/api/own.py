"""/towline/v1: what Docker's API has no words for."""

from __future__ import annotations

import resource
from functools import cache

import msgspec
from aiohttp import web
from msgspec.structs import asdict

from towline import __version__
from towline.api.call import Call, json_answer, json_value
from towline.api.wire_out import encode
from towline.policy import resolve

_PAGE = resource.getpagesize()


class State(msgspec.Struct, frozen=True):
    """memory: resident bytes of the daemon. networks: how many there are, the predefined ones included."""

    daemon_id: str
    version: str
    revision: int
    networks: int
    sandboxes: int
    memory: int
    counters: dict[str, int]


async def leases(call: Call) -> web.Response:
    network = resolve.for_get(call.engine, call.term)
    return json_value(call.engine.leases(network.id))


async def diagnose(call: Call) -> web.Response:
    return json_value(await call.engine.diagnose())


async def repair(call: Call) -> web.Response:
    return json_value(await call.engine.repair())


async def state(call: Call) -> web.Response:
    engine = call.engine
    return json_value(
        State(
            daemon_id=engine.daemon_id,
            version=__version__,
            revision=engine.revision,
            networks=len(engine.networks()),
            memory=resident_memory(),
            sandboxes=len(engine.sandboxes()),
            counters={**asdict(engine.counters), **{f"dns_{k}": v for k, v in engine.name_counts().items()}},
        )
    )


async def openapi(_call: Call) -> web.Response:
    return json_answer(_document())


def resident_memory() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * _PAGE


@cache
def _document() -> bytes:
    from towline.api.openapi import document

    return encode(document()) + b"\n"
