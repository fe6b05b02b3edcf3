"""How a device signs its keys in secure sums, and which neighbours it goes on with."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.protocol.certificate import CertificateError, DeviceCertificate, read_certificate
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.signed_keys import NotSignedError, SignedKeys, statement, verified


class DeviceCredentials:
    """The device's key and certificate; implements `fedaffect.client.secagg.signed_keys.Credentials`.

    Nothing that a server says is believed here: the certificate of the authority lies in the device's folder since its
    user gave it to ``fedaffect device enroll``.

    Parameters
    ----------
    folder : DeviceFolder
    """

    def __init__(self, folder: DeviceFolder) -> None:
        self._folder = folder

    def sign(self, session: Session, client: int, keys: bytes) -> SignedKeys:
        """Sign with the device's key; without a certificate for it, the keys alone.

        Raises
        ------
        SecAggError
            If the server gives this device the number of another.
        """
        own = own_certificate(self._folder)
        if own is None:
            return SignedKeys(keys)
        certificate, der = own
        if certificate.number != client:
            raise SecAggError(
                f"this device is asked as client {client}, and the fleet's authority knows it as {certificate.number}; "
                f"the attempt is refused"
            )
        insists = self._folder.settings.only_secagg
        signature = DeviceKey.read(self._folder.key_path).sign(statement(session, client, keys, insists))
        return SignedKeys(keys, insists, signature, der)

    def require(self, session: Session, client: int, signed: SignedKeys) -> None:
        """Refuse a wrong signature always, and none where the device trains for masked sums only.

        Raises
        ------
        NotSignedError
            If there is none, and the device insists.
        SecAggError
            If it is wrong.
        """
        if signed.signature:
            verified(signed, session, client, authorities(self._folder))
        elif self._folder.settings.only_secagg:
            raise NotSignedError(
                f"client {client} has not signed its keys, and this device trains for signed neighbours only "
                f"(fedaffect device budget --only-secagg); it could be one that the server made up"
            )


def own_certificate(folder: DeviceFolder) -> tuple[DeviceCertificate, bytes] | None:
    """The certificate of the device's present key, and its DER; None if there is none that counts."""
    if not folder.certificate_path.is_file() or not folder.key_path.is_file():
        return None
    try:
        der = x509.load_pem_x509_certificate(folder.certificate_path.read_bytes()).public_bytes(Encoding.DER)
        certificate = read_certificate(der, authorities(folder))
    except (ValueError, CertificateError):
        return None
    # It may have been made for the key before.
    return (certificate, der) if DeviceKey.read(folder.key_path).is_half_of(certificate.key) else None


def authorities(folder: DeviceFolder) -> tuple[bytes, ...]:
    """PEM of the authority that the device believes; of each, where its file has more."""
    if not folder.authority_path.is_file():
        return ()
    found = x509.load_pem_x509_certificates(folder.authority_path.read_bytes())
    return tuple(authority.public_bytes(Encoding.PEM) for authority in found)
