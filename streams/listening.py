"""Where we serve HTTP, and whom we let in: what can be set of it, TLS, and the password.

What does not go together is refused when the settings are read; files of certificates are read when something is served or asked.
"""

import base64
import hmac
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode

from streams import values
from streams.errors import UsageError
from streams.values import File, Listen

_UTF8 = "utf-8"


@dataclass(frozen=True, slots=True)
class Door:
    """Who is let in, and by which certificate we are known.

    Attributes:
        certificate_file: PEM of our certificate and of those above it; None: no TLS.
        key_file: PEM of its key, where `certificate_file` does not hold it.
        username: who is let in; None: everybody.
    """

    certificate_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password: SecretStr | None = None

    @property
    def scheme(self) -> str:
        """`https` or `http`."""
        return "http" if self.certificate_file is None else "https"

    @property
    def files(self) -> tuple[Path, ...]:
        """What TLS is made of."""
        return tuple(path for path in (self.certificate_file, self.key_file) if path is not None)

    @property
    def authorization(self) -> str | None:
        """The header that lets a client of ours in."""
        if self.username is None or self.password is None:
            return None
        both = f"{self.username}:{self.password.get_secret_value()}".encode()
        return f"Basic {base64.b64encode(both).decode()}"

    def lets_in(self, authorization: str | None) -> bool:
        """Whether a request with this header may see what we serve; the time it takes tells nothing of name and password."""
        if self.authorization is None:
            return True
        scheme, _, said = (authorization or "").partition(" ")
        known = self.authorization.partition(" ")[2]
        return scheme.lower() == "basic" and hmac.compare_digest(said.strip().encode("utf-8", "surrogateescape"), known.encode())

    def server(self) -> ssl.SSLContext | None:
        """What we serve with; None without TLS.

        Raises:
            UsageError: a file can not be read, or is not what it should be.
        """
        if self.certificate_file is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.load(context)
        return context

    def load(self, context: ssl.SSLContext) -> None:
        """Serve with the certificate that the files hold now.

        Raises:
            UsageError: a file can not be read, or is not what it should be; `context` stays as it is.
        """
        assert self.certificate_file is not None
        try:
            # Without a password for the key, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self.certificate_file, self.key_file, password="")
        except OSError as error:
            both = f"{self.certificate_file}{f' with {self.key_file}' if self.key_file is not None else ''}"
            reason = _told(error, "no certificate in PEM with its key, unencrypted")
            raise UsageError(f"listen_certificate_file: {both} can not be used: {reason}") from error

    def client(self) -> ssl.SSLContext | None:
        """What a process of ours asks another one with: it must show the very certificate of our file, by whatever name it is reached.

        Raises:
            UsageError: the file can not be read, or holds no certificate.
        """
        if self.certificate_file is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            first = self.certificate_file.read_text(encoding="ascii").partition("-----BEGIN CERTIFICATE-----")[2]
            context.load_verify_locations(cadata=f"-----BEGIN CERTIFICATE-----{first.partition('-----BEGIN')[0]}")
        except (OSError, UnicodeDecodeError) as error:
            reason = _told(error, "no certificate in PEM") if isinstance(error, OSError) else "no certificate in PEM"
            raise UsageError(f"listen_certificate_file: {self.certificate_file} can not be used: {reason}") from error
        return context

    def exposed(self, host: str) -> str | None:
        """What whoever lets others than this machine reach us should know; None where all is well."""
        if _is_loopback(host):
            return None
        if self.password is None:
            return "whoever reaches this address sees the figures: set listen_username and listen_password_file"
        if self.certificate_file is None:
            return "the password can be read on its way: set listen_certificate_file, or put a proxy with TLS before"
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _told(error: OSError, otherwise: str) -> str:
    """What the system says of a file; what OpenSSL says helps nobody."""
    return otherwise if isinstance(error, ssl.SSLError) else os.strerror(error.errno) if error.errno else str(error)


class ListenSettings(BaseSettings):
    """What can be set of how we serve HTTP."""

    listen: Annotated[Listen, NoDecode, BeforeValidator(values.listen)] = Listen("127.0.0.1", 9464)
    listen_certificate_file: File | None = None
    listen_key_file: File | None = None
    listen_username: str | None = Field(default=None, min_length=1)
    listen_password: SecretStr | None = Field(default=None, min_length=1)
    listen_password_file: File | None = None

    @model_validator(mode="after")
    def _door_goes_together(self) -> Self:
        if self.listen_key_file is not None and self.listen_certificate_file is None:
            raise ValueError("listen_key_file: it is the key of a certificate: give listen_certificate_file, too")
        if self.listen_password is not None and self.listen_password_file is not None:
            raise ValueError("listen_password: there is a listen_password_file as well: give one of them")
        given = self.listen_password is not None or self.listen_password_file is not None
        if given and self.listen_username is None:
            raise ValueError("listen_username: needed, since there is a listen_password")
        if self.listen_username is not None and not given:
            raise ValueError(f"listen_password_file: needed for {self.listen_username!r}, or a listen_password")
        if ":" in (self.listen_username or ""):
            raise ValueError(f"listen_username: {self.listen_username!r} is not allowed: a name without a colon")
        return self

    @property
    def door(self) -> Door:
        """Who is let in, as it is set; the file of the password is not asked, see `with_listen_password`."""
        return Door(self.listen_certificate_file, self.listen_key_file, self.listen_username, self.listen_password)


_Set = TypeVar("_Set", bound=ListenSettings)


def with_listen_password(settings: _Set) -> _Set:
    """The settings with the password out of its file.

    Raises:
        UsageError: the file can not be used.
    """
    if (path := settings.listen_password_file) is None:
        return settings
    try:
        password = path.read_text(encoding=_UTF8).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"listen_password_file: {path} can not be read: {reason}") from error
    if not password:
        raise UsageError(f"listen_password_file: {path} is empty")
    return settings.model_copy(update={"listen_password": SecretStr(password), "listen_password_file": None})
