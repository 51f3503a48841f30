"""What the tests of the check ask of its result."""

from pathlib import Path

from slimbert.jobs.check.findings import Finding
from slimbert.jobs.check.run import Checked


def kinds(made: Checked) -> dict[str, Finding]:
    """kind -> finding; of each kind there is one."""
    found = {finding.kind: finding for finding in made.findings}
    assert len(found) == len(made.findings)
    return found


def only(made: Checked, kind: str) -> Finding:
    """The one finding there is."""
    assert [finding.kind for finding in made.findings] == [kind], made.findings
    return made.findings[0]


def places(finding: Finding) -> list[list[str]]:
    """Of every example file:row of each of its rows."""
    return [[Path(row.place).name for row in rows] for rows in finding.examples]
