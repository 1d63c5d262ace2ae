"""A skill of your own: every trainer where your package is installed can run its units.

The package names it in its pyproject.toml, by the kind of unit that it runs:

[project.entry-points."coord.skills"]
count_words = "examples.skill:CountWords"
"""

from collections import Counter

from coordinator.work import Unit
from workers.skills.skill import Output, UnitContext


class CountWords:
    capabilities = ("text_analysis",)  # what its trainers say they are capable of

    def run(self, unit: Unit, context: UnitContext) -> Output:
        words = Counter(unit.inputs.get("text", "").split())
        for output in context.outputs.values():  # of the units that this one needs
            words.update(output["words"])
        return {"words": words, "summary": {"words": words.total(), "different": len(words)}}
