"""The buffer cache: its problem, its policy, and models of reads."""
