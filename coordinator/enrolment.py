"""What an AI was enrolled for: its role, and what restricts it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from coordinator.payloads import Role


@dataclass(frozen=True, slots=True)
class Access:
    """What an AI was enrolled for; None stands for no restriction."""

    role: Role = "trainer"
    specializations: tuple[str, ...] | None = None
    message_types: tuple[str, ...] | None = None
    is_revoked: bool = False

    @property
    def is_validator(self) -> bool:
        """Whether its verdicts count."""
        return self.role == "validator" and not self.is_revoked

    def may_send(self, message_type: str) -> bool:
        """Whether it may send that type, of those that take part in anything."""
        types = self.message_types
        return self.role != "observer" and (types is None or message_type in types)

    def to_json(self) -> str:
        return _ACCESS.dump_json(self).decode()

    @staticmethod
    def from_json(text: str | bytes) -> Access:
        """ValueError for what is no access."""
        return _ACCESS.validate_json(text)


_ACCESS = TypeAdapter(Access)
