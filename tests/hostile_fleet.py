"""A fleet in which every text that an AI, or a stranger with a Redis client, may choose is an
attack on whoever looks at it."""

from __future__ import annotations

import json
from typing import Any

from tests.fleet import FleetUnderTest, python

SCRIPT = "<script>window.owned=1</script>"
BREAK_OUT = '"><img src=x onerror=window.owned=1>'
LINK = "javascript:window.owned=1"
UNSEEN = "\u202egnp.exe\u200b\u2066\ufeff"
EVIL = (
    f"</script></style></title></textarea></code></pre>{SCRIPT}{BREAK_OUT}'"
    f"<svg onload=window.owned=1><a href='{LINK}'>x</a>"
    f"<link rel=stylesheet href=//evil.example/x><iframe src=//evil.example></iframe>"
    f"{{{{7*7}}}}{{% raw %}}${{alert(1)}}{UNSEEN}\u2028"
)
RECORD_ID = f"../{BREAK_OUT}{SCRIPT}?x=1#y%2F{UNSEEN}"
PATTERN_ID = f"{LINK}//{SCRIPT}"
AI_ID = f'{SCRIPT}"onclick=window.owned=1 x="'
"""Of an AI that no coordinator knows: a stranger has written its keys."""
LONG = "x" * 10_000
EVIL_JSON = {EVIL: [EVIL, {BREAK_OUT: LONG}], LINK: None, "__proto__": {"owned": 1}, "": 1e300}


class HostileFleet:
    """Puts it into ``fleet``."""

    def __init__(self, fleet: FleetUnderTest) -> None:
        self._fleet = fleet

    def fill(self) -> dict[str, str]:
        """Have it all happen; ids of something of each kind, by the names that the paths of pages
        have for them."""
        self._join()
        self._share()
        session_id = self._work()
        letter_id = self._write_keys()
        return {
            "ai_id": "AI_1",
            "a": "AI_1",
            "b": "AI_2",
            "name": "buffer_cache",
            "kind": "component",
            "id": RECORD_ID,
            "session_id": session_id,
            "unit_id": f"{session_id}-1",
            "source": "log",
            "n": "3",
            "letter_id": letter_id,
        }

    def _join(self) -> None:
        hello = {"version": EVIL_JSON, "features_supported": [EVIL, LONG], EVIL: EVIL}
        for ai in ("AI_1", "AI_2"):
            self._fleet.say(ai, "hello", {**hello, "skills": ["echo"]})
            self._say(ai, "heartbeat", {"load": 0.5, "status": EVIL})
        self._fleet.enroll("Validator_1", role="validator")
        self._fleet.join("Validator_1", evaluators={"buffer_cache": EVIL[:128]})
        self._fleet.join("AI_3")
        self._fleet.say("AI_3", "goodbye", {"reason": EVIL})
        self._fleet.run()

    def _share(self) -> None:
        pattern = {"id": PATTERN_ID, "type": EVIL, **EVIL_JSON, "derived_from": RECORD_ID}
        self._say("AI_1", "pattern_share", {"pattern": pattern, EVIL: EVIL})
        self._say("AI_2", "code_share", {"code": python(RECORD_ID, f"{EVIL}\n{LONG}", **EVIL_JSON)})
        self._judge(RECORD_ID, verdict="failed", reason=EVIL[:500])
        derived = python("AI_1-1", EVIL, name=EVIL, derived_from=RECORD_ID)
        self._say("AI_1", "code_share", {"code": derived})
        self._judge("AI_1-1", verdict="passed", score=0.5, tests=[EVIL[:200]], dropped=[EVIL[:200]])
        self._say(
            "AI_2", "performance_report", {"component_id": RECORD_ID, "performance": {EVIL: 1}}
        )
        self._say("AI_1", "message", EVIL_JSON | {"text": EVIL}, "AI_2")

    def _judge(self, record_id: str, **verdict: Any) -> None:
        words = {"cost_unit": EVIL[:100], "sandbox": EVIL[:200], "evaluator": EVIL[:128]}
        problem = "buffer_cache" if verdict["verdict"] == "passed" else SCRIPT
        costs = {"baseline": 8.0, "component": 5.0, "bound": 2.0}
        given = {"problem": problem, "costs": costs, **words, **verdict}
        self._fleet.judge("Validator_1", record_id, **given)

    def _work(self) -> str:
        plan = [{"name": "echo", "kind": "echo", "participant": 1, "inputs": EVIL_JSON, "tries": 1}]
        asked = {"description": EVIL, "requirements": EVIL_JSON, "expertise_offered": [EVIL]}
        declined = self._fleet.ask("AI_1", **asked, target_ai="AI_2")
        self._answer("AI_2", declined, accept=False, reason=EVIL)
        self._fleet.say(
            "AI_1", "feature_request", {"feature": RECORD_ID, "requirements": EVIL_JSON}
        )
        session_id = self._fleet.ask("AI_1", **asked, participants=2, plan=plan)
        self._answer("AI_2", session_id, accept=True)
        for n in range(2):
            update = {"session_id": session_id, "key": f"key{n}", "value": EVIL_JSON}
            self._say("AI_1", "workspace_update", update)
        attempt = {"session_id": session_id, "unit_id": f"{session_id}-1", "attempt": 1}
        result = {**attempt, "outcome": "failed", "reason": EVIL[:500], "output": EVIL_JSON}
        self._say("AI_2", "work_result", result)
        return session_id

    def _answer(self, ai: str, session_id: str, **answer: Any) -> None:
        self._say(ai, "collaboration_response", {"session_id": session_id, **answer})

    def _say(self, ai: str, message_type: str, payload: Any, target: str | None = None) -> None:
        self._fleet.say(ai, message_type, payload, target)
        self._fleet.run()

    def _write_keys(self) -> str:
        """What no coordinator would write; the id of the dead letter."""
        redis, keys = self._fleet.redis, self._fleet.keys
        words = {"status": EVIL, "specialization": EVIL, "instance": EVIL, "door": EVIL}
        numbers = {"load": "0.5", "joined_ms": "1", "heartbeat_ms": "1"}
        redis.hset(keys.ai(AI_ID), mapping={**words, **numbers, "capabilities": json.dumps([EVIL])})
        redis.zadd(keys.leases, {AI_ID: 1e15})
        refused = {"ai_id": AI_ID, "address": BREAK_OUT, "reason": EVIL}
        self._fleet.gateway_says("gateway-1", "login_refused", refused)
        self._fleet.run()
        body = json.dumps({"message_type": EVIL, "payload": EVIL_JSON})
        return self._fleet.bury(door=EVIL, owner=EVIL, instance=EVIL, error=EVIL, body=body)
