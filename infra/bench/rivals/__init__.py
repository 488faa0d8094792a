"""The worker's work done with other means, for comparison only; ``python -m infra.bench.rivals NAME JOB``."""
