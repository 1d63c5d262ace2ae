"""The order of firewall rules: its problem, its policy, rules, and models of packets."""
