"""A backup of the cluster put back: etcd's own tool makes the data of a cluster of one member from it.

Everything else follows as with a lost quorum: this manager starts (`resume`), the others leave and join again.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from contextlib import suppress

from towline.cluster.member_flags import MemberConfig
from towline.model.errors import Conflict, Failure, Unavailable

_TOOLS = ("etcdutl", "etcdctl")  # etcdctl up to 3.5


async def restore(config: MemberConfig, snapshot: str) -> None:
    """Make `config.data` of a file that `Members.snapshot` wrote; etcd must not run.

    Conflict if there is data. Failure if the file is damaged or there is no room: nothing is there then. Unavailable
    without the tool. Revisions go on from the backup's: who watches is told to read everything anew, for the etcd has a
    new id.
    """
    if config.has_data:
        raise Conflict(f"there is data of an etcd in {config.data}: move it away before a backup is put back")
    tool = next(filter(None, map(shutil.which, _TOOLS)), None)
    if tool is None:
        raise Unavailable("there is neither etcdutl nor etcdctl on this machine: install the package etcd-client")
    part = f"{config.data}.restored"
    shutil.rmtree(part, ignore_errors=True)
    process = await asyncio.create_subprocess_exec(
        *(tool, "snapshot", "restore", snapshot, f"--name={config.name}", f"--data-dir={part}"),
        f"--initial-cluster={config.name}={config.peer_url}",
        f"--initial-advertise-peer-urls={config.peer_url}",
        f"--initial-cluster-token={secrets.token_hex(8)}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ.get("PATH", os.defpath), "ETCDCTL_API": "3"},
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    try:
        if process.returncode:
            words = said.decode(errors="replace").strip().splitlines() or ["it gives no reason"]
            raise Failure(f"cannot put back the backup {snapshot}: {words[-1][:500]}")
        with suppress(FileNotFoundError):
            os.rmdir(config.data)
        os.rename(part, config.data)
    except OSError as error:
        raise Failure(f"cannot put back the backup {snapshot}: {(error.strerror or '').lower()}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
