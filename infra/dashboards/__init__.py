"""The monitoring wall as code: boards say what is asked and shown, draw makes Grafana's JSON of it, build writes it."""
