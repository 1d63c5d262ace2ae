"""Problems that two specializations train on together, and what their policies run in."""
