"""A skill of your own: every trainer where your package is installed can run its units.

The package names it in its pyproject.toml, by the kind of unit that it runs:

    [project.entry-points."coord.skills"]
    count_words = "examples.skill:CountWords"
"""

from collections import Counter

from coordinator.work import Unit
from workers.skills.skill import Output, UnitContext


class CountWords:
    capabilities = ("text_analysis",)  # its trainers say this of themselves

    def run(self, unit: Unit, context: UnitContext) -> Output:
        words = Counter(unit.inputs["text"].split())
        context.workspace.put(unit.name, dict(words))  # for all who take part
        return {"summary": {"words": words.total(), "different": len(words)}}
