"""Real recordings as the frames of one ward, a line each on stdout: ``python -m producers.span mimic --ward R1 ...``.

For whoever decides over recordings without a broker. What is on a line is what ``ward play --speed 1`` would send.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from contracts import codec
from contracts.errors import WardError
from producers.archive import SOURCES, load
from producers.recordings import Between, Playback


def main(arguments: Sequence[str]) -> int:
    """Write the frames; 0, 2 for a source or stay that is not there, or a folder without it."""
    parser = argparse.ArgumentParser(prog="producers.span", description=__doc__)
    parser.add_argument("source", choices=[str(one) for one in SOURCES])
    parser.add_argument("--data-dir")
    parser.add_argument("--ward", default="R1")
    parser.add_argument("--beds", type=int, default=20)
    parser.add_argument("--skip", type=int, default=0, help="so many stays that are long enough")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--between", choices=[str(one) for one in Between], default="hold")
    parser.add_argument("--start-ms", type=int, required=True)
    asked = parser.parse_args(arguments)
    try:
        stays = [one for one in load(asked.source, asked.data_dir) if one.length_s >= asked.hours * 3600]
    except WardError as failure:
        print(f"producers.span: {failure}", file=sys.stderr)
        return 2
    stays = stays[asked.skip : asked.skip + asked.beds]
    if not stays:
        print(f"producers.span: no stay of {asked.source} lasts {asked.hours:g} h", file=sys.stderr)
        return 2
    playback = Playback(
        stays,
        start_ms=asked.start_ms,
        ward=asked.ward,
        beds=len(stays),
        speed=1.0,
        between=Between(asked.between),
    )
    out = sys.stdout.buffer
    for _ in range(int(asked.hours * 3600)):
        for frame in playback.tick() or ():
            out.write(codec.encode(frame))
            out.write(b"\n")
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
