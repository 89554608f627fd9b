"""One place for how every client reaches the broker: address, TLS and SASL.

Four clients speak to Kafka: confluent-kafka (router, reader, admin), aiokafka under Faust, and
kafka-python (liaison). Each names the same things differently.
"""

import re
import ssl
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from sluicegate.errors import Problem
from sluicegate.settings import BrokerSettings, Settings

Confluent = dict[str, str | int | float | bool]

MESSAGE_BYTES = 8 * 1024 * 1024
"""Longest message that a librdkafka client sends, in bytes: above every topic's own limit."""
ATTEMPT_SECONDS = 2.0
"""How long one attempt to reach the broker may take, and how often a person hears of it."""


def confluent_config(broker: BrokerSettings, bootstrap: str) -> Confluent:
    """Address and credentials for confluent-kafka: producers, consumers and admin clients.

    Raises:
        Problem: A file of certificates or keys is not there.
    """
    _require_files(broker)
    config: Confluent = {
        "bootstrap.servers": bootstrap,
        "security.protocol": broker.security_protocol,
        "client.id": "sluicegate",
        "message.max.bytes": MESSAGE_BYTES,
    }
    optional = {
        "ssl.ca.location": broker.ca_file,
        "ssl.certificate.location": broker.cert_file,
        "ssl.key.location": broker.key_file,
        "ssl.key.password": _revealed(broker.key_password),
    }
    if _uses_tls(broker):
        config |= {key: str(value) for key, value in optional.items() if value is not None}
    if _uses_sasl(broker):
        config |= {
            "sasl.mechanism": broker.sasl_mechanism or "",
            "sasl.username": broker.sasl_username or "",
            "sasl.password": _revealed(broker.sasl_password) or "",
        }
    return config


def kafka_python_config(broker: BrokerSettings, bootstrap: str) -> dict[str, object]:
    """Address and credentials for kafka-python's consumer, producer and admin client."""
    config: dict[str, object] = {
        "bootstrap_servers": bootstrap.split(","),
        "security_protocol": broker.security_protocol,
        "client_id": "sluicegate",
    }
    if _uses_tls(broker):
        config["ssl_context"] = tls_context(broker)
    if _uses_sasl(broker):
        config |= {
            "sasl_mechanism": broker.sasl_mechanism,
            "sasl_plain_username": broker.sasl_username,
            "sasl_plain_password": _revealed(broker.sasl_password),
        }
    return config


def faust_config(broker: BrokerSettings, bootstrap: str) -> dict[str, object]:
    """Address and credentials for `faust.App`: `broker` and `broker_credentials`."""
    # Faust is heavy to load, and only its worker needs this.
    from faust.auth import SASLCredentials, SSLCredentials  # noqa: PLC0415

    config: dict[str, object] = {
        "broker": ";".join(f"kafka://{address.strip()}" for address in bootstrap.split(",")),
        "broker_client_id": "sluicegate",
    }
    context = tls_context(broker) if _uses_tls(broker) else None
    if _uses_sasl(broker):
        config["broker_credentials"] = SASLCredentials(
            username=broker.sasl_username,
            password=_revealed(broker.sasl_password),
            mechanism=broker.sasl_mechanism,
            ssl_context=context,
        )
    elif context is not None:
        config["broker_credentials"] = SSLCredentials(context)
    return config


def tls_context(broker: BrokerSettings) -> ssl.SSLContext:
    """Certificates as the clients written in Python take them.

    Raises:
        Problem: A file is not there, or is not what it should be.
    """
    _require_files(broker)
    try:
        context = ssl.create_default_context(
            ssl.Purpose.SERVER_AUTH, cafile=str(broker.ca_file) if broker.ca_file else None
        )
        if broker.cert_file is not None:
            context.load_cert_chain(
                broker.cert_file, broker.key_file, _revealed(broker.key_password)
            )
    except OSError as error:  # of which ssl.SSLError is one
        raise Problem(
            "[broker] the certificates cannot be used",
            str(error),
            "ca_file, cert_file and key_file must be PEM files that belong together",
        ) from error
    return context


EMPTY_SECONDS = 0.2
"""The pause before a broker is asked again that does not know itself yet."""


def wait_for_broker(settings: Settings, bootstrap: str, say: Callable[[str], None]) -> None:
    """Return once the broker answers; `say` every few seconds that it does not yet.

    Raises:
        Problem: It did not answer within `broker.give_up_after_seconds`.
    """
    give_up = settings.broker.give_up_after_seconds
    deadline = time.monotonic() + give_up
    reasons = ["no answer"]
    config: dict[str, Any] = {
        **confluent_config(settings.broker, bootstrap),
        "error_cb": lambda error: _remember(reasons, error),
        "log_level": 2,  # what librdkafka would log for each attempt is said here, once
    }
    admin = AdminClient(config)
    while not _answers(admin, reasons, deadline - time.monotonic()):
        left = deadline - time.monotonic()
        if left <= 0:
            raise Problem(
                f"no Kafka broker at {bootstrap}",
                f"gave up after {give_up:g} s: {reasons[-1]}",
                "is it running, and are bootstrap and security_protocol of [broker] right?",
            )
        say(f"waiting for the Kafka broker at {bootstrap}, {left:.0f} s more: {reasons[-1]}")


def _answers(admin: AdminClient, reasons: list[str], left: float) -> bool:
    started = time.monotonic()
    pause = max(0.05, min(ATTEMPT_SECONDS, left))
    try:
        if not admin.list_topics(timeout=pause).brokers:  # it has only just come up
            time.sleep(min(pause, EMPTY_SECONDS))
            return False
    except KafkaException as error:
        admin.poll(0)
        if _code(error) not in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT):  # noqa: SLF001
            reasons.append(error.args[0].str())
        time.sleep(max(0.0, pause - (time.monotonic() - started)))
        return False
    return True


# librdkafka puts the connection's name before the reason, and the state it was in behind it.
_CONNECTION_NOISE = re.compile(r"^\S+/\w+: | \(after \d+ms in state \w+[^)]*\)")


def _remember(reasons: list[str], error: KafkaError) -> None:
    """Keep what librdkafka says of a connection, but for its summary, which says nothing."""
    if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - its public name for it
        reasons.append(_CONNECTION_NOISE.sub("", error.str()))


def _code(error: KafkaException) -> int:
    return int(error.args[0].code())


def _uses_tls(broker: BrokerSettings) -> bool:
    return broker.security_protocol in ("SSL", "SASL_SSL")


def _uses_sasl(broker: BrokerSettings) -> bool:
    return broker.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _require_files(broker: BrokerSettings) -> None:
    for name in ("ca_file", "cert_file", "key_file"):
        file = getattr(broker, name)
        if file is not None and not file.is_file():
            raise Problem(f"[broker] {name}: there is no file {file}")
