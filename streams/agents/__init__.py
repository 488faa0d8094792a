"""Thin Faust agents: bytes in, guard, core, bytes out."""
