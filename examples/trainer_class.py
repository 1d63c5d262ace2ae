"""A trainer class of your own: `coord trainer AI_mine --trainer examples.trainer_class:TopTen`.

It measures how much time a heap saves when only the ten largest numbers are wanted. coord runs it
again and again, and shares what is new; a rounded number is new when it has really changed.
"""

from heapq import nlargest
from inspect import getsource
from random import Random
from timeit import repeat
from typing import Any

NUMBERS = Random(1).sample(range(10**6), 2_000)


def top_ten(numbers: list[int]) -> list[int]:
    return nlargest(10, numbers)


class TopTen:
    async def run_comprehensive_demo(self) -> dict[str, Any]:
        sorting_s = min(repeat(lambda: sorted(NUMBERS)[-10:], number=50))
        heap_s = min(repeat(lambda: top_ten(NUMBERS), number=50))
        saved = round(1 - heap_s / sorting_s, 1)
        pattern = {"id": "top_ten_by_heap", "type": "timing", "data": {"time_saved": saved}}
        code = f"from heapq import nlargest\n\n\n{getsource(top_ten)}"
        component = {"id": "top_ten", "name": "top_ten", "code": code}
        return {
            "patterns_learned": [pattern],
            "components_built": [component],
            "performance_gain": saved,
        }
