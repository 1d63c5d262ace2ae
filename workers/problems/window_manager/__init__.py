"""Merging damage: its problem, its policy, and models of screens."""
