"""Spark's side of the house: the lake, its tables and cohorts."""
