"""The fleet at a glance, again and again, in a terminal."""
