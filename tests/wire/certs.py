"""Certificates for a test run: an authority, a server's and a client's, PEM files in one directory."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PUBLIC = "mqtt.example.test"  # a name that nobody can have (RFC 6761)


@dataclass(frozen=True)
class Certificates:
    ca: Path
    server: Path
    server_key: Path
    client: Path  # common name "device-7", organization "Factory"
    client_key: Path
    stranger: Path  # signed by nobody that the server knows
    stranger_key: Path

    def context(self, client: bool = False) -> ssl.SSLContext:
        """A client's context that checks the server; with `client` it shows a certificate."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if client:
            context.load_cert_chain(self.client, self.client_key)
        return context


def crl(
    certificates: Certificates,
    path: Path,
    *revoked: Path,
    days: float = 30,
    begun: timedelta = timedelta(hours=1),
) -> Path:
    """Write a CRL of the authority with these certificates; it is good for `days` from now."""
    now = datetime.now(UTC)
    authority = x509.load_pem_x509_certificate(certificates.ca.read_bytes())
    key = serialization.load_pem_private_key(certificates.ca.with_suffix(".key").read_bytes(), None)
    end = now + timedelta(days=days)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.subject)
    builder = builder.last_update(min(now, end) - timedelta(hours=1)).next_update(end)
    for each in revoked:
        serial = x509.load_pem_x509_certificate(each.read_bytes()).serial_number
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(serial)
            .revocation_date(now - timedelta(hours=1))
            .build()
        )
        builder = builder.add_revoked_certificate(entry)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


def make(directory: Path) -> Certificates:
    ca_key, ca = _signed(directory / "ca", "Test authority")
    _signed(directory / "server", "localhost", ca, ca_key)
    _signed(directory / "client", "device-7", ca, ca_key)
    _signed(directory / "stranger", "device-7")
    files = [directory / "ca.pem"]
    for name in ("server", "client", "stranger"):
        files += [directory / f"{name}.pem", directory / f"{name}.key"]
    return Certificates(*files)


def _signed(
    path: Path,
    common_name: str,
    issuer: x509.Certificate | None = None,
    issuer_key: ec.EllipticCurvePrivateKey | None = None,
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Write `path`.pem and `path`.key; without an issuer it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Factory"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    now = datetime.now(UTC)
    signer = issuer_key or key
    certificate = (
        x509.CertificateBuilder(
            issuer.subject if issuer is not None else name,
            name,
            key.public_key(),
            x509.random_serial_number(),
        )
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("localhost"),
                    x509.DNSName(PUBLIC),
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    path.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return key, certificate
