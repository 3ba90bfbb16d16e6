"""The forms of an address: `0x…`, `f410f…` (an EthAccount or a contract) and `f0…` (any actor, by its id).

Sources: FIP-0048 (f4 addresses), FRC-0055 (masked ids), the address specification (base32 and checksum).
"""

import base64
import hashlib
import re

from streams.errors import UsageError
from streams.records import Address
from streams.wire import MASK

_MANAGER = bytes((4, 10))
"""Protocol 4, in the name space of the Ethereum address manager."""
_ETH = re.compile("0x[0-9a-fA-F]{40}")
_DELEGATED = re.compile("[ft]410f([a-z2-7]{39})")
_ID = re.compile("[ft]0(0|[1-9][0-9]{0,18})")


def delegated(address: Address) -> str:
    """The `f410f…` form of a `0x` address."""
    body = bytes.fromhex(address[2:])
    return "f410f" + base64.b32encode(body + _checksum(body)).decode().lower().rstrip("=")


def parse(text: str) -> Address:
    """The `0x` form of an address in any form; an id is masked (`0xff`, 11 zero bytes, the id).

    Raises:
        UsageError: it is no address, or its checksum is wrong.
    """
    if _ETH.fullmatch(text):
        return text.lower()
    if found := _ID.fullmatch(text):
        if int(found[1]) < 2**63:
            return f"{MASK}{int(found[1]):016x}"
    elif found := _DELEGATED.fullmatch(text):
        decoded = base64.b32decode(found[1].upper() + "=")
        if decoded[20:] == _checksum(decoded[:20]):
            return "0x" + decoded[:20].hex()
        raise UsageError(f"address {text!r}: its checksum is wrong")
    raise UsageError(f"address {text!r}: allowed are 0x and 40 hex digits, f410f and 39 letters, or f0 and an actor's id")


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(_MANAGER + body, digest_size=4).digest()
