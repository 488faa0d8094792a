"""Excerpts of public ICU recordings under their own licences (README.md), and the rule that picked them (pick.py)."""
