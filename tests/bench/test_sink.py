"""What a line saves is held by a ratio; how fast InfluxDB is, the bench prints."""

from __future__ import annotations

import pytest

from infra.bench import sink


@pytest.mark.bench
def test_a_line_costs_a_fraction_of_the_clients_own_point() -> None:
    making = sink.compare(sink._outputs(100, 5))
    print(f"{making.line_us:.1f} us against {making.point_us:.1f} us")
    assert making.share <= sink.SHARE
