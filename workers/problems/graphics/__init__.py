"""Texture mapping: its problem, its policy, textures, and models of views."""
