"""What trainers can do: one skill for each kind of unit.

Those of others plug in by the entry-point group ``coord.skills``: its name is the kind of unit.
"""

from __future__ import annotations

from workers.skills.developing import (
    DevelopFeature,
    ImplementDesign,
    MeasureComponent,
    ProposeDesign,
)
from workers.skills.joining import BringComponent, TuneJointly
from workers.skills.searching import BeginSearch, ConcludeSearch, SearchShare
from workers.skills.skill import Skill

BUILT_IN: dict[str, Skill] = {
    "propose_design": ProposeDesign(),
    "implement_design": ImplementDesign(),
    "measure_component": MeasureComponent(),
    "develop_feature": DevelopFeature(),
    "bring_component": BringComponent(),
    "tune_jointly": TuneJointly(),
    "begin_search": BeginSearch(),
    "search_share": SearchShare(),
    "conclude_search": ConcludeSearch(),
}
"""The skills that every trainer has, by the kind of unit that each runs."""
