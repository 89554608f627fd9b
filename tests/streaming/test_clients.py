"""One section of settings, four clients: each of them gets through TLS and SASL."""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from sluicegate.errors import Problem
from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.settings import BrokerSettings, Settings
from sluicegate.streaming.clients import (
    confluent_config,
    faust_config,
    kafka_python_config,
    tls_context,
    wait_for_broker,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of the libraries, as they are loaded
    import kafka  # type: ignore[import-untyped]
    from aiokafka import AIOKafkaProducer
    from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

if TYPE_CHECKING:
    from collections.abc import Iterator

CERTIFICATES = Path(__file__).parent / "certificates"
TLS = {"security_protocol": "SSL", "ca_file": CERTIFICATES / "ca.pem"}
NODE = {"cert_file": CERTIFICATES / "node.pem", "key_file": CERTIFICATES / "node.key"}
SASL = {"sasl_mechanism": "PLAIN", "sasl_username": "bank", "sasl_password": "hush"}
MUTUAL_TLS = TLS | NODE
SASL_SSL = TLS | SASL | {"security_protocol": "SASL_SSL"}

SECURE = """
listeners=PLAINTEXT://{plain},CONTROLLER://{controller},LOGIN://{login},MUTUAL://{mutual}
advertised.listeners=PLAINTEXT://{plain},LOGIN://{login},MUTUAL://{mutual}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_SSL,MUTUAL:SSL
ssl.keystore.type=PEM
ssl.keystore.location={folder}/node-with-key.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.mutual.ssl.client.auth=required
listener.name.login.sasl.enabled.mechanisms=PLAIN
listener.name.login.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_bank="hush";
"""


class SecureBroker(EmbeddedBroker):
    """The embedded broker with two more doors: TLS with a password, TLS with certificates."""

    login = ""
    mutual = ""

    def _write_configuration(self) -> None:
        super()._write_configuration()
        self.login, self.mutual = (f"127.0.0.1:{port}" for port in two_free_ports())
        folder = self._home
        both = "".join((CERTIFICATES / name).read_text() for name in ("node.key", "node.pem"))
        folder.joinpath("node-with-key.pem").write_text(both)
        folder.joinpath("ca.pem").write_text((CERTIFICATES / "ca.pem").read_text())
        extra = SECURE.format(
            plain=self.bootstrap,
            controller=f"127.0.0.1:{self._controller_port}",
            login=self.login,
            mutual=self.mutual,
            folder=folder,
        )
        with folder.joinpath("server.properties").open("a") as properties:
            properties.write(extra)  # where a key stands twice, Java takes the last


def two_free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@pytest.fixture(scope="module")
def secure_broker() -> Iterator[SecureBroker]:
    with SecureBroker(heap_mb=192) as running:
        yield running


def broker_settings(values: dict[str, Any] | None = None) -> BrokerSettings:
    return BrokerSettings.model_validate(values or {})


@pytest.fixture(params=["login", "mutual"])
def door(request: pytest.FixtureRequest, secure_broker: SecureBroker) -> tuple[BrokerSettings, str]:
    """The settings and the address of one of the two doors."""
    if request.param == "login":
        return broker_settings(SASL_SSL), secure_broker.login
    return broker_settings(MUTUAL_TLS), secure_broker.mutual


def test_a_plain_broker_needs_an_address_and_nothing_else() -> None:
    plain = broker_settings()
    assert confluent_config(plain, "a:1,b:2")["bootstrap.servers"] == "a:1,b:2"
    assert kafka_python_config(plain, "a:1,b:2")["bootstrap_servers"] == ["a:1", "b:2"]
    assert faust_config(plain, "a:1,b:2")["broker"] == "kafka://a:1;kafka://b:2"
    assert "broker_credentials" not in faust_config(plain, "a:1")
    assert not any(key.startswith(("ssl.", "sasl.")) for key in confluent_config(plain, "a:1"))


def test_every_client_is_told_the_user_and_the_password() -> None:
    login = broker_settings(SASL_SSL)
    confluent = confluent_config(login, "a:1")
    assert confluent["sasl.username"] == "bank"
    assert confluent["sasl.password"] == "hush"
    assert kafka_python_config(login, "a:1")["sasl_plain_password"] == confluent["sasl.password"]
    assert "password=hush" not in repr(faust_config(login, "a:1"))


def test_sasl_without_tls_has_no_certificates() -> None:
    login = broker_settings(SASL_SSL | {"security_protocol": "SASL_PLAINTEXT"})
    assert "ssl.ca.location" not in confluent_config(login, "a:1")
    assert "ssl_context" not in kafka_python_config(login, "a:1")


def test_the_certificate_of_the_broker_is_always_checked() -> None:
    context = tls_context(broker_settings(TLS))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_certificate_file_that_is_not_there_is_a_problem() -> None:
    missing = broker_settings(TLS | {"ca_file": "nowhere.pem"})
    for config in (confluent_config, kafka_python_config, faust_config):
        with pytest.raises(Problem, match="ca_file: there is no file"):
            config(missing, "a:1")


def test_a_file_that_is_no_certificate_is_a_problem(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not a certificate")
    with pytest.raises(Problem, match="the certificates cannot be used"):
        tls_context(broker_settings(TLS | {"ca_file": wrong}))


def test_a_broker_that_is_not_there_is_waited_for_and_then_given_up() -> None:
    said: list[str] = []
    settings = Settings.model_validate({"broker": {"give_up_after_seconds": 2.5}})
    with pytest.raises(Problem, match="no Kafka broker") as caught:
        wait_for_broker(settings, "127.0.0.1:9", said.append)
    assert "gave up after 2.5 s" in str(caught.value)
    assert said
    assert "waiting for the Kafka broker at 127.0.0.1:9" in said[0]


@pytest.mark.broker
def test_confluent_kafka_gets_in(door: tuple[BrokerSettings, str]) -> None:
    config: dict[str, Any] = dict(confluent_config(*door))
    assert AdminClient(config).list_topics(timeout=10).brokers
    assert Producer(config).list_topics(timeout=10).brokers
    consumer = Consumer(config | {"group.id": "unused"})
    assert consumer.list_topics(timeout=10).brokers
    consumer.close()


@pytest.mark.broker
def test_kafka_python_gets_in(door: tuple[BrokerSettings, str]) -> None:
    consumer = kafka.KafkaConsumer(**kafka_python_config(*door), group_id="unused")
    assert isinstance(consumer.topics(), set)
    consumer.close()


@pytest.mark.broker
def test_aiokafka_gets_in_with_what_faust_is_given(door: tuple[BrokerSettings, str]) -> None:
    async def connect() -> None:
        credentials = faust_config(*door)["broker_credentials"]
        producer = AIOKafkaProducer(
            bootstrap_servers=door[1], **credentials_to_aiokafka_auth(credentials)
        )
        await producer.start()
        await producer.stop()
        await asyncio.sleep(0.2)  # it does not wait for its own TLS connections to close

    asyncio.run(connect())


@pytest.mark.broker
def test_a_wrong_password_is_named_when_the_wait_ends(secure_broker: SecureBroker) -> None:
    values = SASL_SSL | {"sasl_password": "wrong", "give_up_after_seconds": 2}
    settings = Settings.model_validate({"broker": values})
    with pytest.raises(Problem, match="Authentication failed"):
        wait_for_broker(settings, secure_broker.login, lambda _: None)
