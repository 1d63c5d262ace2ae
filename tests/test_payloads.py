"""Payload models: what each demands, and the field and rule that an error names."""

from __future__ import annotations

import math
from typing import Any

import pytest

from coordinator.errors import BadMessage
from coordinator.orders import Cancel, DeadLetter, Retract, Retry, Steer
from coordinator.payloads import (
    CodeShare,
    CollaborationRequest,
    CollaborationResponse,
    ComponentShare,
    FeatureRequest,
    FeatureResponse,
    Goodbye,
    Heartbeat,
    Hello,
    PatternShare,
    Payload,
    PerformanceReport,
    Query,
    WorkResult,
    WorkspaceUpdate,
    parse_payload,
)

TYPE = "feature_development"
RESULT = {"session_id": "s", "unit_id": "s-1", "attempt": 1, "outcome": "completed"}
CURSOR = {"epoch": "e", "log": 1, "inbox": 2}


@pytest.mark.parametrize(
    ("model", "payload"),
    [
        (Hello, {}),
        (Hello, {"specialization": "c++", "capabilities": ["a.b"], "cursor": CURSOR, "own": [1]}),
        (Hello, {"version": {"any": "thing"}}),
        (Heartbeat, {}),
        (Heartbeat, {"load": "high", "status": 7}),
        (Goodbye, {"reason": "tired"}),
        (PatternShare, {"pattern": {}}),
        (PatternShare, {"pattern": {"id": "a b/ü", "confidence": 1, "own": {"x": None}}}),
        (CodeShare, {"code": {"name": "n", "code": "print()", "dependencies": [{"a": 1}, "b"]}}),
        (ComponentShare, {"component": {"component_name": "n"}, "original_requestor": "AI_1"}),
        (PerformanceReport, {"component_id": "c", "performance": {"ms": 1, "ratio": -0.5}}),
        (Query, {"what": "ais"}),
        (Query, {"what": "patterns", "filter": {"specialization": "audio"}, "limit": 100}),
        (Retract, {"id": "p"}),
        (DeadLetter, {"id": "1750000000000-0"}),
        (CollaborationRequest, {"type": TYPE}),
        (CollaborationRequest, {"type": TYPE, "target_ai": "AI_1", "participants": 16, "own": 1}),
        (CollaborationRequest, {"type": TYPE, "plan": [{"name": "a", "kind": "k", "limit_s": 1}]}),
        (CollaborationResponse, {"session_id": "s", "accept": False, "reason": "busy"}),
        (FeatureRequest, {"feature": "file cache (.*)", "requirements": {"x": [1]}}),
        (FeatureResponse, {"request_id": "s", "accept": True}),
        (WorkspaceUpdate, {"session_id": "s", "key": "k", "value": None, "expected_version": 0}),
        (WorkResult, RESULT),
        (WorkResult, RESULT | {"progress": 1, "output": {"a": 1}, "workspace": {"k": [1]}}),
        (Steer, {"ai": "AI_1", "reason": "r"}),
        (Cancel, {"session_id": "s"}),
        (Retry, {"unit_id": "s-1"}),
    ],
)
def test_good_ones(model: type[Payload], payload: dict[str, Any]) -> None:
    parsed = parse_payload(model, payload)
    assert parsed.model_dump(exclude_unset=True) == payload


def test_unknown_fields_are_kept() -> None:
    assert parse_payload(Hello, {"own": {"a": 1}}).model_dump()["own"] == {"a": 1}


@pytest.mark.parametrize(
    ("model", "payload", "field", "rule"),
    [
        (
            Hello,
            {"specialization": "two words"},
            "specialization",
            "is not a word: 1 to 64 letters",
        ),
        (Hello, {"specialization": ""}, "specialization", "is not a word: 1 to 64 letters"),
        (Hello, {"specialization": None}, "specialization", "should be a valid string"),
        (Hello, {"capabilities": "one"}, "capabilities", "should be a valid list"),
        (Hello, {"capabilities": ["a", "b:c"]}, "capabilities.1", "is not a word"),
        (Hello, {"capabilities": ["a"] * 65}, "capabilities", "at most 64"),
        (Hello, {"features_supported": [1]}, "features_supported.0", "valid string"),
        (Hello, {"collaboration_ready": "yes"}, "collaboration_ready", "valid boolean"),
        (Hello, {"cursor": {"epoch": "e", "log": 1}}, "cursor.inbox", "is missing"),
        (Hello, {"cursor": {**CURSOR, "log": -1}}, "cursor.log", "greater than or equal to 0"),
        (Hello, {"cursor": 7}, "cursor", "should be an object"),
        (Goodbye, {"reason": "x" * 501}, "reason", "at most 500 characters"),
        (Goodbye, {"reason": 1}, "reason", "valid string"),
        (PatternShare, {}, "pattern", "is missing"),
        (PatternShare, {"pattern": []}, "pattern", "should be an object"),
        (PatternShare, {"pattern": {"id": ""}}, "pattern.id", "is not a record's id: 1 to 128"),
        (PatternShare, {"pattern": {"id": 7}}, "pattern.id", "valid string"),
        (PatternShare, {"pattern": {"id": "a\nb"}}, "pattern.id", "is not a record's id: 1 to 128"),
        (PatternShare, {"pattern": {"id": " a"}}, "pattern.id", "is not a record's id: 1 to 128"),
        (
            PatternShare,
            {"pattern": {"id": "x" * 129}},
            "pattern.id",
            "is not a record's id: 1 to 128",
        ),
        (PatternShare, {"pattern": {"confidence": "0.5"}}, "pattern.confidence", "valid number"),
        (PatternShare, {"pattern": {"confidence": math.nan}}, "pattern.confidence", "finite"),
        (
            PatternShare,
            {"pattern": {"specialization": "a:b"}},
            "pattern.specialization",
            "is not a word",
        ),
        (CodeShare, {"code": {"code": 1}}, "code.code", "valid string"),
        (CodeShare, {"code": {"dependencies": "numpy"}}, "code.dependencies", "valid list"),
        (ComponentShare, {"component": 1}, "component", "should be an object"),
        (
            ComponentShare,
            {"component": {}, "original_requestor": "a b"},
            "original_requestor",
            "is not an id",
        ),
        (PerformanceReport, {"performance": {"a": 1}}, "component_id", "is missing"),
        (PerformanceReport, {"component_id": "c"}, "performance", "is missing"),
        (PerformanceReport, {"component_id": "c", "performance": {}}, "performance", "at least 1"),
        (
            PerformanceReport,
            {"component_id": "c", "performance": {"ms": "fast"}},
            "performance.ms",
            "valid number",
        ),
        (
            PerformanceReport,
            {"component_id": "c", "performance": {"ms": math.inf}},
            "performance.ms",
            "must be a finite number",
        ),
        (
            PerformanceReport,
            {"component_id": "c", "performance": {str(i): i for i in range(257)}},
            "performance",
            "at most 256",
        ),
        (Query, {}, "what", "is missing"),
        (Query, {"what": "secrets"}, "what", "'ais', 'patterns', 'components'"),
        (Query, {"what": "ais", "limit": 0}, "limit", "greater than or equal to 1"),
        (Query, {"what": "ais", "limit": 101}, "limit", "less than or equal to 100"),
        (Query, {"what": "ais", "filter": {"specialization": 1}}, "filter.specialization", ""),
        (Query, {"what": "ais", "cursor": "x" * 129}, "cursor", "at most 128"),
        (CollaborationRequest, {"type": "other"}, "type", "'feature_development'"),
        (CollaborationRequest, {"type": TYPE, "participants": 17}, "participants", "equal to 16"),
        (CollaborationRequest, {"type": TYPE, "participants": 0}, "participants", "equal to 1"),
        (CollaborationRequest, {"type": TYPE, "plan": []}, "plan", "at least 1"),
        (
            CollaborationRequest,
            {"type": TYPE, "plan": [{"name": "a b", "kind": "k"}]},
            "plan.0.name",
            "is not a word",
        ),
        (
            CollaborationRequest,
            {"type": TYPE, "plan": [{"name": "a", "kind": "k", "tries": 21}]},
            "plan.0.tries",
            "less than or equal to 20",
        ),
        (CollaborationResponse, {"session_id": "s", "accept": 1}, "accept", "valid boolean"),
        (CollaborationResponse, {"session_id": "", "accept": True}, "session_id", "at least 1"),
        (FeatureRequest, {"feature": ""}, "feature", "1 to 128"),
        (FeatureRequest, {"feature": "a\nb"}, "feature", "1 to 128"),
        (FeatureRequest, {"feature": "f", "requirements": []}, "requirements", "dictionary"),
        (WorkspaceUpdate, {"session_id": "s", "key": "k"}, "value", "is missing"),
        (WorkspaceUpdate, {"session_id": "s", "key": "k k", "value": 1}, "key", "is not a word"),
        (WorkResult, RESULT | {"attempt": 0}, "attempt", "greater than or equal to 1"),
        (WorkResult, RESULT | {"outcome": "lost"}, "outcome", "'running'"),
        (WorkResult, RESULT | {"progress": 1.5}, "progress", "less than or equal to 1"),
        (WorkResult, RESULT | {"progress": math.nan}, "progress", "finite"),
        (Steer, {"ai": "a b"}, "ai", "is not an id"),
        (Retract, {}, "id", "is missing"),
        (DeadLetter, {"id": "+"}, "id", "such as 1750000000000-0"),
        (DeadLetter, {"id": "1"}, "id", ""),
        (DeadLetter, {"id": "1-1\n"}, "id", ""),
    ],
)
def test_bad_ones(model: type[Payload], payload: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(BadMessage) as caught:
        parse_payload(model, payload)
    assert (caught.value.code, caught.value.field) == ("bad_payload", f"payload.{field}")
    assert caught.value.detail.startswith(f"payload.{field} ")
    assert rule in caught.value.detail
