"""A device has its key certified by its fleet, and again before the certificate runs out."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fedaffect.client.device.credentials import authorities, own_certificate
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.service import FleetService
from fedaffect.client.protocol.certificate import RENEW_DAYS, read_certificate
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.files import write_private

logger = logging.getLogger(__name__)

CERTIFY = "/v1/device/certificate"


def certify_if_due(folder: DeviceFolder, service: FleetService) -> None:
    """Get a certificate if there is none for the present key, or it runs out soon.

    Without one the device works, but its keys in secure sums are not signed. So what goes wrong is logged.

    Parameters
    ----------
    folder : DeviceFolder
    service : FleetService
        Signs with the present key.
    """
    own = own_certificate(folder)
    if own is not None and own[0].expires - datetime.now(UTC) > timedelta(days=RENEW_DAYS):
        return
    try:
        pem = str(service.post(CERTIFY, {}).get("certificate", "")).encode()
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        # What neighbours would refuse is not kept.
        read_certificate(der, authorities(folder))
        write_private(folder.certificate_path, pem, replace=True)
    except (FedAffectError, ValueError) as error:
        logger.warning(
            "the fleet gave this device no certificate, so its keys in secure sums are not signed: %s", error
        )
