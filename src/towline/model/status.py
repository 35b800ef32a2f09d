"""The one table from error class to HTTP status (moby daemon/server/httpstatus/status.go)."""

from __future__ import annotations

from towline.model.errors import (
    Conflict,
    Forbidden,
    InvalidParameter,
    NotFound,
    TowlineError,
    Unavailable,
    Unsupported,
)

_STATUSES: dict[type[TowlineError], int] = {
    InvalidParameter: 400,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Unsupported: 501,
    Unavailable: 503,
}


def status_of(error: TowlineError) -> int:
    """The status of the nearest class in the table; 500 for all others."""
    for kind in type(error).__mro__:
        if (status := _STATUSES.get(kind)) is not None:
            return status
    return 500
