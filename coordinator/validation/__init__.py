"""Validations: what is shared is judged, and what came of it is stored, counts and is told."""
