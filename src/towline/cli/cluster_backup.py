"""`towline cluster backup`, `restore` and `managers`: the cluster in a file, and back from it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from towline.cli import jsontext, output, query
from towline.cli.client import connect
from towline.cli.errors import CliError, UsageError
from towline.cli.flags import Parsed
from towline.cli.transport import reason
from towline.cli.values import as_object, as_text

_BACKUP, _RESTORE = "/towline/v1/cluster/backup", "/towline/v1/cluster/restore"
_MANAGERS = "/towline/v1/cluster/managers"
_ADDRESSES = ("advertise-addr", "listen-addr", "data-path-addr")
_LARGEST = 256 << 20


def backup(args: Parsed) -> int:
    """The file is replaced when the new one is whole; only its owner may read it."""
    path = args.operands[0]
    data = b"".join(connect(args).raw(_BACKUP))
    header = _checked(data, "what the daemon sent")
    part = f"{path}.part"
    try:
        with suppress(FileNotFoundError):
            os.unlink(part)  # another's perhaps, in a directory of all, and open
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(part, path)
    except OSError as error:
        raise CliError(f"cannot write {path}: {reason(error)}") from None
    about = {"cluster": header.get("cluster"), "records": header.get("records"), "bytes": len(data)}
    if args.on("json"):
        output.print_json(about)
    else:
        words = "{records} records of cluster {cluster}, {bytes} bytes, with its secrets: keep it as those".format(
            **about
        )
        sys.stdout.write(f"{path}: {words}\n")
    return 0


def restore(args: Parsed) -> int:
    path = args.operands[0]
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise CliError(f"cannot read {path}: {reason(error)}") from None
    header = _checked(data, path)
    asked = {name: args.text(name) for name in _ADDRESSES if args.text(name)}
    if args.on("force"):
        asked["force"] = "1"
    answer = connect(args).object("POST", query.path(_RESTORE, **asked), data, patient=True)
    if args.on("json"):
        output.print_json(answer)
    else:
        cluster, node = as_text(header.get("cluster")), as_text(answer.get("node"))
        sys.stdout.write(
            f"This node ({node}) is the only manager of cluster {cluster}, as it was when the backup was made.\n"
            "Workers follow by themselves, and so do managers that still have their identity. Look at them with: "
            "towline cluster status\n"
        )
    return 0


def managers(args: Parsed) -> int:
    connect(args).call("POST", _MANAGERS, {"managers": args.operands})
    if args.on("json"):
        output.print_json({"managers": args.operands})
    return 0


def _checked(data: bytes, what: str) -> dict[str, object]:
    """The header of a backup that is whole."""
    import hashlib

    at = data.rstrip(b"\n").rfind(b"\n") + 1
    header, end = _line(data[: data.find(b"\n") + 1]), _line(data[at:])
    if "towline-backup" not in header:
        raise UsageError(f"{what} is no backup of a cluster", 'One is made with "towline cluster backup FILE".')
    if end.get("sha256") != hashlib.sha256(data[:at]).hexdigest():
        raise CliError(f"{what} is not whole, or damaged: its checksum is another")
    return header


def _line(data: bytes) -> dict[str, object]:
    try:
        return dict(as_object(jsontext.loads(data)))
    except ValueError:
        return {}
