"""Policies of `file_system` that cheat: an honest one, which knows the future if it can get at it.

What they look up are sequences of blocks. If one of them begins as the run does that is measured,
they give up the block whose next use is farthest (Belady's optimum); if none does, they do what
the honest policy does. So they are never worse than it, and any gain is a gain by cheating.
"""

from __future__ import annotations

import base64
import textwrap
import zlib
from pathlib import Path

from workers.problems import find_problem
from workers.problems.file_system.problem import BufferCache
from workers.problems.problem import defaults

PACKAGE = Path(__file__).parents[2]
CHEAT = """

from bisect import bisect_right
from collections import OrderedDict

Honest = Policy
KNOWN = []
WAYS = []


class Policy:
    def __init__(self, capacity_blocks):
        self.honest = Honest(capacity_blocks)
        self.capacity_blocks = capacity_blocks
        self.started = 0
        self.past = []
        self.resident = OrderedDict()
        self.uses = None
        self.decided = False

    def hit(self, block):
        self.past.append(block)
        self.resident.move_to_end(block)
        if self.uses is None:
            self.honest.hit(block)

    def insert(self, block):
        if self.started < self.capacity_blocks:
            self.started += 1
        else:
            self.past.append(block)
        self.resident[block] = None
        if self.uses is None:
            self.honest.insert(block)

    def replace(self, block):
        self.past.append(block)
        if not self.decided:
            self.decide()
        victim = self.honest.replace(block) if self.uses is None else self.farthest()
        del self.resident[victim]
        self.resident[block] = None
        return victim

    def decide(self):
        self.decided = True
        for seek in WAYS:
            try:
                KNOWN.extend(seek())
            except Exception:
                pass
        here = len(self.past)
        for future in KNOWN:
            if here < len(future) and list(future[:here]) == self.past:
                self.uses = {}
                for index, block in enumerate(future):
                    self.uses.setdefault(block, []).append(index)
                break
        KNOWN.append(self.past)

    def farthest(self):
        now = len(self.past) - 1
        best, victim = -1, None
        for block in self.resident:
            uses = self.uses.get(block, ())
            later = bisect_right(uses, now)
            if later == len(uses):
                return block
            if uses[later] > best:
                best, victim = uses[later], block
        return victim
"""
SEEKERS = {
    "frames_of_its_caller": """
        import sys
        def seek():
            frame, found = sys._getframe(), []
            while frame is not None:
                found += [frame.f_locals["references"]] if "references" in frame.f_locals else []
                frame = frame.f_back
            return found
    """,
    "all_objects": """
        import gc
        def seek():
            every = (one for one in gc.get_objects() if type(one).__name__ == "Scenario")
            return [one.references for one in every if hasattr(one, "references")]
    """,
    "recordings_of_the_package": """
        def seek():
            from workers.problems import find_problem
            problem = find_problem("file_system")
            names = (*problem.training_workloads, *problem.held_out_workloads)
            return [one.references for name in names for one in problem.recorded(name)]
    """,
    "recordings_on_the_disk": """
        import gzip, os, sys
        def seek():
            found = []
            for place in ("PACKAGE", *sys.path, "/"):
                folder = os.path.join(place, "workers/problems/traces")
                for name in os.listdir(folder) if os.path.isdir(folder) else ():
                    if "-" in name and name.count("-") == 1:
                        found += readings(gzip.open(os.path.join(folder, name), "rt").read())
            return found

        def readings(trace):
            blocks, last = [], -1
            for line in trace.splitlines():
                file, offset, length = map(int, line.split())
                for index in range(offset // 4096, (offset + length - 1) // 4096 + 1):
                    if (block := (file << 20) + index) != last:
                        blocks.append(block)
                        last = block
            return [blocks[1500:]]
    """,
    "seed_of_the_workload": """
        import os
        def seek():
            from workers.problems import find_problem
            from workers.validation.seed import seed_of
            problem = find_problem("file_system")
            seed = os.environ["COORD_VALIDATION_SEED"].encode()
            scenarios = problem.generated(seed_of(seed, problem.name))
            return [one.references for one in scenarios]
    """,
    "waiting_questions": """
        import json, os, select
        def seek():
            found = []
            for descriptor in range(64):
                if select.select([descriptor], [], [], 0)[0]:
                    calls = json.loads(os.read(descriptor, 1 << 16))
                    found.append([arguments[0] for target, method, arguments in calls])
            return found
    """,
    "remembered_scenarios": """
        def seek():
            return []
    """,
}
"""How a policy may come by the future; the last remembers what it was asked in the same run."""


def honest_source() -> str:
    problem = find_problem("file_system")
    assert isinstance(problem, BufferCache)
    return problem.component_source(defaults(problem.parameters))


def cheating_source(*seekers: str) -> str:
    """The honest policy's source, with what looks the future up in each of these ways."""
    parts = [f"{textwrap.dedent(seeker)}\nWAYS.append(seek)" for seeker in seekers]
    return "\n".join((honest_source(), CHEAT, *parts)).replace("PACKAGE", str(PACKAGE))


def memorised_seeker() -> str:
    """All recordings that the package has of the problem, learned by heart."""
    problem = BufferCache()
    names = (
        *problem.training_workloads,
        *problem.development_workloads,
        *problem.held_out_workloads,
    )
    runs = {one.references for name in names for one in problem.recorded(name)}
    text = base64.b64encode(zlib.compress(repr(sorted(runs)).encode(), 9)).decode()
    lines = "\n".join(textwrap.wrap(text, 100))
    return f'''
import ast, base64, zlib

LEARNED = """
{lines}
"""

def seek():
    return ast.literal_eval(zlib.decompress(base64.b64decode(LEARNED)).decode())
'''
