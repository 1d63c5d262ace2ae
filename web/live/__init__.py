"""What happens in a fleet, as it happens, for all who look at once."""
