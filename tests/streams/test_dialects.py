"""What a listener speaks, told by real brokers, and by everybody else."""

import asyncio
import contextlib
import ssl
import struct

import pytest
import trustme
from hypothesis import example, given
from hypothesis import strategies as st

from streams import dialects
from streams.dialects import CORRELATION, Dialect, question, read, spoken
from tests.brokers import Broker, free_port

PLAIN, NAMED = Dialect(tls=False, sasl=False), Dialect(tls=True, sasl=True, mechanisms=("PLAIN", "SCRAM-SHA-512"))


@pytest.mark.kafka
@pytest.mark.timeout(120)
async def test_every_listener_of_a_broker(kafka: Broker) -> None:
    """Plain, by name with its mechanisms, and by certificate, where it does not tell more."""
    assert await spoken("127.0.0.1", kafka.port) == PLAIN
    assert await spoken("127.0.0.1", kafka.named_port) == NAMED
    assert await spoken("127.0.0.1", kafka.mutual_port) == Dialect(tls=True)


@pytest.mark.parametrize(
    "dialect,shown,understood",
    [
        (PLAIN, "PLAINTEXT", {"PLAINTEXT"}),
        (NAMED, "SASL_SSL (PLAIN, SCRAM-SHA-512)", {"SASL_SSL"}),
        (Dialect(tls=True), "SSL or SASL_SSL", {"SSL", "SASL_SSL"}),
        (Dialect(tls=False, sasl=True, mechanisms=("PLAIN",)), "SASL_PLAINTEXT (PLAIN)", {"SASL_PLAINTEXT"}),
    ],
)
def test_who_is_understood(dialect: Dialect, shown: str, understood: set[str]) -> None:
    """In the words of kafka_security_protocol."""
    assert str(dialect) == shown
    assert {one for one in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL") if dialect.is_spoken_by(one)} == understood


@given(st.binary(max_size=64))
@example(struct.pack(">ihi", CORRELATION, 0, 2**31 - 1))
@example(struct.pack(">ihih", CORRELATION, 0, 1, -2))
def test_any_answer(answer: bytes) -> None:
    """It is read, or it is told to be none."""
    with contextlib.suppress(ValueError):
        assert isinstance(read(answer, tls=False), Dialect)


def test_the_question_tells_nothing() -> None:
    """Its size is right, and whoever listens learns the name of the product and no more."""
    (size,) = struct.unpack_from(">i", question())
    assert question()[4:] == struct.pack(">hhih", 17, 1, CORRELATION, 9) + b"fvm-pulse" + struct.pack(">h", 5) + b"PLAIN"
    assert size == len(question()) - 4


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x04abcd", None], ids=["ends", "http", "nonsense", "silent"]
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_whoever_is_no_broker(monkeypatch: pytest.MonkeyPatch, said: bytes | None, tls: bool) -> None:
    """Nobody, another server, or one that is silent: nothing is said of them, in bounded time."""
    monkeypatch.setattr(dialects, "PATIENCE_SECONDS", 0.3)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    answering: list[asyncio.Task[None] | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.append(asyncio.current_task())
        with contextlib.suppress(OSError):
            await reader.read(1)
            if said is None:
                await reader.read()
            writer.write(said or b"")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context if tls else None)
    try:
        assert await spoken(*server.sockets[0].getsockname()) is None
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*filter(None, answering)), 10)
    assert await spoken("127.0.0.1", free_port()) is None
