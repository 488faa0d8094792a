"""Clinical tables as data: NEWS2, plausibility, units and codes, each with its source."""
