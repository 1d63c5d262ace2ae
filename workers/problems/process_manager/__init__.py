"""The CPU scheduler: its problem, its policy, the CPU, and models of arrivals."""
