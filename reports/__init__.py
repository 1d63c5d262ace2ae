"""Pictures and pages of what a fleet did, made of its history alone."""
