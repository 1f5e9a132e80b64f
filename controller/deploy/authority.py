"""A fleet's own certificate authority: made at the first deployment, kept beside it.

Made here with `cryptography` and not by Ansible's community.crypto: that needs the
whole `ansible` package (60 MB on the controller, and minutes to install on a gateway
that is a Pi) and the same library as well.

Certificates are valid from 1970, since a Pi without a clock starts there. The `pki`
folder's form is in `controller.fleet.pki`.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controller.fleet.pki import CA
from controller.fleet.private import write_private

VALID_FROM = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
AUTHORITY_YEARS = 40
NODE_YEARS = 10
#: A certificate that ends sooner is replaced by the next deployment.
RENEWED_BEFORE = dt.timedelta(days=180)
_YEAR = dt.timedelta(days=365)
#: The longest that a common name may be.
_NAME_MOST = 64


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs the certificates of one fleet; `folder` holds all of them."""

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def issue(self, name: str, names: Sequence[str], *, renew: bool = False) -> bool:
        """Make NAME.pem and NAME.key, unless they do already; whether it did.

        Args:
            name: of the files, and the certificate's subject.
            names: host names and addresses that it is for, in any order.
            renew: also replace a good one.
        """
        file = self.folder / f"{name}.pem"
        if not renew and self._is_good(file, names):
            return False
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, names, key)
        write_private(file.with_suffix(".key"), _pem_of_key(key))
        write_private(file, _pem(certificate) + _pem(self.certificate))
        return True

    def _is_good(self, file: Path, names: Sequence[str]) -> bool:
        if not (file.is_file() and file.with_suffix(".key").is_file()):
            return False
        found = x509.load_pem_x509_certificate(file.read_bytes())
        try:
            found.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, ValueError, TypeError):
            return False
        ends = found.not_valid_after_utc - RENEWED_BEFORE
        return _names_of(found) == _general(names) and ends > dt.datetime.now(dt.UTC)

    def _sign(
        self, name: str, names: Sequence[str], key: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            self.key.public_key()
        )
        basic = x509.BasicConstraints(ca=False, path_length=None)
        return (
            _builder(_name(name), self.certificate.subject, key, NODE_YEARS)
            .add_extension(basic, critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(authority, critical=False)
            .add_extension(
                x509.SubjectAlternativeName(sorted(_general(names), key=repr)),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )


@contextmanager
def open_authority(folder: Path) -> Iterator[Authority]:
    """The authority in `folder`, made when there is none; one user at a time."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        certificate, key = folder / CA, folder / "ca.key"
        if not (certificate.is_file() and key.is_file()):
            _make(certificate, key)
        loaded = serialization.load_pem_private_key(key.read_bytes(), password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{key}: not a key of ours (an elliptic curve's)")
        yield Authority(
            folder, x509.load_pem_x509_certificate(certificate.read_bytes()), loaded
        )


def _make(certificate: Path, file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"EdgeWhisk fleet {x509.random_serial_number():x}"[:_NAME_MOST])
    basic = x509.BasicConstraints(ca=True, path_length=0)
    signed = (
        _builder(name, name, key, AUTHORITY_YEARS)
        .add_extension(basic, critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(file, _pem_of_key(key))
    write_private(certificate, _pem(signed))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    years: int,
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(dt.datetime.now(dt.UTC) + years * _YEAR)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(public), critical=False
        )
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_NAME_MOST])])


def _general(names: Sequence[str]) -> frozenset[x509.GeneralName]:
    return frozenset(map(_general_name, filter(None, names)))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return x509.DNSName(name)


def _names_of(certificate: x509.Certificate) -> frozenset[x509.GeneralName]:
    kind = x509.SubjectAlternativeName
    try:
        return frozenset(certificate.extensions.get_extension_for_class(kind).value)
    except x509.ExtensionNotFound:
        return frozenset()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
