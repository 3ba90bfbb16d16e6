"""Kafka's brokers: what can be set of them, and how they let us in.

Every client of ours, in whatever library, is made with what `Brokers.arguments` says, and with nothing else about addresses, TLS
or passwords. What does not go together is refused when the settings are read.
"""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode

from streams import values
from streams.dialects import spoken
from streams.errors import UsageError
from streams.values import File

Protocol: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

LET_IN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Brokers:
    """Where the brokers are, and what lets us in.

    Attributes:
        addresses: HOST:PORT of some.
        ca_file: PEM of the authorities that are trusted; None: those of this machine.
        certificate_file: PEM of our own certificate, for brokers that ask for one.
        key_file: PEM of its key, where `certificate_file` does not hold it.
    """

    addresses: tuple[str, ...]
    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "PLAIN"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __str__(self) -> str:
        return ",".join(self.addresses)

    def arguments(self) -> dict[str, Any]:
        """What a client of aiokafka is made with. Files are read each time, so that a renewed certificate is used.

        Raises:
            UsageError: a file can not be read, or is not what it should be.
        """
        return {"bootstrap_servers": list(self.addresses), **self._security()}

    def _security(self) -> dict[str, Any]:
        found: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol in {"SSL", "SASL_SSL"}:
            found["ssl_context"] = self._tls()
        if self.protocol in {"SASL_PLAINTEXT", "SASL_SSL"}:
            password = self.password.get_secret_value() if self.password is not None else ""
            found |= {"sasl_mechanism": self.mechanism, "sasl_plain_username": self.username, "sasl_plain_password": password}
        return found

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise UsageError(f"kafka_ca_file: {self.ca_file} can not be used: {_told(error, 'no certificate in PEM')}") from error
        if self.certificate_file is not None:
            try:
                # Without a password for the key, OpenSSL would ask for one on the terminal.
                context.load_cert_chain(self.certificate_file, self.key_file, password="")
            except OSError as error:
                both = f"{self.certificate_file}{f' with {self.key_file}' if self.key_file is not None else ''}"
                reason = _told(error, "no certificate in PEM with its key, unencrypted")
                raise UsageError(f"kafka_certificate_file: {both} can not be used: {reason}") from error
        return context

    async def refusal(self) -> UsageError | None:
        """Why they will never let us in, as a sentence; None where one does, or where trying again may help."""
        reasons = []
        for address in self.addresses:
            error = await self._knock(address)
            reason = self._refused(address, error) or await self._misunderstood(address)
            if error is None and reason is None:
                return None
            reasons += [reason] if reason is not None else []
        return UsageError(reasons[0]) if reasons else None

    async def _knock(self, address: str) -> BaseException | None:
        """What keeps us from talking to this one."""
        host, port = values.listen(address)
        try:
            connection = await create_conn(host, port, request_timeout_ms=int(LET_IN_SECONDS * 1000), **self._security())
        except (KafkaError, OSError, TimeoutError) as error:
            # What TLS says after the handshake ends the connection, and is the cause of an error of aiokafka.
            return error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
        await connection.close()
        return None

    async def _misunderstood(self, address: str) -> str | None:
        """What is spoken there, where it is not what we speak. Who comes without a name is let in by all, and then not heard."""
        dialect = await spoken(*values.listen(address))
        if dialect is None or dialect.is_spoken_by(self.protocol):
            return None
        return f"kafka_security_protocol: {address} does not speak {self.protocol}: it speaks {dialect}"

    def _refused(self, address: str, error: BaseException | None) -> str | None:
        match error:
            case SaslAuthenticationFailed():
                return f"kafka_username: {address} does not let {self.username!r} in with this password ({self.mechanism})"
            case UnsupportedSaslMechanismError():
                return f"kafka_sasl_mechanism: {address} has no {self.mechanism}: choose another"
            case ssl.SSLCertVerificationError():
                return f"kafka_ca_file: the certificate of {address} is not trusted ({error.verify_message}): name its authority"
            case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
                return None  # as when a broker ends
            case ssl.SSLError():
                advice = "is that a listener with TLS, and does it want a certificate (kafka_certificate_file)?"
                return f"kafka_security_protocol: no TLS with {address} ({error.reason}): {advice}"
            case _:
                return None


def _told(error: OSError, otherwise: str) -> str:
    """What the system says of a file; what OpenSSL says helps nobody."""
    return otherwise if isinstance(error, ssl.SSLError) else os.strerror(error.errno) if error.errno else str(error)


class BrokerSettings(BaseSettings):
    """What can be set of Kafka."""

    kafka_brokers: Annotated[tuple[str, ...], NoDecode, BeforeValidator(values.brokers)] = ("localhost:9092",)
    kafka_security_protocol: Protocol = "PLAINTEXT"
    kafka_sasl_mechanism: Mechanism = "PLAIN"
    kafka_username: str | None = Field(default=None, min_length=1)
    kafka_password: SecretStr | None = Field(default=None, min_length=1)
    kafka_password_file: File | None = None
    kafka_ca_file: File | None = None
    kafka_certificate_file: File | None = None
    kafka_key_file: File | None = None
    topic_prefix: str = Field(default="fvm", pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    partitions: int = Field(default=8, ge=1, le=1024)
    consumer_group: str = Field(default="fvm-pulse", pattern=r"^[a-zA-Z0-9._-]{1,64}$")

    @model_validator(mode="after")
    def _all_goes_together(self) -> Self:
        protocol = self.kafka_security_protocol
        if protocol.startswith("SASL"):
            self._who()
        else:
            self._needless("kafka_username kafka_password kafka_password_file kafka_sasl_mechanism", "SASL_SSL or SASL_PLAINTEXT")
        if not protocol.endswith("SSL"):
            self._needless("kafka_ca_file kafka_certificate_file kafka_key_file", "SSL or SASL_SSL")
        if self.kafka_key_file is not None and self.kafka_certificate_file is None:
            raise ValueError("kafka_key_file: it is the key of a certificate: give kafka_certificate_file, too")
        return self

    def _who(self) -> None:
        """See that there is a user with one password."""
        if self.kafka_username is None:
            raise ValueError(f"kafka_username: needed: kafka_security_protocol is {self.kafka_security_protocol}")
        if self.kafka_password is not None and self.kafka_password_file is not None:
            raise ValueError("kafka_password: there is a kafka_password_file as well: give one of them")
        if self.kafka_password is None and self.kafka_password_file is None:
            raise ValueError(f"kafka_password: needed for {self.kafka_username!r}, or a kafka_password_file")

    def _needless(self, keys: str, protocols: str) -> None:
        """See that nobody believes in a protection that there is not."""
        for key in keys.split():
            if key in self.model_fields_set and getattr(self, key) is not None:
                raise ValueError(f"{key}: kafka_security_protocol is {self.kafka_security_protocol}: set {protocols}, or leave this out")

    @property
    def brokers(self) -> Brokers:
        """The brokers, as they are set; the file of the password is not asked, see `with_password`."""
        return Brokers(
            self.kafka_brokers,
            self.kafka_security_protocol,
            self.kafka_sasl_mechanism,
            self.kafka_username,
            self.kafka_password,
            self.kafka_ca_file,
            self.kafka_certificate_file,
            self.kafka_key_file,
        )


_Set = TypeVar("_Set", bound=BrokerSettings)


def with_password(settings: _Set) -> _Set:
    """The settings with the password out of its file; every other file is looked at, too.

    Raises:
        UsageError: a file can not be used.
    """
    if (path := settings.kafka_password_file) is not None:
        try:
            password = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"kafka_password_file: {path} can not be read: {reason}") from error
        if not password:
            raise UsageError(f"kafka_password_file: {path} is empty")
        settings = settings.model_copy(update={"kafka_password": SecretStr(password), "kafka_password_file": None})
    settings.brokers.arguments()
    return settings
