"""Numbers as a paper prints them: each stands for all values that round to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Printed:
    """A rounded number, as the interval of what may have been rounded.

    Attributes:
        low: Least value that prints so.
        high: Largest.
    """

    low: float
    high: float

    @staticmethod
    def rounded(value: float, decimals: int) -> Printed:
        """Return what prints as a value with so many decimals: half a unit of the last one either way.

        Example:
            >>> Printed.rounded(21.2, 1)
            Printed(low=21.15, high=21.25)
        """
        half = 0.5 * 10.0**-decimals
        return Printed(round(value - half, decimals + 1), round(value + half, decimals + 1))

    def gain_to(self, after: Printed) -> Printed:
        """Return (before − after)/before of a positive number, as an interval: it grows with before, falls with after.

        Example:
            >>> gain = Printed.rounded(21.2, 1).gain_to(Printed.rounded(20.5, 1))
            >>> round(gain.low, 4), round(gain.high, 4)
            (0.0284, 0.0376)
        """
        return Printed(1 - after.high / self.low, 1 - after.low / self.high)

    def difference_from(self, other: Printed) -> Printed:
        """Return self − other."""
        return Printed(self.low - other.high, self.high - other.low)

    def meets(self, other: Printed) -> bool:
        """Return whether some value lies in both."""
        return self.low <= other.high and other.low <= self.high

    def may_exceed(self, other: Printed) -> bool:
        """Return whether some value here is larger than some value there."""
        return self.high > other.low

    @property
    def middle(self) -> float:
        """Return the value as it is printed, where the interval is of one."""
        return (self.low + self.high) / 2

    def holds(self, value: float) -> bool:
        """Return whether a value prints so."""
        return self.low <= value <= self.high

    def common(self, other: Printed) -> Printed:
        """Return what lies in both, which have to meet."""
        return Printed(max(self.low, other.low), min(self.high, other.high))
