"""The twin of the limit alarms: a span decided under hundreds of policies at once, to the same alarms as the core's."""
