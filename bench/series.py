"""What was measured: values of several runs, and what they are held against."""

import statistics
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each run, in the order of the runs."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def __truediv__(self, other: "Series") -> "Series":
        """Divide run by run, so that what slows a whole run down slows both sides of its ratio."""
        return Series(tuple(one / two for one, two in zip(self.values, other.values, strict=True)))


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A target that the median must reach."""

    bound: float

    def __str__(self) -> str:
        return f"≥ {self.bound:,g}"

    def is_met(self, series: Series) -> bool:
        return series.median >= self.bound


@dataclass(frozen=True, slots=True)
class AtMost:
    """A target that the median must not pass."""

    bound: float

    def __str__(self) -> str:
        return f"≤ {self.bound:,g}"

    def is_met(self, series: Series) -> bool:
        return series.median <= self.bound


Target = AtLeast | AtMost


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the table."""

    measure: str
    unit: str
    series: Series
    target: Target | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Tell whether the target is met; None without one."""
        return None if self.target is None else self.target.is_met(self.series)


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """A row that is missing, and why."""

    measure: str
    reason: str


Row = Finding | NotMeasured
