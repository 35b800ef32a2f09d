"""/towline/v1/services, and Docker's /services as far as its clients look at services and remove them."""

from __future__ import annotations

from aiohttp import web
from msgspec.structs import replace

from towline.api import body, wire_service
from towline.api.call import Call, empty_answer, json_value
from towline.api.gotext import loose_bool, parse_bool
from towline.model.service import ServiceStatus
from towline.policy import filters
from towline.policy.service_terms import Listed, ServiceFilter, find_service, network_ids


async def list_own(call: Call) -> web.Response:
    found = await _selected(call)
    return json_value([wire_service.service(status, _named(call)) for status in found])


async def create(call: Call) -> web.Response:
    cluster = call.engine.cluster
    await cluster.services()  # a node that is no manager says so before anything else
    request = wire_service.create_service(await body.read_own(call.request, wire_service.ServiceRequest))
    request = replace(request, networks=network_ids(call.engine, request.networks))
    made = await cluster.create_service(request)
    return json_value(wire_service.service(ServiceStatus(made), _named(call)), 201)


async def inspect(call: Call) -> web.Response:
    return json_value(wire_service.service(await _found(call), _named(call)))


async def update(call: Call) -> web.Response:
    known = await _found(call)
    request = wire_service.update_service(await body.read_own(call.request, wire_service.ServiceUpdateRequest))
    if request.networks is not None:
        request = replace(request, networks=network_ids(call.engine, request.networks))
    made = await call.engine.cluster.update_service(known.service.id, request)
    return json_value(wire_service.service(ServiceStatus(made, known.members), _named(call)))


async def remove(call: Call) -> web.Response:
    await _remove(call, force=parse_bool("force", call.query.get("force", "")))
    return empty_answer(204)


async def docker_list(call: Call) -> web.Response:
    counted = loose_bool(call.query.get("status", ""))
    return json_value([wire_service.docker_service(status, counted=counted) for status in await _selected(call)])


async def docker_inspect(call: Call) -> web.Response:
    return json_value(wire_service.docker_service(await _found(call)))


async def docker_remove(call: Call) -> web.Response:
    """Docker ends a service's tasks and does not ask; sandboxes go on and are members no more."""
    await _remove(call, force=True)
    return empty_answer()


async def _remove(call: Call, *, force: bool) -> None:
    await call.engine.cluster.remove_service((await _found(call)).service.id, force=force)


async def _selected(call: Call) -> list[ServiceStatus]:
    asked = filters.parse(call.query.get("filters", ""))
    found = await call.engine.cluster.services()
    wanted = ServiceFilter(asked)
    return [status for status in found if wanted.matches(status.service)]


async def _found(call: Call) -> ServiceStatus:
    statuses = {status.service.id: status for status in await call.engine.cluster.services()}
    return statuses[find_service(Listed(status.service for status in statuses.values()), call.term).id]


def _named(call: Call) -> wire_service.Named:
    def name_of(network_id: str) -> str:
        network = call.engine.network(network_id)
        return network.name if network is not None else network_id

    return name_of
