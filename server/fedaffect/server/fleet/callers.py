"""Which addresses are one caller's."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def network_of(address: str) -> str:
    """The addresses that one caller can choose from: of IPv6 a whole /64; what is no address is itself."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(IPv6Address(int(known) >> 64 << 64)) if isinstance(known, IPv6Address) else address
