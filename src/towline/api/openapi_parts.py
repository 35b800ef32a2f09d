"""Building blocks of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.api.openapi_schemas import Json, ref

__all__ = ["ID", "Json", "answer", "array", "operation", "query", "ref"]

ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_REASONS = {
    400: "The request itself is wrong.",
    403: "A rule forbids it.",
    404: "There is no such network, container, node or plugin.",
    409: "The name, MAC or interface name is taken; the sandbox runs, or does not; another prune runs.",
    500: "It could not be carried out; some mistakes in create requests and the filter `type` have this status too.",
    501: "It is known, and not done here.",
    503: "A resource is exhausted; or this node is in no cluster, no manager of it, or cut off from it.",
}


def operation(
    name: str,
    parameters: list[Json] | None = None,
    *,
    ok: tuple[str, Json | None],
    status: str = "200",
    media_type: str = "application/json",
    body: str = "",
    refusals: tuple[int, ...] = (),
) -> Json:
    responses: dict[str, Json] = {status: answer(*ok, media_type)}
    responses |= {str(code): answer(_REASONS[code], ref("Error"), "application/json") for code in refusals}
    operation: Json = {"operationId": name, "parameters": parameters or [], "responses": responses}
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref(body)}}}
    return operation


def answer(description: str, schema: Mapping[str, Any] | None, media_type: str) -> Json:
    answer: Json = {"description": description}
    if schema is not None:
        answer["content"] = {media_type: {"schema": schema}}
    return answer


def query(name: str, description: str, schema: Json | None = None, *, required: bool = False) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": schema or {"type": "string"},
    }


def array(name: str) -> Json:
    return {"type": "array", "items": ref(name)}
