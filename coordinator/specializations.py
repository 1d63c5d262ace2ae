"""The eight built-in specializations: what each can do, whom each looks for, what it is asked."""

from __future__ import annotations

VALIDATION = "validation"
"""What validators are of, and are capable of. It is no specialization of what is shared."""

BASE_CAPABILITIES = ("pattern_recognition", "code_generation", "os_development")

CAPABILITIES: dict[str, tuple[str, ...]] = {
    "window_manager": ("gui_development", "window_management", "user_interface"),
    "file_system": ("file_operations", "storage_management", "data_structures"),
    "process_manager": ("process_scheduling", "memory_management", "system_calls"),
    "security": ("security_analysis", "encryption", "access_control"),
    "networking": ("network_protocols", "distributed_systems", "communication"),
    "graphics": ("graphics_rendering", "visual_effects", "display_management"),
    "audio": ("audio_processing", "sound_synthesis", "media_handling"),
    "performance": ("optimization", "benchmarking", "performance_analysis"),
}

# A partner fits by its specialization or by a capability. The first two words of each are what the
# fleet's clients always looked for; most of those name only their own kind, so each of the eight
# has partners among the others added.
SEEKS: dict[str, tuple[str, ...]] = {
    "window_manager": ("graphics", "user_interface", "performance"),
    "file_system": ("storage_management", "data_structures", "process_manager", "performance"),
    "process_manager": ("memory_management", "system_calls", "file_system", "performance"),
    "security": ("encryption", "access_control", "networking"),
    "networking": ("distributed_systems", "communication", "audio", "security"),
    "graphics": ("visual_effects", "display_management", "window_manager"),
    "audio": ("sound_synthesis", "media_handling", "networking"),
    "performance": ("optimization", "benchmarking", "file_system", "process_manager"),
}

FEATURES: dict[str, str] = {
    "memory_allocator": "performance",
    "file_cache": "file_system",
    "process_scheduler": "process_manager",
    "network_stack": "networking",
    "graphics_driver": "graphics",
    "audio_mixer": "audio",
    "security_module": "security",
    "window_compositor": "window_manager",
}
"""The features that clients ask for by name, and whose problem each is."""


def capabilities_of(specialization: str) -> list[str]:
    """What an AI of ``specialization`` can do when it does not say so itself."""
    return [*BASE_CAPABILITIES, *CAPABILITIES.get(specialization, ())]


def fits(seeker: str, specialization: str, capabilities: list[str]) -> bool:
    """Whether an AI is a partner that one of specialization ``seeker`` looks for."""
    sought = SEEKS.get(seeker, ())
    return specialization in sought or any(word in sought for word in capabilities)


def can_develop(feature: str, specialization: str, capabilities: list[str]) -> bool:
    """Whether an AI is capable of ``feature``: it is its specialization's, or the two have a whole
    word in common (split at spaces and ``_``), the base capabilities aside."""
    if FEATURES.get(feature) == specialization:
        return True
    wanted = _words(feature)
    own = (word for word in capabilities if word not in BASE_CAPABILITIES)
    return any(wanted & _words(capability) for capability in own)


def _words(name: str) -> set[str]:
    return set(name.lower().replace("_", " ").split())
