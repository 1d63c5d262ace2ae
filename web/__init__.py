"""What a fleet says of itself to machines: JSON, numbers and a word on its health, over HTTP."""
