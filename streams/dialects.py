"""Which security protocol a listener of Kafka speaks, told by the listener itself, before anybody has to say who they are.

Brokers answer `SaslHandshake` on every listener: one without SASL with ILLEGAL_SASL_STATE, one with it with the mechanisms that
it has. No password is sent, and no certificate is checked: nothing that is said here is believed for more than an error's sentence.

Source: Kafka's protocol guide, request 17; https://kafka.apache.org/protocol.
"""

import asyncio
import contextlib
import ssl
import struct
from dataclasses import dataclass

PATIENCE_SECONDS = 3.0
SASL_HANDSHAKE, VERSION, CORRELATION = 17, 1, 0x46564D
ILLEGAL_SASL_STATE, UNSUPPORTED_MECHANISM = 34, 33
LONGEST_ANSWER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a listener speaks.

    Attributes:
        tls: whether it speaks TLS.
        sasl: whether it asks for a name; None where it does not tell, as to somebody without a certificate.
        mechanisms: by which one can say it.
    """

    tls: bool
    sasl: bool | None = None
    mechanisms: tuple[str, ...] = ()

    def __str__(self) -> str:
        names = [f"{'SASL_' if sasl else ''}{'SSL' if self.tls else 'PLAINTEXT'}" for sasl in (False, True) if self.sasl in {None, sasl}]
        return " or ".join(names) + (f" ({', '.join(self.mechanisms)})" if self.mechanisms else "")

    def is_spoken_by(self, protocol: str) -> bool:
        """Whether a client of this security protocol is understood."""
        return protocol.endswith("SSL") == self.tls and self.sasl in {None, protocol.startswith("SASL")}


async def spoken(host: str, port: int) -> Dialect | None:
    """What is spoken there; None where nobody answers, or nobody who is known to be a broker."""
    for tls in (False, True):
        with contextlib.suppress(OSError, EOFError, TimeoutError, ValueError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await _asked(host, port, tls=tls)
    return None


async def _asked(host: str, port: int, *, tls: bool) -> Dialect:
    reader, writer = await asyncio.open_connection(host, port, ssl=_unchecked() if tls else None)
    try:
        writer.write(question())
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        if not 0 < size <= LONGEST_ANSWER_BYTES:
            raise ValueError("not an answer of Kafka")
        return read(await reader.readexactly(size), tls=tls)
    except ssl.SSLError:
        return Dialect(tls=True)  # it wants a certificate, and says so after the handshake
    finally:
        writer.transport.abort()


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def question() -> bytes:
    """A request `SaslHandshake` with its size before it."""
    mechanism = b"PLAIN"
    client = b"fvm-pulse"
    head = struct.pack(">hhih", SASL_HANDSHAKE, VERSION, CORRELATION, len(client)) + client
    request = head + struct.pack(">h", len(mechanism)) + mechanism
    return struct.pack(">i", len(request)) + request


def read(answer: bytes, *, tls: bool) -> Dialect:
    """What an answer to it says.

    Raises:
        ValueError: it is none.
    """
    try:
        correlation, error, count = struct.unpack_from(">ihi", answer)
        mechanisms, at = [], 10
        for _ in range(count):
            (length,) = struct.unpack_from(">h", answer, at)
            mechanisms.append(answer[at + 2 : at + 2 + length].decode("ascii"))
            at += 2 + length
    except (struct.error, UnicodeDecodeError) as wrong:
        raise ValueError("not an answer of Kafka") from wrong
    if correlation != CORRELATION or error not in {0, UNSUPPORTED_MECHANISM, ILLEGAL_SASL_STATE}:
        raise ValueError("not an answer of Kafka")
    return Dialect(tls, error != ILLEGAL_SASL_STATE, tuple(sorted(mechanisms)))
