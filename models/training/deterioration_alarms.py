"""What alarms on the deterioration model would catch at a budget, beside alarm limits and NEWS2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from models.ports import Floats
from models.training import plots, rivals
from models.training.budget import BUDGETS, MEASURES, Outcome, Scored, at_budgets, courses, curve, difference
from models.training.deterioration_findings import RIVALS, Doubles, Findings
from models.training.deterioration_rows import inputs
from models.training.evaluation import Cell, Interval, Table
from models.training.recipes import SEED
from models.training.stays import Stay
from models.vitals.deterioration import speaks
from models.vitals.deterioration_features import LAST
from models.vitals.instability import CONDITIONS
from models.ward.policy import load_policy

OURS: Final = "deterioration"
_RATES: Final = (0.5, 1.2, 2.0, 3.0, 4.0, 5.0)


def alarms(
    found: Findings, probabilities: Callable[[Floats], Doubles], validation: Sequence[Stay], judged: Sequence[Stay]
) -> None:
    """Recall, PPV, false alarms and lead of each detector at each budget; thresholds from the validation stays."""
    if not validation:
        found.notes.append("No validation stays in the data, so no alarm threshold could be chosen and none is judged.")
        return
    scores = {side: detectors(stays, probabilities) for side, stays in (("chosen", validation), ("judged", judged))}
    outcomes: dict[str, list[Outcome]] = {}
    lines: dict[str, list[tuple[float, Interval]]] = {}
    for name, scored in scores["judged"].items():
        outcomes[name] = at_budgets(name, scores["chosen"][name], scored, SEED)
        along = curve(scored, _RATES, SEED)
        shown = RIVALS.get(name, "this model")
        recalls = zip(_RATES, along["recall"].tolist(), strict=True)
        lines[shown] = [(rate, Interval(value, value, value, len(judged))) for rate, value in recalls if value == value]
    _tell(found, outcomes)
    found.plots["alarms.png"] = plots.lines(
        lines, "Instability caught, at equal burden", "alarms a patient-day", "share of events caught"
    )


def detectors(stays: Sequence[Stay], probabilities: Callable[[Floats], Doubles]) -> Mapping[str, Scored]:
    """The scores of each detector on these stays."""
    policy, judged = load_policy(), courses(stays)
    every = any_instability(inputs(stays), probabilities)
    ours = np.split(every, np.cumsum([len(stay.vitals) for stay in stays])[:-1])
    return {
        OURS: Scored(judged, ours),
        "news2": Scored(judged, [rivals.news2(stay.vitals) for stay in stays]),
        "limits": Scored(judged, [rivals.beyond_limits(stay.vitals, policy) for stay in stays]),
        "limits_held": Scored(judged, [rivals.beyond_limits(stay.vitals, policy, held_h=2) for stay in stays]),
    }


def any_instability(seen: Floats, probabilities: Callable[[Floats], Doubles]) -> Doubles:
    """The probability of any of the conditions, as if each came by itself; NaN where the model speaks of none."""
    said = speaks(seen[:, LAST])[:, : len(CONDITIONS)]
    told = np.where(said, probabilities(seen)[:, : len(CONDITIONS)], 0.0)
    return np.where(said.any(axis=1), 1 - np.prod(1 - told, axis=1), np.nan)


def _tell(found: Findings, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    table: list[tuple[Cell, ...]] = []
    for place, budget in enumerate(BUDGETS):
        ours = outcomes[OURS][place]
        for name, each in outcomes.items():
            outcome = each[place]
            end = "" if name == OURS else f"_{name}"
            for measure in MEASURES:
                kind = {"alarms_per_day": "alarms", "false_alarms_per_day": "false_alarms", "lead_h": "lead"}
                metric = f"{kind.get(measure, measure)}_at_{budget:g}{end}"
                found.metrics[metric] = outcome.figures.get(measure)
            if name != OURS:
                found.metrics[f"gain_recall_at_{budget:g}_{name}"] = difference(ours, outcome)
            cells = [_cell(outcome.figures.get(measure)) for measure in MEASURES]
            table.append((f"{budget:g}", RIVALS.get(name, "this model"), *cells))
    columns = ("budget", "detector", "alarms a day", "recall", "PPV", "false alarms a day", "median lead, h")
    title = "Events caught 1 to 4 hours ahead, by alarms a patient-day (thresholds from validation stays)"
    found.tables.append(Table(title=title, columns=columns, rows=tuple(table)))
    ours = outcomes[OURS][0]
    found.notes.append(
        f"{ours.events} events in {ours.patients} patients: the first hour of any of the four conditions after four "
        "quiet hours. Limits are swept by how far beyond (or short of) the policy's limits a vital is, NEWS2 by its "
        "total; ties are broken by lot. Alarms while an event lasts count for nobody; hours are the grid, so a lead "
        "of 1 h is one of up to an hour."
    )


def _cell(figure: Interval | None) -> Cell:
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]" if figure else None
