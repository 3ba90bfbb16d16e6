"""How the brokers let us in: what goes together, what a client is made with, and what brokers refuse."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from streams import topics
from streams.brokers import Brokers
from streams.errors import UsageError
from streams.settings import Settings, load
from tests.brokers import Broker
from tests.secured import PASSWORD, make_certificates, named

NAMED: dict[str, Any] = {"kafka_security_protocol": "SASL_SSL", "kafka_username": "pulse", "kafka_password": "planted"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


def test_without_anything_nothing_is_secured() -> None:
    """Plain text to the addresses that are set."""
    brokers = load({"kafka_brokers": "a:1,b:2"}).brokers
    assert brokers.arguments() == {"bootstrap_servers": ["a:1", "b:2"], "security_protocol": "PLAINTEXT"}
    assert str(brokers) == "a:1,b:2"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_client_is_made_with_what_is_set(folder: Path, mechanism: str) -> None:
    """Protocol, mechanism, user and password, and a context that checks the broker's certificate and name."""
    made = load(named(folder, 9093, mechanism)).brokers.arguments()
    context = made.pop("ssl_context")
    assert made == {
        "bootstrap_servers": ["127.0.0.1:9093"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "pulse",
        "sasl_plain_password": PASSWORD,
    }
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_password_without_tls() -> None:
    """It is what some private networks have: no context then."""
    made = load(NAMED | {"kafka_security_protocol": "SASL_PLAINTEXT"}).brokers.arguments()
    assert (made["security_protocol"], made["sasl_plain_password"], "ssl_context" in made) == ("SASL_PLAINTEXT", "planted", False)


def test_the_password_comes_from_a_file(tmp_path: Path) -> None:
    """Without the end of its line, and with its spaces."""
    (tmp_path / "password").write_text(" plan ted \n", encoding="utf-8")
    settings = load({**NAMED, "kafka_password": None, "kafka_password_file": str(tmp_path / "password")})
    assert settings.brokers.arguments()["sasl_plain_password"] == " plan ted "
    assert settings.secrets == (" plan ted ",)


def test_the_password_does_not_show() -> None:
    """Neither in the settings nor in the brokers; it is among what must never be logged."""
    settings = load(NAMED)
    assert "planted" not in repr(settings) + repr(settings.brokers) + str(settings.brokers)
    assert settings.secrets == ("planted",)


def test_from_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a deployment sets them."""
    for key, value in NAMED.items():
        monkeypatch.setenv(f"FVM_PULSE_{key.upper()}", value)
    assert load().brokers == Settings(**NAMED).brokers


BAD: list[tuple[dict[str, Any], str]] = [
    (NAMED | {"kafka_password": None}, "kafka_password: needed for 'pulse', or a kafka_password_file"),
    (NAMED | {"kafka_username": None}, "kafka_username: needed: kafka_security_protocol is SASL_SSL"),
    (NAMED | {"kafka_password_file": "/nowhere"}, "kafka_password: there is a kafka_password_file as well: give one of them"),
    ({**NAMED, "kafka_password": None, "kafka_password_file": "/nowhere"}, "kafka_password_file: /nowhere can not be read: No such file"),
    ({**NAMED, "kafka_password": None, "kafka_password_file": "/dev/null"}, "kafka_password_file: /dev/null is empty"),
    (NAMED | {"kafka_security_protocol": None}, "kafka_username: kafka_security_protocol is PLAINTEXT: set SASL_SSL or SASL_PLAINTEXT"),
    ({"kafka_password": "planted"}, "kafka_password: kafka_security_protocol is PLAINTEXT: set SASL_SSL"),
    ({"kafka_sasl_mechanism": "PLAIN"}, "kafka_sasl_mechanism: kafka_security_protocol is PLAINTEXT: set SASL_SSL"),
    (NAMED | {"kafka_security_protocol": "SSL"}, "kafka_username: kafka_security_protocol is SSL: set SASL_SSL"),
    ({"kafka_ca_file": "/nowhere"}, "kafka_ca_file: kafka_security_protocol is PLAINTEXT: set SSL or SASL_SSL, or leave this out"),
    (NAMED | {"kafka_ca_file": "/nowhere"}, "kafka_ca_file: /nowhere can not be used: No such file"),
    (NAMED | {"kafka_ca_file": "/dev/null"}, "kafka_ca_file: /dev/null can not be used: no certificate in PEM"),
    (NAMED | {"kafka_key_file": "/nowhere"}, "kafka_key_file: it is the key of a certificate: give kafka_certificate_file, too"),
    (NAMED | {"kafka_certificate_file": "/nowhere"}, "kafka_certificate_file: /nowhere can not be used: No such file"),
    (NAMED | {"kafka_security_protocol": "TLS"}, "--kafka-security-protocol: 'TLS' is not allowed"),
    (NAMED | {"kafka_sasl_mechanism": "GSSAPI"}, "--kafka-sasl-mechanism: 'GSSAPI' is not allowed"),
    (NAMED | {"kafka_password": ""}, "--kafka-password: "),
]


@pytest.mark.parametrize("given,sentence", BAD)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], sentence: str) -> None:
    """One line that names the key and what to do, without the password."""
    with pytest.raises(UsageError) as caught:
        load(given)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "planted" not in str(caught.value)


def test_a_certificate_without_its_key(folder: Path) -> None:
    """Told, and no password is asked for on the terminal."""
    mutual = {"kafka_security_protocol": "SSL", "kafka_certificate_file": str(folder / "ca.pem")}
    with pytest.raises(UsageError, match=r"kafka_certificate_file: .*ca.pem can not be used: no certificate in PEM with its key"):
        load(mutual)
    with pytest.raises(UsageError, match=r"ca.pem with .*client.pem can not be used"):
        load(mutual | {"kafka_key_file": str(folder / "client.pem")})


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("named", {"kafka_password": "planted"}, "kafka_username: {0} does not let 'pulse' in with this password (SCRAM-SHA-512)"),
    (
        "named",
        {"mechanism": "PLAIN", "kafka_password": "planted"},
        "kafka_username: {0} does not let 'pulse' in with this password (PLAIN)",
    ),
    ("named", {"mechanism": "SCRAM-SHA-256"}, "kafka_sasl_mechanism: {0} has no SCRAM-SHA-256: choose another"),
    ("named", {"kafka_ca_file": None}, "kafka_ca_file: the certificate of {0} is not trusted"),
    ("mutual", {"kafka_certificate_file": None}, "kafka_security_protocol: no TLS with {0}"),
    ("plain", {"kafka_security_protocol": "SSL"}, "kafka_security_protocol: {0} does not speak SSL: it speaks PLAINTEXT"),
    ("plain", NAMED, "kafka_security_protocol: {0} does not speak SASL_SSL: it speaks PLAINTEXT"),
    (
        "plain",
        NAMED | {"kafka_security_protocol": "SASL_PLAINTEXT"},
        "kafka_security_protocol: {0} does not speak SASL_PLAINTEXT: it speaks PLAINTEXT",
    ),
]


@pytest.mark.kafka
@pytest.mark.timeout(120)
@pytest.mark.parametrize("listener,changes,sentence", REFUSED)
async def test_a_broker_that_lets_us_not_in(kafka: Broker, listener: str, changes: dict[str, Any], sentence: str) -> None:
    """Nobody waits for what waiting does not mend: a sentence with broker, user and mechanism, without the password."""
    brokers = load({"kafka_brokers": kafka.address, **changes} if listener == "plain" else getattr(kafka, listener)(**changes)).brokers
    with pytest.raises(UsageError) as caught:
        await topics.running_producer(brokers)
    assert sentence.format(brokers.addresses[0]) in str(caught.value)
    assert "planted" not in str(caught.value)


@pytest.mark.kafka
@pytest.mark.timeout(120)
@pytest.mark.parametrize("port,speaks", [("named_port", "SASL_SSL (PLAIN, SCRAM-SHA-512)"), ("mutual_port", "SSL or SASL_SSL")])
async def test_a_broker_that_wants_tls(kafka: Broker, port: str, speaks: str) -> None:
    """Who speaks plainly to it is told what it speaks; so is who does not say a name where one is asked for."""
    address = f"127.0.0.1:{getattr(kafka, port)}"
    given = [Brokers((address,))] + ([load(kafka.mutual(kafka_brokers=address)).brokers] if port == "named_port" else [])
    for brokers in given:
        with pytest.raises(UsageError) as caught:
            await topics.running_producer(brokers)
        assert str(caught.value) == f"kafka_security_protocol: {address} does not speak {brokers.protocol}: it speaks {speaks}"


@pytest.mark.kafka
@pytest.mark.timeout(120)
async def test_what_may_pass_is_no_refusal(kafka: Broker) -> None:
    """A broker that is not there, or one of several that lets us in, whatever the others say."""
    assert await load(kafka.named(kafka_brokers="127.0.0.1:1")).brokers.refusal() is None
    assert await Brokers((f"127.0.0.1:{kafka.named_port}", kafka.address)).refusal() is None
    assert await load(kafka.mutual(kafka_brokers=f"127.0.0.1:1,127.0.0.1:{kafka.mutual_port}")).brokers.refusal() is None
    assert await Brokers((kafka.address,)).refusal() is None
