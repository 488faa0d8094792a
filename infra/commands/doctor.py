"""doctor."""

from __future__ import annotations

import typer

from infra.commands.output import AsJson, print_json, the_stack
from infra.doctor import examine

FINDINGS = 6

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Examples: ward doctor · ward doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """Name each fault of this machine, cache and topology, with its fix. Exit code 6 when there is one."""
    findings = examine(the_stack())
    found = [finding for group in findings.values() for finding in group]
    if as_json:
        print_json({"checks": list(findings), "findings": found})
    else:
        for check, group in findings.items():
            print(f"{'bad ' if group else 'ok  '} {check}")
            for finding in group:
                print(f"     {finding.fault}\n     fix: {finding.fix}")
    if found:
        raise typer.Exit(FINDINGS)
