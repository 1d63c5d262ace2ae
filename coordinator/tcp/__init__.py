"""The way into a fleet through a gateway: newline-delimited JSON over TCP, the client's side."""
