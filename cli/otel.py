"""Spans to a collector, by OpenTelemetry's own exporter; needs the extra ``coord[otel]``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from reports.spans import Span

NS = 1_000_000


class Collector:
    """Where spans go: as the standard variables OTEL_EXPORTER_OTLP_… say. ``attributes`` are those
    of the resource, beside those of OTEL_RESOURCE_ATTRIBUTES."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        log = logging.getLogger("opentelemetry")
        log.addHandler(logging.NullHandler())  # whoever sends says what came of it
        log.propagate = False
        self._exporter = OTLPSpanExporter()
        self._resource = Resource.create(attributes)
        self._scope = InstrumentationScope("coord")

    def send(self, spans: Sequence[Span]) -> bool:
        """Whether the collector took them."""
        made = [self._made(span) for span in spans]
        return self._exporter.export(made) is SpanExportResult.SUCCESS

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


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(1)
    )
