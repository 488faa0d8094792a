"""Scripts: read strictly, laid over any hospital, and known to the millisecond."""

from __future__ import annotations

import msgspec
import pytest

from contracts.errors import Misconfigured
from producers.scenario import BUILT_IN, Event, Family, Kind, Script, Truth, family_of, load_script, parse_script
from producers.ward import Hospital

START_MS = 1_767_340_800_000


def hospital(*events: Event, beds: int = 8, repeat_s: int = 0, seed: int = 1, beds_per_ward: int = 4) -> Hospital:
    return Hospital(
        beds,
        seed=seed,
        script=Script(name="test", event=events, repeat_s=repeat_s),
        start_ms=START_MS,
        beds_per_ward=beds_per_ward,
    )


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_scripts_are_sound_and_fit_any_hospital(name: str) -> None:
    script = load_script(name)
    assert script.about
    for beds in (1, 24, 2000):
        Hospital(beds, seed=1, script=script, start_ms=START_MS).truth(3600)


def test_the_demo_shows_something_of_every_family_in_its_first_two_minutes() -> None:
    truth = Hospital(24, seed=1, script=load_script("demo"), start_ms=START_MS).truth(121)
    assert {one.family for one in truth} == set(Family)
    assert {one.kind for one in truth} >= {Kind.DESATURATION, Kind.BLEED, Kind.LEAD_OFF, Kind.SILENT_BED, Kind.SEPSIS}


def test_every_kind_is_in_some_built_in_script() -> None:
    assert {event.kind for name in BUILT_IN for event in load_script(name).event} == set(Kind)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('name = "x"\n[[event]]\nkind = "bleed"\nat_s = 1\nfor_s = 5', "exactly one of bed, ward, share"),
        ('name = "x"\n[[event]]\nkind = "bleed"\nat_s = 1\nfor_s = 5\nbed = 1\nshare = 0.5', "exactly one"),
        ('name = "x"\n[[event]]\nkind = "fever"\nat_s = 1\nfor_s = 5\nbed = 1', "kind"),
        ('name = "x"\n[[event]]\nkind = "bleed"\nat_s = 1\nfor_s = 0\nbed = 1', "for_s"),
        ('name = "x"\n[[event]]\nkind = "bleed"\nat_s = 1\nfor_s = 5\nbed = 1\nstrength = 9.0', "strength is 9"),
        ('name = "x"\n[[event]]\nkind = "bleed"\nat_s = 1\nfor_s = 5\nbed = 1\ncolour = 9', "colour"),
        ('name = "x"\n[[event]]\nkind = "late"\nat_s = 1\nfor_s = 5\nbed = 1\nseconds = -4', "only be late"),
        ('name = "x"\n[[event]]\nkind = "bleed"\nat_s = 1\nfor_s = 5\nbed = 1\nseconds = 4', "seconds belongs to"),
        ('name = "x"\n[[event]]\nkind = "frozen"\nat_s = 1\nfor_s = 5\nbed = 1\nvital = "systolic"', "every second"),
        ('name = "x"\n[[event]]\nkind = "silent_gateway"\nat_s = 1\nfor_s = 5\nbed = 1', "ward or share"),
        ('name = "x"\nrepeat_s = 4\n[[event]]\nkind = "bleed"\nat_s = 1\nfor_s = 5\nbed = 1', "starts again"),
        ("name = ", "script"),
    ],
)
def test_a_bad_script_is_refused_by_name_and_field(text: str, named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        parse_script(text.encode())


def test_a_script_that_is_not_there_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match=r"nowhere\.toml.*demo, calm, faults, hospital"):
        load_script("nowhere.toml")


def test_a_bed_that_is_not_there_is_named_with_the_nearest_one() -> None:
    with pytest.raises(Misconfigured, match="did you mean W1-04"):
        hospital(Event(kind=Kind.BLEED, bed="W1-04x", at_s=0, for_s=5))
    with pytest.raises(Misconfigured, match="beds are 1 to 8"):
        hospital(Event(kind=Kind.BLEED, bed=9, at_s=0, for_s=5))


def test_truth_names_patient_and_time_in_order_and_survives_json() -> None:
    ward = hospital(
        Event(kind=Kind.SILENT_GATEWAY, ward="W2", at_s=30, for_s=5),
        Event(kind=Kind.BLEED, bed="W1-02", at_s=10, for_s=60, strength=0.5),
    )
    truth = ward.truth(100)
    assert [(one.kind, one.bed) for one in truth] == [
        (Kind.BLEED, "W1-02"),
        *((Kind.SILENT_GATEWAY, f"W2-0{n}") for n in range(1, 5)),
    ]
    bleed = truth[0]
    assert bleed.patient == ward.roster.patients[1]
    assert (bleed.start_ms, bleed.end_ms, bleed.strength) == (START_MS + 10_000, START_MS + 70_000, 0.5)
    assert bleed.faded_ms > bleed.end_ms
    assert msgspec.json.decode(msgspec.json.encode(bleed), type=Truth) == bleed
    assert ward.truth(30) == [bleed]


def test_what_starts_second_by_second_is_the_whole_truth() -> None:
    ward = hospital(
        Event(kind=Kind.LATE, share=0.5, at_s=3, for_s=5),
        Event(kind=Kind.BLEED, bed=2, at_s=0, for_s=10),
        repeat_s=20,
    )
    started = [one for second in range(61) for one in ward.scenario.starting(second)]
    assert sorted(started, key=lambda one: (one.start_ms, one.bed)) == sorted(
        ward.truth(61), key=lambda one: (one.start_ms, one.bed)
    )
    assert sum(one.kind is Kind.BLEED for one in started) == 4


def test_shares_are_drawn_anew_each_time_and_the_same_for_the_same_seed() -> None:
    event = Event(kind=Kind.DESATURATION, share=0.1, at_s=0, for_s=10)
    one, same = hospital(event, beds=1000, repeat_s=100), hospital(event, beds=1000, repeat_s=100)
    assert one.truth(101) == same.truth(101)
    first, second = ({t.bed for t in one.truth(101) if t.start_ms == START_MS + s * 1000} for s in (0, 100))
    assert first != second
    assert 60 < len(first) < 140


def test_a_share_of_gateways_takes_whole_wards() -> None:
    ward = hospital(Event(kind=Kind.SILENT_GATEWAY, share=0.5, at_s=0, for_s=10), beds=100)
    counts = [sum(t.ward == name for t in ward.truth(1)) for name in ward.roster.wards]
    assert set(counts) == {0, 4}


def test_kinds_have_families() -> None:
    assert family_of(Kind.RECOVERY) is Family.EPISODE
    assert family_of(Kind.FAHRENHEIT) is Family.SENSOR
    assert family_of(Kind.REPEATED_FRAMES) is Family.TRANSPORT
