"""Does sharing pay? Fleets of trainers that share, against others that share nothing."""
