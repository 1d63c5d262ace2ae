"""How a word looks: that of a state, an outcome, a verdict, or of something to be noticed."""

from __future__ import annotations

_WORDS = {
    "good": ("completed", "passed", "joined", "new", "here", "TLS"),
    "warn": ("pending", "waiting", "lost", "declined", "draining", "weak"),
    "bad": ("failed", "expired", "silent", "revoked"),
}
_TONES = {word: tone for tone, words in _WORDS.items() for word in words}


def tone(word: object) -> str:
    """The class that a page gives it; "" for what is neither good nor bad."""
    return _TONES.get(str(word), "")
