"""Addresses at which other machines reach this one."""

import ipaddress
import socket

import ifaddr

# Addresses for documentation (RFC 5737, RFC 3849): a socket towards them finds the usual way out,
# and connecting a UDP socket sends nothing.
_OUTSIDE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def own_addresses() -> list[str]:
    """Return this machine's addresses in its networks: the usual way out first, IPv4 before IPv6.

    Addresses of loopback and of a single link are left out: a phone cannot open them.
    """
    found = [address for family, outside in _OUTSIDE if (address := _towards(family, outside))]
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            found.append(entry.ip if isinstance(entry.ip, str) else entry.ip[0])
    reachable = [address for address in dict.fromkeys(found) if _reachable(address)]
    return sorted(reachable, key=lambda address: ":" in address)


def _towards(family: int, outside: str) -> str | None:
    """Return the address from which this machine would send to another."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((outside, 9))
            return probe.getsockname()[0]
    except OSError:
        return None


def _reachable(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return not (found.is_loopback or found.is_link_local or found.is_unspecified)
