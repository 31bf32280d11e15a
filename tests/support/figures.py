"""The figures that a run has measured, beside what they must reach."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Figures:
    """Lines of a table, in the order in which they were measured.

    Times depend on what else the machine does: with `binding` off a bound that was missed is shown and fails no test.
    """

    binding: bool = True
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    jobs: int = 0

    def add(self, measure: str, value: str) -> None:
        """Take one line: what was measured, and its value."""
        self.rows.append((measure, value, ""))

    def hold(self, measure: str, value: str, bound: str, kept: bool) -> None:
        """Take one line with its bound; raise AssertionError when it was not kept and bounds bind."""
        self.rows.append((measure, value, bound if kept else f"{bound}: missed"))
        assert kept or not self.binding, f"{measure}: {value}, the bound is {bound}"

    def count(self, jobs: int, lost: int, doubled: int) -> None:
        """Add the jobs of one load to the sums over all tests."""
        self.jobs += jobs
        self.lost += lost
        self.doubled += doubled

    def lines(self) -> list[str]:
        """Give the table as text."""
        total = ("jobs lost, doubled over all tests", f"{self.lost}, {self.doubled} of {self.jobs:,}", "0, 0")
        rows = [("measure", "measured", "bound"), *self.rows, total]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
