"""Every setting, once: from TOML, overridden by the environment, explained in docs/settings.md.

A setting `field` of section `section` is overridden by `SLUICEGATE_SECTION__FIELD`.
"""

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin
from urllib.parse import urlsplit

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from sluicegate.errors import Problem

ENVIRONMENT_PREFIX = "SLUICEGATE_"
PATH_VARIABLE = "SLUICEGATE_CONFIG"
DEFAULT_PATH = Path("config/sluicegate.toml")
EMBEDDED = "embedded"

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach what listens on the address."""
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


class Section(BaseModel):
    """A section of the settings: values of plain types that nobody changes after the start."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class BrokerSettings(Section):
    """Where Kafka is, and how all clients prove who they are."""

    bootstrap: str = Field(default="embedded", min_length=1)
    """`embedded` starts a Kafka broker on this machine; else `host:port`, several with commas."""
    security_protocol: Security = "PLAINTEXT"
    """How every client talks to the broker: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`."""
    sasl_mechanism: SaslMechanism | None = None
    """`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; needed with `SASL_PLAINTEXT` and `SASL_SSL`."""
    sasl_username: str | None = None
    """User name for SASL."""
    sasl_password: SecretStr | None = None
    """Password for SASL; better given as `SLUICEGATE_BROKER__SASL_PASSWORD` than in a file."""
    ca_file: Path | None = None
    """PEM file of the authorities that sign the brokers' certificates; absent: the system's."""
    cert_file: Path | None = None
    """PEM file of this client's certificate, where the brokers ask for one."""
    key_file: Path | None = None
    """PEM file of the key of `cert_file`."""
    key_password: SecretStr | None = None
    """Password of `key_file`, if it has one."""
    give_up_after_seconds: float = Field(default=60, gt=0)
    """How long a part tries to reach a broker that is not there before it exits with 1."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the embedded broker on 127.0.0.1; 0 chooses a free one."""
    data_dir: Path | None = None
    """Where the embedded broker keeps its logs; absent: under the user's state directory."""

    @property
    def is_embedded(self) -> bool:
        """Whether the broker is the one that sluicegate starts itself."""
        return self.bootstrap == EMBEDDED

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> Self:
        if self.security_protocol.startswith("SASL_"):
            needed = ("sasl_mechanism", "sasl_username", "sasl_password")
            missing = [name for name in needed if getattr(self, name) is None]
            if missing:
                raise ValueError(f"{self.security_protocol} also needs {', '.join(missing)}")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is given without cert_file")
        return self


class TopicSettings(Section):
    """How the topics are created."""

    prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    """Put before the name of every topic, so that several installations can share a cluster."""
    partitions: int = Field(default=2, ge=1, le=400)
    """Partitions by account (legs, ownership, changelog, alerts). Fixed once the topics exist."""
    transactions_partitions: int = Field(default=4, ge=1, le=1024)
    """Partitions of `transactions` where sluicegate creates it."""
    replication: int = Field(default=1, ge=1, le=32767)
    """Copies of each partition; 3 in production."""
    min_insync_replicas: int = Field(default=1, ge=1, le=32767)
    """Copies that must have a record before it counts as written; 2 in production."""
    legs_retention_hours: int = Field(default=168, ge=1)
    """How long the legs logs are kept, in hours: the reach of a replay and of a lost checkpoint."""

    @model_validator(mode="after")
    def _enough_copies(self) -> Self:
        if self.min_insync_replicas > self.replication:
            raise ValueError(
                f"min_insync_replicas {self.min_insync_replicas} is more than "
                f"replication {self.replication}: nothing could ever be written"
            )
        return self


class ContractSettings(Section):
    """What is accepted as a transaction."""

    base_currency: str = Field(default="CNY", pattern=r"^[A-Z]{3}$")
    """The one currency that is accepted (ISO 4217); others go to dead-letter by name."""
    max_ahead_seconds: int = Field(default=300, ge=0)
    """How far a transaction's time may lie ahead of its Kafka record's timestamp, in seconds."""
    max_bytes: int = Field(default=1_048_576, ge=1_024, le=3_145_728)
    """Longest transaction message that is read, in bytes; longer ones go to dead-letter."""


class RouterSettings(Section):
    """The router: from transactions to the ordered legs logs."""

    group: str = Field(default="sluicegate-router", min_length=1)
    """Consumer group of the routers: one is active, the others stand by."""
    slot: str = Field(default="r0", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Stable name of this router, unique among the routers: it rejoins under the same name."""
    session_timeout_seconds: float = Field(default=10, ge=6)
    """After this many seconds of silence another router takes over."""
    batch_transactions: int = Field(default=4_000, ge=1)
    """While catching up: transactions read, merged and packed together."""
    lead_transactions: int = Field(default=5_000, ge=1)
    """While catching up: transactions sent and not yet applied by the slowest partition."""
    lead_seconds: float = Field(default=2, gt=0)
    """While catching up: the same bound in event time, in seconds; the wider of both holds."""
    repeat_reach: int = Field(default=200_000, ge=0)
    """Transactions within which the bank's own repeat of one is recognised."""
    gather_ms: float = Field(default=10, ge=0, le=1000)
    """In live operation: how long transactions are gathered before they are sent on, in ms."""
    linger_ms: float = Field(default=0, ge=0)
    """How long the producer waits for more batches before it sends, in milliseconds."""
    metrics_port: int = Field(default=9401, ge=0, le=65535)
    """Port of the router's Prometheus page; 0 chooses a free one."""


class WorkerSettings(Section):
    """A worker: judges legs and remembers them."""

    app_id: str = Field(default="sluicegate", min_length=1)
    """Faust application id, which is the consumer group of the workers."""
    slot: str = Field(default="w0", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Stable name of this worker, unique among the workers: it rejoins under the same name."""
    web_bind: str = "127.0.0.1"
    """Address on which the worker's web server listens."""
    web_port: int = Field(default=6101, ge=0, le=65535)
    """Port of the worker's web server, stable for a slot; 0 chooses a free one."""
    web_token: SecretStr | None = None
    """Whoever asks the worker's web server must show it; needed when `web_bind` is no loopback."""
    metrics_port: int = Field(default=9402, ge=0, le=65535)
    """Port of the worker's Prometheus page; 0 chooses a free one."""
    gather_ms: float = Field(default=20, ge=0)
    """While a backlog exists: how long arrivals are gathered for a partition, in milliseconds."""
    checkpoint_seconds: float = Field(default=30, gt=0)
    """A checkpoint is due after this many seconds with changes."""
    checkpoint_legs: int = Field(default=2_000_000, ge=1)
    """A checkpoint is due after this many legs, if that is sooner."""
    sweep_seconds: float = Field(default=900, gt=0)
    """Over this period every row is written again, so that older checkpoints can be deleted."""
    session_timeout_seconds: float = Field(default=10, ge=6)
    """After this many seconds of silence another worker takes over the partitions."""
    accounts_per_partition: int = Field(default=6_000_000, ge=1)
    """Accounts one partition can remember; memory is taken as accounts come."""
    utc_offset_hours: float = Field(default=8, ge=-14, le=14)
    """Offset of local time from UTC, in hours: what days and nights are to the patterns."""

    @model_validator(mode="after")
    def _is_not_open_to_all(self) -> Self:
        if self.web_token is None and not is_loopback(self.web_bind):
            raise ValueError(
                f"web_bind {self.web_bind} is no loopback address: it needs a web_token"
            )
        return self


class PatternSettings(Section):
    """What is judged suspicious."""

    file: Path = Path("config/patterns.toml")
    """The file of patterns, relative to the working directory."""


class ScoringSettings(Section):
    """What judges beside the patterns."""

    model: Path | None = None
    """A fitted model, as `sluicegate fit` writes it, with the file of patterns; none by default."""


class LiaisonSettings(Section):
    """The liaison consumer: from alerts to the database of the desk."""

    group: str = Field(default="sluicegate-liaison", min_length=1)
    """Consumer group of the liaison consumers."""
    database_url: str = Field(default="", repr=False)
    """SQLAlchemy URL of the database; empty: SQLite under the user's state directory."""
    case_gap_hours: float = Field(default=24, gt=0)
    """An alert that occurs later than this after the last one of its account opens a new case."""
    reviews_a_day: int = Field(default=200, ge=1)
    """Cases that people can review in a day: the worst of the last day, the rest is on watch."""
    metrics_port: int = Field(default=9403, ge=0, le=65535)
    """Port of the liaison consumer's Prometheus page; 0 chooses a free one."""

    @property
    def url(self) -> str:
        """The URL of the database, the default one filled in."""
        return self.database_url or _default_database("liaison.db")


class CounterSettings(Section):
    """The counter: checks of intended transactions over HTTP, and the tellers' page."""

    bind: str = "127.0.0.1"
    """Address on which the counter listens."""
    port: int = Field(default=6200, ge=0, le=65535)
    """Port of the counter; 0 chooses a free one."""
    workers: str = Field(
        default="127.0.0.1:6101", pattern=r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$"
    )
    """Web servers of the workers: `host:port`, several with commas; a host may stand for many."""
    cert_file: Path | None = None
    """PEM file of the counter's certificate; absent: plain HTTP."""
    key_file: Path | None = None
    """PEM file of the key of `cert_file`."""
    database_url: str = Field(default="", repr=False)
    """SQLAlchemy URL of keys, checks and outcomes; empty: SQLite in the user's state directory."""
    rules_file: Path = Path("config/counter.toml")
    """Rules over customer facts and policies, relative to the working directory."""
    deadline_ms: int = Field(default=300, ge=10, le=60_000)
    """So long the judgement of a check may take; then the policy of the channel answers."""
    max_lag_ms: int = Field(default=2_000, ge=0)
    """A worker further behind its log than this counts as not able to judge."""
    max_in_flight: int = Field(default=128, ge=1)
    """Checks and batches that are worked on at once; more are refused with 503."""
    key_checks_per_second: float = Field(default=50, gt=0)
    """Checks that one key may ask for in a second, on average over some seconds."""
    desk_phone: str = ""
    """Telephone number of the liaison desk, shown to tellers."""
    metrics_port: int = Field(default=9404, ge=0, le=65535)
    """Port of the counter's Prometheus page; 0 chooses a free one."""

    @property
    def url(self) -> str:
        """The URL of the database, the default one filled in."""
        return self.database_url or _default_database("counter.db")

    @model_validator(mode="after")
    def _has_both_tls_files(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        return self


class DeskSettings(Section):
    """The desk: the web application of bank and police. Its database is that of `liaison`."""

    bind: str = "127.0.0.1"
    """Address on which the desk listens."""
    port: int = Field(default=6300, ge=0, le=65535)
    """Port of the desk; 0 chooses a free one."""
    cert_file: Path | None = None
    """PEM file of the desk's certificate; absent: plain HTTP."""
    key_file: Path | None = None
    """PEM file of the key of `cert_file`."""
    group: str = Field(default="sluicegate-desk", min_length=1)
    """Consumer group of the desks, which read core banking's answers."""
    behind_tls: bool = False
    """Whether something before the desk ends TLS: then cookies are for TLS alone."""
    proxies: str = Field(default="", pattern=r"^([0-9A-Fa-f.:]+(,|$))*$")
    """Addresses, with commas, whose `X-Forwarded-For` is believed: lock-out is by address."""
    secrets_key_file: Path | None = None
    """File of Fernet keys, one a line, that encrypt secrets of one-time codes; absent: plain."""
    oidc_issuer: str = ""
    """OpenID provider whose people may sign in, as it calls itself; empty: passwords alone."""
    oidc_client_id: str = ""
    """What the provider calls the desk."""
    oidc_client_secret: SecretStr | None = None
    """Better given as `SLUICEGATE_DESK__OIDC_CLIENT_SECRET` than in a file; absent: PKCE alone."""
    oidc_claim: str = Field(default="preferred_username", min_length=1)
    """Claim of the ID token that holds a person's user name at the desk."""
    oidc_button: str = Field(default="", max_length=64)
    """What the button of the provider says; empty: words of the desk's own."""
    claim_minutes: int = Field(default=5, ge=1)
    """Service level: from the first alert of a case to its claim, in minutes."""
    decide_minutes: int = Field(default=15, ge=1)
    """Service level: from the claim to the decision, in minutes."""
    stop_minutes: int = Field(default=10, ge=1)
    """Service level: from the police's call to the stop-payment, in minutes."""
    warn_minutes: int = Field(default=120, ge=1)
    """So long before a measure expires the desk warns of it, in minutes."""
    shift_hours: int = Field(default=8, ge=1, le=24)
    """Length of a shift, in hours; the first begins at 08:00 local time."""
    identity_queries_an_hour: int = Field(default=60, ge=1)
    """Identity queries that one person may make in an hour."""
    metrics_port: int = Field(default=9405, ge=0, le=65535)
    """Port of the desk's Prometheus page; 0 chooses a free one."""

    @model_validator(mode="after")
    def _has_both_tls_files(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        return self

    @model_validator(mode="after")
    def _has_a_provider_as_a_whole(self) -> Self:
        if not self.oidc_issuer:
            return self
        if not self.oidc_client_id:
            raise ValueError("oidc_issuer also needs oidc_client_id")
        parts = urlsplit(self.oidc_issuer)
        is_local = parts.scheme == "http" and is_loopback(parts.hostname or "")
        if parts.scheme != "https" and not is_local:
            raise ValueError("oidc_issuer must begin with https://")
        return self

    @property
    def trusted_proxies(self) -> frozenset[str]:
        """The addresses of `proxies`."""
        return frozenset(self.proxies.split(",")) - {""}

    @property
    def is_tls(self) -> bool:
        """Whether browsers reach the desk by TLS."""
        return self.cert_file is not None or self.behind_tls


class MetricsSettings(Section):
    """Where the parts show their figures to Prometheus."""

    bind: str = "127.0.0.1"
    """Address on which the Prometheus pages listen."""
    max_lag_seconds: float = Field(default=60, gt=0)
    """A router or worker further behind in event time says at `/readyz` that it is not ready."""


class LogSettings(Section):
    """What each part says of what happens, a line each, to stderr."""

    format: Literal["auto", "json", "text"] = "auto"
    """`json`, `text`, or `auto`: text where stderr is a terminal, else JSON."""
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is said: `DEBUG`, `INFO`, `WARNING` or `ERROR`."""
    levels: str = Field(default="", pattern=r"^([A-Za-z0-9_.]+=[A-Z]+(,|$))*$")
    """Other levels for some modules: `sluicegate.streaming=DEBUG,kafka=INFO`."""


class TracingSettings(Section):
    """OpenTelemetry traces of the counter's checks; they need the extra `tracing`."""

    endpoint: str = ""
    """Where they are sent, OTLP over HTTP: `http://collector:4318/v1/traces`; empty: nowhere."""
    share: float = Field(default=1.0, ge=0, le=1)
    """Share of the checks that are traced."""


def _default_database(name: str) -> str:
    return f"sqlite:///{platformdirs.user_state_path('sluicegate', appauthor=False) / name}"


class Settings(BaseSettings):
    """All settings. What the environment says wins over what the file says."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
    )

    broker: BrokerSettings = BrokerSettings()
    topics: TopicSettings = TopicSettings()
    contract: ContractSettings = ContractSettings()
    router: RouterSettings = RouterSettings()
    worker: WorkerSettings = WorkerSettings()
    patterns: PatternSettings = PatternSettings()
    scoring: ScoringSettings = ScoringSettings()
    liaison: LiaisonSettings = LiaisonSettings()
    counter: CounterSettings = CounterSettings()
    desk: DeskSettings = DeskSettings()
    metrics: MetricsSettings = MetricsSettings()
    logs: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    def changed(self, **sections: Mapping[str, Any]) -> Self:
        """The same settings but for these fields, by section; they are not checked again."""
        return self.model_copy(
            update={
                name: getattr(self, name).model_copy(update=dict(fields))
                for name, fields in sections.items()
            }
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment before the values of the file, which come in as arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings of `path`, or of the usual places, under the environment's overrides.

    Raises:
        Problem: The file is missing or wrong, or an override is; it names the nearest known key.
    """
    file = settings_file(path)
    values = _read_toml(file) if file else {}
    source = str(file) if file else "defaults"
    mistakes = [*_unknown_overrides(os.environ)]
    try:
        settings = Settings(**values)
    except ValidationError as error:
        mistakes += [_mistake(source, each) for each in error.errors()]
    except SettingsError as error:
        raise Problem("environment: a value cannot be read", str(error)) from error
    if mistakes:
        raise _problem(mistakes)
    return settings


def settings_file(path: Path | None = None) -> Path | None:
    """The file that is read: `path`, $SLUICEGATE_CONFIG, ./config/sluicegate.toml, or none."""
    if path is not None:
        return path
    named = os.environ.get(PATH_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_PATH if DEFAULT_PATH.is_file() else None


def known_keys() -> list[str]:
    """Every setting as `section.field`, in the order of the page."""
    return [f"{section}.{name}" for section, name, _ in _fields()]


def _fields() -> Iterator[tuple[str, str, FieldInfo]]:
    for section, model in _sections():
        for name, field in model.model_fields.items():
            yield section, name, field


def _sections() -> Iterator[tuple[str, type[Section]]]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield name, field.annotation


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Problem(
            f"{file}: there is no such settings file",
            hint=f"name another with --config or {PATH_VARIABLE}",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{file}: cannot be read", str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise Problem(f"{file}: not valid TOML", str(error)) from error


def _unknown_overrides(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Overrides that pydantic-settings would pass over in silence: those of no known section."""
    sections = [name for name, _ in _sections()]
    for variable in sorted(environment):
        if not variable.upper().startswith(ENVIRONMENT_PREFIX) or "__" not in variable:
            continue
        section = variable[len(ENVIRONMENT_PREFIX) :].lower().partition("__")[0]
        if section not in sections:
            hint = _nearest(section, sections)
            yield f"environment: {variable}: unknown section {section!r}", hint


def _mistake(source: str, error: ErrorDetails) -> tuple[str, str]:
    """The fact and the hint of one error of pydantic."""
    key = ".".join(str(part) for part in error["loc"])
    variable = ENVIRONMENT_PREFIX + key.upper().replace(".", "__")
    where = f"environment: {variable}" if variable in os.environ else f"{source}: {key}"
    if error["type"] == "extra_forbidden":
        candidates = known_keys() if "." in key else [name for name, _ in _sections()]
        return f"{where}: unknown setting", _nearest(key, candidates)
    what = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) else ""
    return f"{where}: {what}{shown}", ""


def _nearest(key: str, known: Sequence[str]) -> str:
    """A hint at the known key that `key` was meant to be, or the sections to choose from."""
    close = get_close_matches(key, known, n=1, cutoff=0.6)
    by_name = [each for each in known if each.rpartition(".")[2] == key.rpartition(".")[2]]
    for meant in close + by_name:
        return f"did you mean {meant}?"
    return "docs/settings.md lists all settings"


def _problem(mistakes: Sequence[tuple[str, str]]) -> Problem:
    if len(mistakes) == 1:
        fact, hint = mistakes[0]
        return Problem(fact, hint=hint)
    lines = [f"{fact}; {hint}" if hint else fact for fact, hint in mistakes]
    return Problem(f"{len(mistakes)} mistakes in the settings", "\n".join(lines))


PAGE_HEAD = """\
# Settings

Generated from src/sluicegate/settings.py by `python -m sluicegate.settings`; do not edit.

The file is the one named by `--config`, else by `SLUICEGATE_CONFIG`, else
`config/sluicegate.toml` of the working directory if it exists, else none. Each setting can be
overridden by an environment variable: `SLUICEGATE_BROKER__BOOTSTRAP=kafka:9092` stands for
`bootstrap` of `[broker]`. A name that is not in this page stops the start.
"""


def settings_page() -> str:
    """The page docs/settings.md, in Markdown."""
    return PAGE_HEAD + "".join(_section_page(name, model) for name, model in _sections())


def _section_page(name: str, model: type[Section]) -> str:
    head = f"\n## [{name}]\n{(model.__doc__ or '').strip()}\n\n"
    columns = "| setting | type | default | meaning |\n|---|---|---|---|\n"
    rows = "".join(_row(key, field) for key, field in model.model_fields.items())
    return head + columns + rows


def _row(key: str, field: FieldInfo) -> str:
    return f"| `{key}` | {_kind(field.annotation)} | {_default(field)} | {field.description} |\n"


def _kind(annotation: object) -> str:
    """The type as one who writes TOML thinks of it."""
    if get_origin(annotation) is Literal:
        return "one of the named"
    inner = [each for each in get_args(annotation) if each is not type(None)]
    if inner:
        return _kind(inner[0])
    words = {
        bool: "true or false",
        str: "text",
        int: "integer",
        float: "number",
        Path: "path",
        SecretStr: "secret",
    }
    return words[annotation] if isinstance(annotation, type) else str(annotation)


def _default(field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "" if default in (None, "") else f"`{default}`"


if __name__ == "__main__":
    sys.stdout.write(settings_page())
