"""Creates certificates for a Kafka broker and its clients, signed by a new authority.

For tests, trials and a stack on one computer; in production use your own authority::

    python -m streams.local_broker.certificates --out certificates --host kafka --host localhost

The folder then contains ``ca.pem``, which clients trust, ``broker.pem``, the broker's chain and key in one
file (Kafka's ``ssl.keystore.type=PEM``), and for each client ``NAME.pem`` with the key in ``NAME.key``. The
authority's own key is not stored, so nobody can sign more certificates with it. They are all renewed
together, and clients then need the new ``ca.pem``. With ``--if-missing``, existing ones are kept: the output
states until when they are valid, and expired ones are an error.
"""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streams.errors import BadInput
from streams.files import write_atomically

AUTHORITY, BROKER = "ca.pem", "broker.pem"
_DAYS = 825
_SOON = timedelta(days=30)
"""Time before their end from which the output states how to renew them."""
_RENEW = "remove them, make new ones, and give clients the new ca.pem"
_BAD_INPUT = 2
"""The exit code of a command that cannot use what it was given."""
_CLOCKS_DIFFER_BY = timedelta(hours=1)


class Authority:
    """Signs certificates valid for ``days`` from now; a negative number makes expired ones."""

    def __init__(self, name: str = "TriBrain local authority", days: int = _DAYS) -> None:
        self._days = days
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """The authority's certificate as PEM, for clients to trust."""
        return self._certificate.public_bytes(Encoding.PEM)

    def identity(
        self, name: str, hosts: Sequence[str] = (), password: str | None = None
    ) -> tuple[bytes, bytes]:
        """Certificate and key (PKCS 8) of ``name``, as PEM; with ``hosts`` it is a server's, for these
        names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            self._builder(subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        return certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def _builder(self, subject: x509.Name, public_key: Any) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        until = now + timedelta(days=self._days)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, until) - _CLOCKS_DIFFER_BY)
            .not_valid_after(until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )


def make_certificates(out: Path, hosts: Sequence[str], clients: Sequence[str] = ()) -> None:
    """Write the files that the module describes, replacing existing ones."""
    authority = Authority()
    out.mkdir(parents=True, exist_ok=True)
    certificate, key = authority.identity(hosts[0], hosts)
    _write_key(out / BROKER, key + certificate + authority.pem)
    for name in clients:
        certificate, key = authority.identity(name)
        _write_key(out / f"{name}.key", key)
        write_atomically(out / f"{name}.pem", certificate)
    # Written last: if it exists, the folder is complete.
    write_atomically(out / AUTHORITY, authority.pem)


def end_of(folder: Path) -> datetime:
    """When the first of the certificates in ``folder`` ends. Raises BadInput if one cannot be read."""
    ends = []
    for path in sorted(folder.glob("*.pem")):
        try:
            ends += [each.not_valid_after_utc for each in x509.load_pem_x509_certificates(path.read_bytes())]
        except (OSError, ValueError) as error:
            raise BadInput(
                f"{path}: no certificate can be read: {error}; remove {folder} and make new ones"
            ) from None
    return min(ends)


def _holding_until(folder: Path) -> str:
    """The day until which they are valid, with what to do if it is near. Raises BadInput if it is over."""
    end = end_of(folder)
    left = end - datetime.now(UTC)
    if left <= timedelta(0):
        raise BadInput(f"{folder}: the certificates ended on {end:%F}; {_RENEW}")
    return f"{end:%F}; that is soon: {_RENEW}" if left < _SOON else f"{end:%F}"


def _write_key(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(**wanted: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names})


def _main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m streams.local_broker.certificates",
        description="Create certificates for a Kafka broker and its clients, signed by a new authority.",
        epilog="Example: python -m streams.local_broker.certificates --out certificates --host kafka",
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument(
        "--host",
        action="append",
        required=True,
        help="a name or address by which clients reach the broker (repeatable)",
    )
    parser.add_argument(
        "--client",
        action="append",
        default=[],
        metavar="NAME",
        help="a client that gets its own certificate (repeatable)",
    )
    parser.add_argument(
        "--if-missing", action="store_true", help="do nothing if the folder already has certificates"
    )
    given = parser.parse_args(arguments)
    is_kept = given.if_missing and (given.out / AUTHORITY).exists()
    if not is_kept:
        make_certificates(given.out, given.host, given.client)
    try:
        until = _holding_until(given.out)
    except BadInput as error:
        parser.exit(_BAD_INPUT, f"{parser.prog}: {error}\n")
    print(f"{given.out}: the certificates are {'kept' if is_kept else 'new'}, and hold until {until}")


if __name__ == "__main__":
    _main()
