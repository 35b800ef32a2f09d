"""What a node keeps of itself under `<data-root>/cluster/`: who it is, and the files that prove it.

The directory is made in one step: everything is written into a directory beside it, which is renamed. Later changes
replace single files. So after a crash the node either is in the cluster or is not.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

import msgspec

from towline.model.cluster import DATA_PATH_PORT, LISTEN_PORT
from towline.model.errors import StoreCorrupt, StoreError, TowlineError
from towline.model.masked import Masked
from towline.store.files import sync_directory

log = logging.getLogger(__name__)

_STATE, _PROOF, _CA = "node.json", "node.pem", "ca.pem"

_KEY_BEGINS = "-----BEGIN PRIVATE KEY-----"


class Identity(msgspec.Struct, frozen=True, omit_defaults=True):
    """node, cluster: ids. listen, advertise, data_path: bare addresses; managers: host:port of their node APIs.

    local: a bare address at which this host reaches its own node API. complete: the cluster knows the node; before that
    a start of the daemon takes back what was begun. enlisting: this manager's member of etcd does not count yet, or
    nobody knows whether it does. era: `Cluster.era`, the last that this node has heard of.
    """

    node: str
    cluster: str
    listen: str
    advertise: str
    data_path: str
    local: str = ""
    port: int = LISTEN_PORT
    data_path_port: int = DATA_PATH_PORT
    managers: tuple[str, ...] = ()
    complete: bool = False
    enlisting: bool = False
    era: int = 0


class Credentials(Masked, frozen=True):
    """PEM all."""

    secret = frozenset({"key"})

    certificate: str
    key: str
    ca: str


class MemberTls(Masked, frozen=True):
    """Of a member of etcd; PEM all. ca_key: of etcd's root, "" if it is not kept yet."""

    secret = frozenset({"key", "ca_key"})

    ca: str
    certificate: str
    key: str
    ca_key: str = ""


class IdentityFiles:
    """root: `<data-root>/cluster`, a directory that exists only while the node is in a cluster. proof: certificate and
    key in one file, so that a renewal replaces both at once. etcd: a manager's etcd member."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proof, self.ca = root / _PROOF, root / _CA
        self.etcd, self.etcd_tls = root / "etcd", root / "etcd-tls"

    def exists(self) -> bool:
        """Whether the node is, or was about to be, in a cluster."""
        self._sweep()
        return self.root.exists()

    def load(self) -> Identity | None:
        """None: in no cluster. StoreCorrupt, naming the file, if something is missing or cannot be read."""
        if not self.root.exists():
            return None
        from towline.cluster import pki

        self._close_to_others()
        path = self.root / _STATE
        try:
            identity = msgspec.json.decode(path.read_bytes(), type=Identity)
            held = self.credentials()
            subject = pki.subject_of(held.certificate)
            sound = pki.signed_by(held.certificate, held.ca) and pki.belong_together(held.certificate, held.key)
        except (OSError, UnicodeDecodeError, msgspec.MsgspecError, TowlineError) as error:
            raise self._damaged(str(error)) from None
        if not sound or (subject.node, subject.cluster) != (identity.node, identity.cluster):
            raise self._damaged("its certificate is another's")
        return identity

    def credentials(self) -> Credentials:
        """OSError."""
        certificate, mark, key = self.proof.read_text().partition(_KEY_BEGINS)
        return Credentials(certificate, mark + key, self.ca.read_text())

    def begin(self, identity: Identity, credentials: Credentials) -> None:
        """The node is in the cluster from the moment this returns. StoreError."""
        fresh = self.root.with_name(self.root.name + ".new")
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o700, parents=True)
            _write(fresh / _PROOF, credentials.certificate + credentials.key)
            _write(fresh / _CA, credentials.ca)
            _write(fresh / _STATE, msgspec.json.encode(identity).decode())
            sync_directory(fresh)
            fresh.rename(self.root)
            sync_directory(self.root.parent)
        except OSError as error:
            for path in (fresh, self.root):
                shutil.rmtree(path, ignore_errors=True)
            raise StoreError(f"{self.root}: {error.strerror}") from error

    def save(self, identity: Identity) -> None:
        self.replace(_STATE, msgspec.json.encode(identity).decode())

    def save_certificate(self, certificate: str, key: str) -> None:
        """Renewed ones."""
        self.replace(_PROOF, certificate + key)

    def save_member_tls(self, ca: str, certificate: str, key: str) -> None:
        """For this node's etcd member."""
        try:
            self.etcd_tls.mkdir(mode=0o700, exist_ok=True)
            for name, text in (("ca.pem", ca), ("member.pem", certificate), ("member.key", key)):
                self.replace(f"{self.etcd_tls.name}/{name}", text)
        except OSError as error:
            raise StoreError(f"{self.etcd_tls}: {error.strerror}") from error

    def save_member_root(self, ca_key: str) -> None:
        """The key of etcd's root. StoreError."""
        self.replace(f"{self.etcd_tls.name}/ca.key", ca_key)

    def member_tls(self) -> MemberTls:
        """OSError."""
        ca, certificate, key = ((self.etcd_tls / n).read_text() for n in ("ca.pem", "member.pem", "member.key"))
        root = self.etcd_tls / "ca.key"
        return MemberTls(ca, certificate, key, root.read_text() if root.exists() else "")

    def put_member_aside(self) -> None:
        """What is kept of an etcd member makes way and can be taken back; what made way before goes. StoreError."""
        moved: list[Path] = []
        try:
            for path in (self.etcd, self.etcd_tls):
                shutil.rmtree(_aside(path), ignore_errors=True)
                if path.exists():
                    path.rename(_aside(path))
                    moved.append(path)
        except OSError as error:
            for path in moved:
                _aside(path).rename(path)
            raise StoreError(f"{self.etcd}: {error.strerror}") from error

    def take_member_back(self) -> None:
        """As it was before `put_member_aside`. StoreError."""
        self.erase_member()
        try:
            for path in (self.etcd, self.etcd_tls):
                if _aside(path).exists():
                    _aside(path).rename(path)
        except OSError as error:
            raise StoreError(f"{self.etcd}: {error.strerror}") from error

    def erase_member(self) -> None:
        """What is kept of an etcd member; the node is no manager any more."""
        for path in (self.etcd, self.etcd_tls):
            shutil.rmtree(path, ignore_errors=True)

    def erase(self) -> None:
        """The node is in no cluster from the moment this returns."""
        gone = self.root.with_name(self.root.name + ".gone")
        try:
            shutil.rmtree(gone, ignore_errors=True)
            if self.root.exists():
                self.root.rename(gone)
                sync_directory(self.root.parent)
        except OSError as error:
            raise StoreError(f"{self.root}: {error.strerror}") from error
        shutil.rmtree(gone, ignore_errors=True)

    def _close_to_others(self) -> None:
        """Nothing here is for anybody else to read."""
        for path in (self.root, *self.root.rglob("*")):
            with suppress(FileNotFoundError, PermissionError):
                mode = path.lstat().st_mode
                if mode & 0o077 and not stat.S_ISLNK(mode):
                    path.chmod(stat.S_IMODE(mode) & 0o700)
                    log.warning(
                        "a file of the cluster had a mode that let others read it",
                        extra={"fields": {"path": str(path)}},
                    )

    def _sweep(self) -> None:
        """What a crash left half made or half removed."""
        for suffix in (".new", ".gone"):
            shutil.rmtree(self.root.with_name(self.root.name + suffix), ignore_errors=True)

    def replace(self, name: str, text: str) -> None:
        """A file of the directory, at once. StoreError."""
        temporary = self.root / f"{name}.new"
        try:
            temporary.unlink(missing_ok=True)
            _write(temporary, text)
            temporary.rename(self.root / name)
            sync_directory(self.root)
        except OSError as error:
            raise StoreError(f"{self.root / name}: {error.strerror}") from error

    def _damaged(self, why: str) -> StoreCorrupt:
        return StoreCorrupt(
            f"{self.root}: this node's identity in its cluster is damaged ({why}): restore the directory, or move it "
            "away and join again"
        )


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ".old")


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
