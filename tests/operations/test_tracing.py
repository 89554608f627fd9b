"""Traces of the counter's checks: off by default; sent to a collector when one is named."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sluicegate.operations.tracing import Tracing
from sluicegate.settings import TracingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """An OTLP collector, and the spans that it was sent."""
    spans: list[Any] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = ExportTraceServiceRequest.FromString(body)
            for resource in asked.resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    server.shutdown()
    server.server_close()
    thread.join()


def test_spans_reach_the_collector_with_what_is_in_them(
    collector: tuple[str, list[Any]],
) -> None:
    endpoint, spans = collector
    tracing = Tracing(TracingSettings(endpoint=endpoint), "counter")
    with tracing.span("check", check="c1", count=1), tracing.span("judge"):
        pass
    tracing.close()
    told = {span.name: span for span in spans}
    assert told["judge"].parent_span_id == told["check"].span_id
    assert told["judge"].trace_id == told["check"].trace_id
    assert {each.key for each in told["check"].attributes} == {"check", "count"}


def test_a_share_of_nothing_sends_nothing(collector: tuple[str, list[Any]]) -> None:
    endpoint, spans = collector
    tracing = Tracing(TracingSettings(endpoint=endpoint, share=0.0), "counter")
    with tracing.span("check", check="c1"):
        pass
    tracing.close()
    assert spans == []


def test_without_an_endpoint_nothing_of_opentelemetry_is_loaded() -> None:
    code = (
        "import sys\n"
        "import sluicegate.counter.service\n"
        "from sluicegate.operations.tracing import Tracing\n"
        "from sluicegate.settings import TracingSettings\n"
        "with Tracing(TracingSettings(), 'counter').span('check', check='c1'): pass\n"
        "assert 'opentelemetry.sdk' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
