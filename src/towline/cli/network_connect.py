"""`towline network connect` and `disconnect`: what the docker CLI would send."""

from __future__ import annotations

from towline.cli import output, query
from towline.cli.client import connect as connect_to
from towline.cli.endpoints import endpoint
from towline.cli.flags import Parsed
from towline.cli.values import Object


def connect(args: Parsed) -> int:
    return _post(args, "connect", {"Container": args.operands[1], "EndpointConfig": endpoint(args)})


def disconnect(args: Parsed) -> int:
    return _post(args, "disconnect", {"Container": args.operands[1], "Force": args.on("force")})


def _post(args: Parsed, verb: str, body: Object) -> int:
    network, sandbox = args.operands
    connect_to(args).call("POST", f"{query.network_path(network)}/{verb}", body, patient=True)
    if args.on("json"):
        output.print_json({"Network": network, "Sandbox": sandbox})
    return 0
