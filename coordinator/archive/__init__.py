"""The archive: what happened in a fleet, followed by cursor and kept in an SQLite file."""
