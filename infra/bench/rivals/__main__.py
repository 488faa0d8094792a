"""``python -m infra.bench.rivals loop|quix JOB``: run one rival until SIGTERM."""

from __future__ import annotations

import gc
import importlib
import sys

import msgspec

from infra.bench.rivals.job import Job

if __name__ == "__main__":
    rival = importlib.import_module(f"infra.bench.rivals.{sys.argv[1]}")
    job = msgspec.json.decode(sys.argv[2], type=Job)
    gc.collect()
    gc.freeze()  # as the worker does
    rival.run(job)
