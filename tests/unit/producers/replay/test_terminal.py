"""Keys, progress and the report, without a broker."""

from __future__ import annotations

import io
import os
import pty
import re
import threading

import msgspec

from producers.replay import report, terminal
from producers.replay.journal import Entry, Run, Seek, State
from producers.replay.pacing import Control, Lateness
from producers.replay.plan import LogPlan, Plan, Wish
from producers.replay.run import Progress

AT_MS = 1_767_340_800_000


def a_plan(speed: float | None = 60.0) -> Plan:
    log = LogPlan(
        topic="t", target="again", partition=0, start=0, end=10, records=10, first_ms=AT_MS, last_ms=AT_MS + 60_000
    )
    return Plan(
        wish=Wish(sources=("t",), to="again", speed=speed),
        bootstrap="127.0.0.1:1",
        made_ms=AT_MS,
        logs=(log,),
        counted="offsets",
        records=10,
        first_ms=AT_MS,
        last_ms=AT_MS + 60_000,
        seconds=1.0,
        notes=("<script>alert(1)</script>",),
    )


def test_keys_pause_skip_and_stop() -> None:
    control = Control()
    terminal.press(" ", control)
    assert control.paused
    terminal.press("f", control)
    terminal.press("F", control)
    assert control.sought_ms(0) == 660_000
    terminal.press("x", control)
    assert control.paused
    terminal.press("q", control)
    assert control.stopped


def test_keys_are_heard_from_a_terminal_which_is_afterwards_as_it_was() -> None:
    import termios

    child, parent = os.pipe()
    pid, master = pty.fork()
    if pid == 0:  # in the child, the terminal is its own
        before = termios.tcgetattr(0)
        control = Control()
        with open(0, closefd=False) as keyboard, terminal.heeding_keys(control, keyboard) as heard:
            os.write(parent, b"1" if heard else b"0")
            control.wait(20)
        as_before = termios.tcgetattr(0) == before
        os.write(parent, b"1" if control.stopped and as_before else b"0")
        os._exit(0)
    try:
        assert os.read(child, 1) == b"1"
        os.write(master, b"q")
        assert os.read(child, 1) == b"1"
    finally:
        os.waitpid(pid, 0)
        for number in (child, parent, master):
            os.close(number)


def test_where_there_is_no_terminal_no_key_is_heard() -> None:
    before = threading.active_count()
    with terminal.heeding_keys(Control(), io.StringIO("q")) as heard:
        assert not heard
        assert threading.active_count() == before


def test_progress_says_how_far_how_late_and_what_is_left() -> None:
    out = io.StringIO()
    teller = terminal.Teller(60.0, AT_MS + 60_000, out)
    teller(Progress(sent=5, of=10, at_ms=AT_MS + 30_000, late_ms=0.44, seconds=0.5, paused=False))
    assert out.getvalue() == "5 of 10 (50 %), log 2026-01-02T08:00:30Z, late 0.4 ms, 0 s left\n"
    assert "paused" in teller.line(Progress(sent=5, of=10, at_ms=AT_MS, late_ms=None, seconds=0.5, paused=True))


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    lateness = Lateness()
    for n in range(100):
        lateness.note(n / 50)
    run = Run(
        began_ms=AT_MS,
        ended_ms=AT_MS + 1000,
        state=State.FINISHED,
        records=10,
        seconds=1.01,
        lateness=lateness.figures(),
        pace=((0.5, 5), (1.01, 10)),
    )
    seek = Seek(from_ms=AT_MS, to_ms=AT_MS + 1000)
    entry = Entry(plan=a_plan(), state=State.FINISHED, idents={"again": "x"}, runs=[run], seeks=[seek])
    found = report.document(entry)
    assert (found["sent"], found["records"], found["estimate_off"]) == (10, 10, 0.01)
    page = report.page(entry, found)
    assert not re.search(r"https?:|<script|<link|src=|@import|url\(", page)
    assert "&lt;script&gt;" in page
    assert page.count("<svg") == 2


def test_a_replay_is_read_back_as_it_was_written() -> None:
    entry = Entry(plan=a_plan(None), state=State.RUNNING, idents={"again": "x"}, spans=[(0, 10)], before=[0])
    assert msgspec.json.decode(msgspec.json.encode(entry), type=Entry) == entry
