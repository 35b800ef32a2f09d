"""A cluster's Spec: Docker's defaults, and what of a sent one is taken over.

Sources: moby daemon/cluster/convert/swarm.go, swarmkit manager/controlapi/cluster.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec

from towline.model.errors import Failure, InvalidParameter, Unsupported

Spec = dict[str, object]
"""Docker's JSON: objects of objects. What was sent has the types of `api.wire_swarm`; absent members are unset."""

LARGEST = 64 * 1024
"""Bytes of JSON; etcd takes values of up to 1.5 MB, and every node keeps a copy."""

_SHORTEST_EXPIRY = 3600 * 10**9
_INVALID = "rpc error: code = InvalidArgument desc = "


def default_spec() -> Spec:
    """As Docker shows the Spec of a new swarm. Periods are nanoseconds."""
    return {
        "Name": "default",
        "Labels": {},
        "Orchestration": {"TaskHistoryRetentionLimit": 5},
        "Raft": {
            "SnapshotInterval": 10000,
            "KeepOldSnapshots": 0,
            "LogEntriesForSlowFollowers": 500,
            "ElectionTick": 10,
            "HeartbeatTick": 1,
        },
        "Dispatcher": {"HeartbeatPeriod": 5 * 10**9},
        "CAConfig": {"NodeCertExpiry": 90 * 24 * 3600 * 10**9},
        "TaskDefaults": {},
        "EncryptionConfig": {"AutoLockManagers": False},
    }


def initial(sent: Mapping[str, object], *, autolock: bool = False) -> Spec:
    """The Spec of a new cluster: what was sent, and defaults for the rest. Errors of `docker swarm init`."""
    _check_name(sent)
    if autolock:
        raise _no_autolock()
    try:
        return _merged(sent)
    except InvalidParameter as refusal:
        raise Failure(f"error updating cluster settings: {refusal}") from None


def updated(sent: Mapping[str, object]) -> Spec:
    """The Spec of a cluster after an update; what was not sent gets its default, as Docker says."""
    _check_name(sent)
    return _merged(sent)


def cert_expiry(spec: Mapping[str, object]) -> float:
    """Seconds that certificates of nodes live."""
    return cast(int, _part(spec, "CAConfig").get("NodeCertExpiry", 0)) / 10**9


def _check_name(sent: Mapping[str, object]) -> None:
    if sent.get("Name") not in (None, "", "default"):
        raise InvalidParameter('swarm spec must be named "default"')


def _merged(sent: Mapping[str, object]) -> Spec:
    spec = default_spec()
    spec["Labels"] = dict(sorted(_part(sent, "Labels").items()))
    keeps_zero = {"KeepOldSnapshots", "TaskHistoryRetentionLimit"}
    for name in ("Orchestration", "Raft", "Dispatcher", "CAConfig"):
        part = cast("dict[str, object]", spec[name])
        part.update(
            {
                key: value
                for key, value in _part(sent, name).items()
                if key in part and value is not None and (value or key in keeps_zero)
            }
        )
    _check_values(sent, spec)
    if len(msgspec.json.encode(spec)) > LARGEST:
        raise InvalidParameter(
            f"the swarm's labels are longer than {LARGEST} bytes of JSON: take fewer or shorter ones"
        )
    return spec


def _check_values(sent: Mapping[str, object], spec: Spec) -> None:
    if cert_expiry(spec) * 10**9 < _SHORTEST_EXPIRY:
        raise InvalidParameter(f"{_INVALID}minimum certificate expiry time is: 1h0m0s")
    if cast(int, _part(spec, "Dispatcher")["HeartbeatPeriod"]) < 0:
        raise InvalidParameter(f"{_INVALID}heartbeat time period cannot be a negative duration")
    if _part(sent, "EncryptionConfig").get("AutoLockManagers"):
        raise _no_autolock()
    asked = [
        key
        for key in ("ForceRotate", "SigningCACert", "SigningCAKey", "ExternalCAs")
        if _part(sent, "CAConfig").get(key)
    ]
    if asked:
        raise Unsupported(
            f"the swarm's root certificate cannot be exchanged or be another's (CAConfig.{asked[0]}): leave it out"
        )


def _no_autolock() -> Unsupported:
    return Unsupported("autolock is not supported: keep the managers' data root on an encrypted disk instead")


def _part(spec: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = spec.get(name)
    return part if isinstance(part, Mapping) else {}
