"""What becomes of messages, as spans for OpenTelemetry."""
