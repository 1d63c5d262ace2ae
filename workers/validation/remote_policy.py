"""Policies that run inside a sandbox, as the evaluator outside sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Protocol

from workers.problems import Interface, Maker, Remote


class Asked(Protocol):
    """What policies run in: a `Sandbox`, or what stands for it."""

    def make(self, policy_id: int, arguments: Sequence[Any]) -> None: ...

    def tell(self, policy_id: int, method: str, *arguments: Any) -> None: ...

    def ask(self, policy_id: int, method: str, *arguments: Any) -> Any: ...


class RemotePolicy(Remote):
    """Has the methods of its interface. What it is told waits until something is asked, and takes
    no round trip of its own. The evaluator checks the answers.

    Any of the methods may raise PolicyFailed, for this call or for one that was only told.
    """

    def __init__(self, box: Asked, policy_id: int, interface: Interface) -> None:
        self._tell = partial(box.tell, policy_id)
        for method in interface.tells:
            setattr(self, method, partial(box.tell, policy_id, method))
        for method in interface.asks:
            setattr(self, method, partial(box.ask, policy_id, method))

    def tell(self, method: str, *arguments: Any) -> None:
        self._tell(method, *arguments)


def remote_makers(
    boxes: Mapping[str, Asked], interfaces: Mapping[str, Interface]
) -> dict[str, Maker]:
    """By specialization, what makes a new policy in its sandbox."""
    return {name: _maker(box, interfaces[name]) for name, box in boxes.items()}


def _maker(box: Asked, interface: Interface) -> Maker:
    ids = count()

    def make(*arguments: Any) -> RemotePolicy:
        policy_id = next(ids)
        box.make(policy_id, arguments)
        return RemotePolicy(box, policy_id, interface)

    return make
