"""Refusals of a manager in Docker's words: gRPC's code stands in the text, and decides the HTTP status.

Source: moby's errdefs.FromGRPC as the daemon uses it (docker-api facts 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from towline.model.errors import (
    Conflict,
    Failure,
    Forbidden,
    InvalidParameter,
    NotFound,
    TowlineError,
    Unavailable,
    Unsupported,
)

Code = Literal[
    "InvalidArgument",
    "FailedPrecondition",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "Unimplemented",
    "Unavailable",
    "Unknown",
]
_CLASSES: Mapping[Code, type[TowlineError]] = MappingProxyType(
    {
        "InvalidArgument": InvalidParameter,
        "FailedPrecondition": InvalidParameter,
        "NotFound": NotFound,
        "AlreadyExists": Conflict,
        "PermissionDenied": Forbidden,
        "Unimplemented": Unsupported,
        "Unavailable": Unavailable,
        "Unknown": Failure,
    }
)


def refusal(code: Code, text: str) -> TowlineError:
    """The error to raise."""
    return _CLASSES[code](f"rpc error: code = {code} desc = {text}")
