"""The conversation itself, pure: no clock, no socket, no randomness, no log."""
