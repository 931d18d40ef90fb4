"""Opinions, pure: each is its own settings with defaults, asked by the scheduler, ignorant of it."""
