"""A certificate authority for a test, and the PEM files it issues."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


class Pem(NamedTuple):
    cert: Path
    key: Path


class Authority:
    """Writes <name>.pem and <name>-key.pem into `folder`; its own certificate is `cert`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        usage = x509.BasicConstraints(ca=True, path_length=None)
        built = _builder(self._name, self._name, self._key).add_extension(usage, critical=True)
        self.cert = self._write(name, built.sign(self._key, hashes.SHA256()), self._key).cert

    def server(self, name: str, address: str) -> Pem:
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        return self._issue(name, alternative, ExtendedKeyUsageOID.SERVER_AUTH)

    def client(self, name: str) -> Pem:
        return self._issue(name, x509.SubjectAlternativeName([x509.DNSName(name)]), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(self, name: str, alternative: x509.SubjectAlternativeName, purpose: x509.ObjectIdentifier) -> Pem:
        key = ec.generate_private_key(ec.SECP256R1())
        built = (
            _builder(_named(name), self._name, key)
            .add_extension(alternative, critical=False)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        return self._write(name, built.sign(self._key, hashes.SHA256()), key)

    def _write(self, name: str, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pem:
        pem = Pem(self._folder / f"{name}.pem", self._folder / f"{name}-key.pem")
        pem.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        pem.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pem


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )
