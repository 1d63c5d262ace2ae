"""Pages for people: what is read for each, and the templates that show it."""
