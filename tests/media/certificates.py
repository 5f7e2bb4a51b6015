"""Certificates for the tests of content credentials."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BEGAN = datetime.now(timezone.utc) - timedelta(days=1)


def name(common: str) -> x509.Name:
    attributes = [(NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, "Tests")]
    return x509.Name([x509.NameAttribute(*attribute) for attribute in attributes])


def usage(*, digital_signature: bool, key_cert_sign: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    unused: dict[str, Any] = dict.fromkeys((*others, "crl_sign", "encipher_only", "decipher_only"))
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        **dict.fromkeys(unused, False),
    )


def make_certificate(
    folder: Path,
    *,
    digital_signature: bool = True,
    email_protection: bool = True,
    self_signed: bool = False,
    began: datetime = BEGAN,
) -> tuple[Path, Path]:
    """Write a certificate chain and its key as ``docs/provenance.md`` does; return their paths."""
    authority_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority, leaf = name("Authority of tests"), name("Signer of tests")

    def build(subject: x509.Name, issuer: x509.Name, key: Any, signer: Any, ca: bool) -> Any:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                usage(digital_signature=digital_signature and not ca, key_cert_sign=ca),
                critical=True,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        if email_protection and not ca:
            purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(purposes, critical=False)
        return builder.sign(signer, hashes.SHA256())

    root = build(authority, authority, authority_key, authority_key, ca=True)
    if self_signed:
        end = build(leaf, leaf, leaf_key, leaf_key, ca=False)
    else:
        end = build(leaf, authority, leaf_key, authority_key, ca=False)
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in (end, root)))
    key.write_bytes(leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key
