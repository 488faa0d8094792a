"""From topics to InfluxDB: what a record looks like as points, who writes them, what of the platform goes along."""
