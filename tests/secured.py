"""What a broker needs that asks who comes: certificates made anew for each, a user with a password, and listeners for them."""

from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

USER, PASSWORD = "pulse", "kafkapw-8d02c6b1"
LEAST = "least"
"""A user that may do nothing but what a test lets it do, with the same password, by mechanism PLAIN."""

PROPERTIES = f"""listeners=PLAINTEXT://127.0.0.1:{{port}},NAMED://127.0.0.1:{{named}},MUTUAL://127.0.0.1:{{mutual}},CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},NAMED://127.0.0.1:{{named}},MUTUAL://127.0.0.1:{{mutual}}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,NAMED:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={{folder}}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={{folder}}/ca.pem
listener.name.mutual.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.named.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_{USER}="{PASSWORD}" user_{LEAST}="{PASSWORD}";
listener.name.named.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.mutual.ssl.principal.mapping.rules=RULE:^.*$/{USER}/
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{USER}
"""
"""Listener NAMED wants a name and a password, MUTUAL a certificate; those without a name may do everything."""

SCRAM = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
"""What the storage is formatted with."""


def make_certificates(folder: Path) -> None:
    """An authority (`ca.pem`), the broker's certificate and ours (`broker.pem`, `client.pem`, each with its key)."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, identity in (("broker", "127.0.0.1"), ("client", "client.example")):
        made = authority.issue_cert(identity)
        key = load_pem_private_key(made.private_key_pem.bytes(), None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # Kafka reads no other form
        (folder / f"{name}.pem").write_bytes(pem + b"".join(one.bytes() for one in made.cert_chain_pems))


def named(folder: Path, port: int, mechanism: str = "SCRAM-SHA-512", **changes: Any) -> dict[str, Any]:
    """Settings for the listener that wants a name."""
    return {
        "kafka_brokers": f"127.0.0.1:{port}",
        "kafka_security_protocol": "SASL_SSL",
        "kafka_sasl_mechanism": mechanism,
        "kafka_username": USER,
        "kafka_password": PASSWORD,
        "kafka_ca_file": str(folder / "ca.pem"),
        **changes,
    }


def mutual(folder: Path, port: int, **changes: Any) -> dict[str, Any]:
    """Settings for the listener that wants a certificate."""
    return {
        "kafka_brokers": f"127.0.0.1:{port}",
        "kafka_security_protocol": "SSL",
        "kafka_ca_file": str(folder / "ca.pem"),
        "kafka_certificate_file": str(folder / "client.pem"),
        **changes,
    }
