"""Spans to a collector, by OpenTelemetry's own exporter; needs the extra ``coord[otel]``."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException, Timeout

from cli.traces.spans import Span
from coordinator.errors import CoordError
from coordinator.messages import one_line

NS = 1_000_000
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
TIMEOUT_S = 2.0
"""So long an answer is waited for, unless one of TIMEOUTS says otherwise: what was not taken is
sent again, and Ctrl-C waits for it."""
REASON_MAX = 300


class Collector:
    """Where spans go: as the standard variables OTEL_EXPORTER_OTLP_… say. ``attributes`` are those
    of the resource, beside those of OTEL_RESOURCE_ATTRIBUTES."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        for name in ENDPOINTS:
            _check_endpoint(name)
        self._failures = _Failures()
        log = logging.getLogger("opentelemetry")
        log.addHandler(self._failures)  # whoever sends says what came of it
        log.propagate = False
        is_set = any(os.environ.get(name) for name in TIMEOUTS)
        timeout_s = None if is_set else TIMEOUT_S
        self._exporter = OTLPSpanExporter(timeout=timeout_s, session=_session(self._failures))
        self._resource = Resource.create(attributes)
        self._scope = InstrumentationScope("coord")

    def send(self, spans: Sequence[Span]) -> str:
        """Why the collector did not take them; "" if it did."""
        made = [self._made(span) for span in spans]
        self._failures.first = ""
        if self._exporter.export(made) is SpanExportResult.SUCCESS:
            return ""
        return one_line(self._failures.first, REASON_MAX) or "the exporter gives no reason"

    def _made(self, span: Span) -> ReadableSpan:
        has_failed = span.error is not None
        return ReadableSpan(
            span.name,
            context=_context(span.trace_id, span.span_id),
            parent=_context(span.trace_id, span.parent_id) if span.parent_id else None,
            resource=self._resource,
            attributes=span.attributes,
            kind=SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, span.error) if has_failed else Status(),
            start_time=span.begin_ms * NS,
            end_time=span.end_ms * NS,
            instrumentation_scope=self._scope,
        )


class _Failures(logging.Handler):
    """What failed ``first`` since that was emptied, by the connection or by the exporter's log:
    what follows from it says less."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.note(record.getMessage())

    def note(self, failure: str) -> None:
        self.first = self.first or failure


class _Connections(HTTPAdapter):
    """Notes why a collector cannot be reached."""

    def __init__(self, failures: _Failures) -> None:
        super().__init__()
        self._failures = failures

    def send(self, request: PreparedRequest, *given: Any, **named: Any) -> Response:
        try:
            return super().send(request, *given, **named)
        except RequestException as error:
            parts = urlsplit(str(request.url))
            self._failures.note(f"{_why(error)} at {parts.hostname}:{parts.port or parts.scheme}")
            raise


def _session(failures: _Failures) -> Session:
    session = Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Connections(failures))
    return session


def _why(error: RequestException) -> str:
    """In a few words what the system says; the library wraps that again and again."""
    if isinstance(error, Timeout):
        return "no answer in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _check_endpoint(name: str) -> None:
    """CoordError if that variable is set, and no URL of a collector."""
    try:
        parts = urlsplit(os.environ.get(name) or "http://localhost")
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise CoordError(f"{name} is no URL of a collector: it is like http://localhost:4318")


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(1)
    )
