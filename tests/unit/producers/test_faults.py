"""Bad records: each kind is refused for the reason it says, whatever is drawn; good ones pass between them."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from contracts.codec import decode_frame
from contracts.errors import Poison
from contracts.topology import VITALS, partition_for
from producers.faults import FAULTS, WHOLE, Fault, good_frame, mixed, spoiled

DRAWS = range(25)


def test_there_are_at_least_25_kinds_with_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 25
    assert len({fault.reason for fault in FAULTS}) >= 10


@pytest.mark.parametrize("fault", [f for f in WHOLE if not f.wrong_partition], ids=lambda fault: fault.name)
def test_the_codec_refuses_it_for_the_reason_it_says(fault: Fault) -> None:
    for draw in DRAWS:
        sent = spoiled(good_frame(draw), fault, random.Random(draw))
        with pytest.raises(Poison) as caught:
            decode_frame(sent.value)
        assert caught.value.reason == fault.reason


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.partial], ids=lambda fault: fault.name)
def test_the_codec_sets_the_bad_part_aside_and_keeps_the_other_beds(fault: Fault) -> None:
    for draw in DRAWS:
        good = good_frame(draw, beds=4)
        decoded = decode_frame(spoiled(good, fault, random.Random(draw)).value)
        assert {part.reason for part in decoded.faults} == {fault.reason}
        assert decoded.frame.beds[-3:] == good.beds[1:]


def test_a_frame_in_another_wards_log_is_good_by_itself() -> None:
    (fault,) = (fault for fault in FAULTS if fault.wrong_partition)
    sent = spoiled(good_frame(), fault, random.Random(1))
    assert decode_frame(sent.value).frame == good_frame()
    assert sent.partition != partition_for(sent.key, VITALS.partitions)


def test_mixing_keeps_every_good_frame_in_order_and_comes_out_the_same_again() -> None:
    frames = [good_frame(seq) for seq in range(3000)]
    sent = list(mixed(frames, bad=0.1, seed=4))
    assert sent == list(mixed(frames, bad=0.1, seed=4))
    assert [decode_frame(one.value).frame for one in sent if one.fault is None] == frames
    kinds = Counter(one.fault.name for one in sent if one.fault is not None)
    assert 250 < sum(kinds.values()) < 350
    assert len(kinds) == len(WHOLE)
    assert max(kinds.values()) - min(kinds.values()) <= 1
