"""The playout delay: its problem, its policy, and models of jitter."""
