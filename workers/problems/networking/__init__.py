"""Congestion control: its problem, its policy, flows on a link, and models of links."""
