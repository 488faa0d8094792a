"""Decisions compared: a span of a log decided anew by two sides, and why a ward decided as it did."""
