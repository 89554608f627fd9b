"""OpenTelemetry traces of the counter's checks: off unless an endpoint is set.

They need the extra `tracing`; without an endpoint nothing of OpenTelemetry is loaded and a span
costs a function call. No account is an attribute of a span; the check's id is.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from sluicegate.errors import Problem
from sluicegate.settings import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_NOTHING: Final = nullcontext()


class Tracing:
    """Makes spans; those within another are its children."""

    def __init__(self, settings: TracingSettings, part: str) -> None:
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None
        if settings.endpoint:
            self._provider = _provider(settings, part)
            self._tracer = self._provider.get_tracer("sluicegate", version("sluicegate"))

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[object]:
        """What is done inside, with its duration."""
        if self._tracer is None:
            return _NOTHING
        return self._tracer.start_as_current_span(name, attributes=attributes)

    def close(self) -> None:
        """Sends what is left."""
        if self._provider is not None:
            self._provider.shutdown()


def _provider(settings: TracingSettings, part: str) -> "TracerProvider":
    with _needs_the_extra():
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415

    resource = Resource.create({"service.name": f"sluicegate-{part}"})
    provider = TracerProvider(ParentBasedTraceIdRatio(settings.share), resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(settings.endpoint)))
    return provider


@contextmanager
def _needs_the_extra() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise Problem(
            "[tracing] endpoint: OpenTelemetry is not installed",
            str(error),
            "install sluicegate[tracing], or leave the endpoint empty",
        ) from error
