"""Gets, checks and keeps what the servers need: a Java runtime, jars, InfluxDB, the page's chart library."""
