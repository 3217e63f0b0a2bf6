"""Makes a self-signed TLS certificate if none is given; a browser warns of it once."""

import datetime
import ipaddress
import socket
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from auricle.serving.addresses import own_addresses
from auricle.storage.files import written_whole

DAYS = 397  # browsers refuse certificates that are valid for longer
DAYS_LEFT = 30  # before its end, at which a new one is made


def own_certificate(folder: Path, names: tuple[str, ...]) -> tuple[Path, Path]:
    """Return a certificate and its key, kept until it expires or lacks a name.

    Args:
        folder: where they are kept, readable by their owner only.
        names: further names and addresses of the server; those of the machine are always included.

    Returns:
        The paths of the certificate and of the key, PEM.
    """
    cert, key = folder / "certificate.pem", folder / "key.pem"
    needed = _names(
        (
            *names,
            "localhost",
            "127.0.0.1",
            "::1",
            socket.gethostname(),
            f"{socket.gethostname()}.local",
            *own_addresses(),
            *_resolved(),
        )
    )
    if not (key.exists() and cert.exists() and _fits(cert.read_bytes(), needed)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = ec.generate_private_key(ec.SECP256R1())
        pem = secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        with written_whole(key, private=True) as part:
            part.write_bytes(pem)
        with written_whole(cert, private=True) as part:
            part.write_bytes(_signed(secret, needed).public_bytes(serialization.Encoding.PEM))
    return cert, key


def _signed(secret: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName]) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "auricle")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS - 1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(secret, hashes.SHA256())
    )


def _fits(pem: bytes, names: list[x509.GeneralName]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=DAYS_LEFT)
    return certificate.not_valid_after_utc > soon and set(names) <= set(held)


def _names(names: tuple[str, ...]) -> list[x509.GeneralName]:
    found: dict[x509.GeneralName, None] = {}
    for name in names:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            found[x509.DNSName(name.lower())] = None
        else:
            if not address.is_unspecified:
                found[x509.IPAddress(address)] = None
    return list(found)


def _resolved() -> list[str]:
    """Return the addresses that this machine's name leads to."""
    try:
        return sorted(
            {
                str(info[4][0]).partition("%")[0]
                for info in socket.getaddrinfo(socket.gethostname(), None)
            }
        )
    except OSError:
        return []
