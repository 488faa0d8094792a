"""A span of any topics again: at any speed, merged by the log's time, into fresh topics of its own."""
