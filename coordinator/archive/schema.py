"""The tables of an archive. People's scripts read them: columns are added at the end, never moved.

======================================  ========================================================
table                                   holds
======================================  ========================================================
messages                                every message of the log, and every one that was sent to
                                        one AI
events                                  all other events, whole
shared_patterns, _components, _features the records as they are: the last revision of each, who
                                        contributed, how often others began from it, its verdict
lineage                                 which record began from which, as ``<kind>:<id>``
benchmarks                              performance reports
validations                             verdicts, one a row
contributions                           the last contribution score of each AI
sessions, units                         the last state of each session, and of each attempt at a
                                        unit
ais                                     who was there, from when to when
audit                                   who was let in and what was refused
gaps                                    numbers that were cut before they were read
epochs                                  where each epoch began, and how many messages the server
                                        had forgotten by then
archive                                 which fleet's it is, its own id, and how far it has come
======================================  ========================================================

``ms`` are milliseconds since 1970. ``epoch`` and ``n`` say where in the history a row comes from.
"""

from __future__ import annotations

APPLICATION_ID = 0x636F7264
"""By which SQLite files of coord are told from others: "cord"."""
VERSION = 1

_VALIDATED = """
    quality_score REAL,
    usage_count INTEGER NOT NULL,
    specialization TEXT NOT NULL,
    revision INTEGER NOT NULL,
    contributors TEXT NOT NULL,
    origins TEXT NOT NULL,
    shared_ms INTEGER NOT NULL,
    hash TEXT NOT NULL,
    verdict TEXT
"""

TABLES = {
    "shared_patterns": """
    pattern_id TEXT PRIMARY KEY,
    pattern_data TEXT NOT NULL,
    contributor TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    usage_count INTEGER NOT NULL,
    specialization TEXT NOT NULL,
    revision INTEGER NOT NULL,
    contributors TEXT NOT NULL,
    origins TEXT NOT NULL,
    shared_ms INTEGER NOT NULL
""",
    "shared_components": f"""
    component_id TEXT PRIMARY KEY,
    component_data TEXT NOT NULL,
    contributor TEXT NOT NULL,
    timestamp TEXT NOT NULL,{_VALIDATED}""",
    "shared_features": f"""
    feature_id TEXT PRIMARY KEY,
    feature_data TEXT NOT NULL,
    contributor TEXT NOT NULL,
    timestamp TEXT NOT NULL,{_VALIDATED}""",
    "lineage": """
    parent TEXT NOT NULL,
    child TEXT NOT NULL,
    is_use INTEGER NOT NULL,
    PRIMARY KEY (parent, child)
""",
    "benchmarks": """
    component_id TEXT NOT NULL,
    reporter TEXT NOT NULL,
    metrics TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    ms INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    n INTEGER NOT NULL,
    source TEXT NOT NULL
""",
    "validations": """
    component_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    contributor TEXT NOT NULL,
    validator TEXT,
    verdict TEXT NOT NULL,
    score REAL,
    problem TEXT NOT NULL,
    workload TEXT NOT NULL,
    evaluator TEXT NOT NULL,
    cost_unit TEXT NOT NULL,
    costs TEXT NOT NULL,
    reason TEXT NOT NULL,
    regression INTEGER NOT NULL,
    ms INTEGER NOT NULL,
    data TEXT NOT NULL,
    epoch TEXT NOT NULL,
    n INTEGER NOT NULL
""",
    "contributions": """
    ai TEXT PRIMARY KEY,
    contribution_score REAL NOT NULL,
    ms INTEGER NOT NULL
""",
    "sessions": """
    session_id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    initiator TEXT NOT NULL,
    target TEXT,
    description TEXT NOT NULL,
    state TEXT NOT NULL,
    participants TEXT NOT NULL,
    progress REAL NOT NULL,
    created_ms INTEGER NOT NULL,
    began_ms INTEGER,
    ended_ms INTEGER,
    reason TEXT NOT NULL,
    component_id TEXT,
    result TEXT,
    session TEXT NOT NULL
""",
    "units": """
    unit_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    ai TEXT NOT NULL,
    state TEXT NOT NULL,
    began_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    output TEXT,
    PRIMARY KEY (unit_id, attempt)
""",
    "ais": """
    ai TEXT PRIMARY KEY,
    specialization TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    first_joined_ms INTEGER NOT NULL,
    last_joined_ms INTEGER NOT NULL,
    left_ms INTEGER,
    joins INTEGER NOT NULL
""",
    "audit": """
    ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    ai TEXT NOT NULL,
    text TEXT NOT NULL,
    data TEXT NOT NULL,
    epoch TEXT NOT NULL,
    n INTEGER NOT NULL
""",
    "messages": """
    source TEXT NOT NULL,
    epoch TEXT NOT NULL,
    n INTEGER NOT NULL,
    ms INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    sender_id TEXT NOT NULL,
    message_type TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    target_ai TEXT,
    payload TEXT NOT NULL,
    PRIMARY KEY (source, epoch, n)
""",
    "events": """
    epoch TEXT NOT NULL,
    n INTEGER NOT NULL,
    ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    ai TEXT NOT NULL,
    text TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (epoch, n)
""",
    "gaps": """
    source TEXT NOT NULL,
    epoch TEXT NOT NULL,
    first_n INTEGER NOT NULL,
    last_n INTEGER NOT NULL,
    ms INTEGER NOT NULL
""",
    "epochs": """
    epoch TEXT PRIMARY KEY,
    ms INTEGER NOT NULL,
    log_n INTEGER NOT NULL,
    events_n INTEGER NOT NULL,
    forgot INTEGER NOT NULL
""",
    "archive": """
    name TEXT PRIMARY KEY,
    value NOT NULL
""",
}
"""The columns of each table."""

JSON_COLUMNS = {
    "shared_patterns": ("pattern_data", "contributors", "origins"),
    "shared_components": ("component_data", "contributors", "origins", "verdict"),
    "shared_features": ("feature_data", "contributors", "origins", "verdict"),
    "benchmarks": ("metrics",),
    "validations": ("costs", "data"),
    "sessions": ("participants", "result", "session"),
    "units": ("output",),
    "ais": ("capabilities",),
    "audit": ("data",),
    "messages": ("payload",),
    "events": ("data",),
}
"""Which of them hold JSON."""

INDEXES = {
    "messages_by_ms": "messages (ms)",
    "events_by_ms": "events (ms)",
    "lineage_by_child": "lineage (child)",
    "benchmarks_by_component": "benchmarks (component_id)",
    "validations_by_component": "validations (component_id)",
    "units_by_session": "units (session_id)",
}

DEFINITIONS = (
    *(f"CREATE TABLE {name} ({columns})" for name, columns in TABLES.items()),
    *(f"CREATE INDEX {name} ON {columns}" for name, columns in INDEXES.items()),
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
"""What makes an archive of an empty database."""
