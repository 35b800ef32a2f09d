"""Certificates of a cluster: its root, its nodes', and a second root for etcd, whose certificates only managers get.

Names follow swarmkit (ca/certificates.go): a node's certificate has CN = node id, OU = role, O = cluster id. Keys are
ECDSA P-256 and never leave the node that made them.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
from collections.abc import Sequence
from typing import NamedTuple, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from towline.model.cluster import Role
from towline.model.errors import Failure, InvalidParameter
from towline.model.masked import masked

ANY_NODE, ANY_MANAGER = "swarm-node", "swarm-manager"
"""Names in certificates by which a peer is accepted, whatever its address: of every node, and of managers only."""

_ROOT_LIFE = datetime.timedelta(days=20 * 365)
_BACKDATE = datetime.timedelta(days=1)
"""Clocks of nodes may differ by that much; swarmkit allows an hour, which two clocks that are wrong can exceed."""
_LARGEST_REQUEST = 16 * 1024
_OU: dict[Role, str] = {"worker": "swarm-worker", "manager": "swarm-manager"}
ROLES = {text: role for role, text in _OU.items()}
"""Role of a certificate by its OU."""


class KeyPair(NamedTuple):
    """PEM both."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return masked(self, self._fields, ("key",))


class Subject(NamedTuple):
    """What a node's certificate says."""

    node: str
    role: Role
    cluster: str


class TrustInfo(NamedTuple):
    """Docker's TLSInfo. issuer, public_key: DER in base 64."""

    root: str
    issuer: str
    public_key: str


def new_root(name: str = "swarm-ca") -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    built = (
        _builder(subject, subject, key.public_key(), _ROOT_LIFE)
        .add_extension(usage, critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return KeyPair(_pem(built.sign(key, hashes.SHA256())), _key_pem(key))


def new_request() -> KeyPair:
    """A fresh key, and a signing request in place of the certificate. What it says of its subject is not believed."""
    key = ec.generate_private_key(ec.SECP256R1())
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return KeyPair(built.public_bytes(serialization.Encoding.PEM).decode(), _key_pem(key))


def issue_node(root: KeyPair, request: str, subject: Subject, *, seconds: float) -> str:
    """A node's certificate, PEM; good for both ends of a connection. InvalidParameter for a bad request."""
    names = [subject.node, ANY_NODE, *([ANY_MANAGER] if subject.role == "manager" else [])]
    wanted = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, subject.cluster),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, _OU[subject.role]),
            x509.NameAttribute(NameOID.COMMON_NAME, subject.node),
        ]
    )
    return _issue(root, _public_key(request), wanted, [x509.DNSName(name) for name in names], seconds)


def issue_member(root: KeyPair, node_id: str, addresses: Sequence[str], *, seconds: float) -> KeyPair:
    """A manager's certificate and key for its etcd member: server, peer and client. addresses: bare, loopback too."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)])
    alternatives: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(text)) for text in addresses]
    alternatives.append(x509.DNSName("localhost"))
    return KeyPair(_issue(root, key.public_key(), name, alternatives, seconds), _key_pem(key))


def subject_of(certificate: str) -> Subject:
    """InvalidParameter if it is not a node's."""
    name = _load(certificate).subject
    role = ROLES.get(_one(name, NameOID.ORGANIZATIONAL_UNIT_NAME))
    node, cluster = _one(name, NameOID.COMMON_NAME), _one(name, NameOID.ORGANIZATION_NAME)
    if role is None or not node or not cluster:
        raise InvalidParameter("the certificate is not of a node of a cluster")
    return Subject(node, role, cluster)


def life_of(certificate: str) -> tuple[float, float]:
    """When it was made, and until when it is good; seconds since the epoch."""
    loaded = _load(certificate)
    return (loaded.not_valid_before_utc + _BACKDATE).timestamp(), loaded.not_valid_after_utc.timestamp()


def signed_by(certificate: str, ca: str) -> bool:
    try:
        _load(certificate).verify_directly_issued_by(_load(ca))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def belong_together(certificate: str, key: str) -> bool:
    try:
        private = serialization.load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        return False
    return private.public_key() == _load(certificate).public_key()


def trust_info(ca: str) -> TrustInfo:
    loaded = _load(ca)
    public = loaded.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return TrustInfo(ca, _base64(loaded.subject.public_bytes()), _base64(public))


def _issue(
    root: KeyPair,
    public_key: ec.EllipticCurvePublicKey,
    name: x509.Name,
    alternatives: Sequence[x509.GeneralName],
    seconds: float,
) -> str:
    ca = _load(root.certificate)
    key = serialization.load_pem_private_key(root.key.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Failure("the cluster's root key is not an ECDSA key")
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    built = (
        _builder(name, ca.subject, public_key, datetime.timedelta(seconds=seconds))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return _pem(built.sign(key, hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, life: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + life)
    )


def _public_key(request: str) -> ec.EllipticCurvePublicKey:
    if len(request) > _LARGEST_REQUEST:
        raise InvalidParameter("the signing request is too long")
    try:
        loaded = x509.load_pem_x509_csr(request.encode())
        sound = loaded.is_signature_valid
        key = loaded.public_key()
    except (ValueError, TypeError, InvalidSignature) as error:
        raise InvalidParameter(f"the signing request cannot be read: {error}") from None
    if not sound or not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.key_size < 256:
        raise InvalidParameter("the signing request is not signed with an ECDSA key of 256 bits or more")
    return key


def _load(certificate: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate.encode())
    except (ValueError, TypeError) as error:
        raise InvalidParameter(f"a certificate cannot be read: {error}") from None


def _one(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    values = name.get_attributes_for_oid(oid)
    return cast(str, values[0].value) if len(values) == 1 else ""


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
