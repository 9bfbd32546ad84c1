"""Dates and times of fixed width, for many lines at once.

Eight bytes are read as one number, so that a shift, a mask and an addition work on eight digits
of a line and not on one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from helpers.log_block import Block, Bools, Ints

Words = npt.NDArray[np.uint64]

_NS = 1_000_000_000


def read(block: Block, lines: Ints, shape: bytes) -> tuple[Bools, Ints]:
    """Which of `lines` begin like `shape` with a real date, and the time in ns since 1970.

    Args:
        shape: at least 24 bytes; a 9 stands for any digit. It begins with the date, or with
            one other byte before it, and has three or six digits of a second.
    """
    lead = shape.index(b"9")
    bare = shape[lead:]
    places = (0, 8, len(bare) - 8 if len(bare) < 24 else 16, len(bare) - 8)
    # A line shorter than that ends in a line break, which no shape has, or in the zeros that
    # stand behind the block.
    start = block.starts[lines]
    rows = block.rows(start, len(shape))
    good: Bools = rows[:, 0] == shape[0] if lead else np.ones(len(lines), dtype=bool)
    words: list[Words] = []
    for place in places:
        wanted, digits = 0, 0
        for shift, byte in enumerate(bare[place : place + 8]):
            is_digit = byte == ord("9")
            wanted |= (ord("0") if is_digit else byte) << 8 * shift
            digits |= is_digit << 8 * shift
        part = np.ascontiguousarray(rows[:, lead + place : lead + place + 8]).view("<u8")[:, 0]
        part = part ^ np.uint64(wanted)  # a digit becomes its value, the rest 0
        good &= (part & np.uint64(~(digits * 15) & (1 << 64) - 1)) == 0
        good &= ((part + np.uint64(digits * 6)) & np.uint64(digits * 16)) == 0
        words.append(part)
    pairs = [word * np.uint64(10) + (word >> np.uint64(8)) for word in words]

    def pair(place: int) -> Ints:
        """The two digits at `place`."""
        which = max(n for n, first in enumerate(places) if first <= place <= first + 6)
        two = pairs[which] >> np.uint64(8 * (place - places[which]))
        return (two & np.uint64(127)).astype(np.int64)

    hour, minute, second = pair(11), pair(14), pair(17)
    fraction = pair(20) * 10_000_000
    if bare[22:26] == b"9999":
        fraction += pair(22) * 100_000 + pair(24) * 1000
    else:
        fraction += pair(21) % 10 * 1_000_000
    real, days = _days(pair(0) * 100 + pair(2), pair(5), pair(8))
    good &= real & (hour < 24) & (minute < 60) & (second < 60)
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    return good, np.where(good, seconds * _NS + fraction, 0)


def _days(year: Ints, month: Ints, day: Ints) -> tuple[Bools, Ints]:
    """Which dates are real, and their days since 1970; a log has few dates, in runs."""
    if not len(year):
        return np.zeros(0, dtype=bool), year
    key = (year * 128 + month) * 128 + day
    heads = np.flatnonzero(np.diff(key, prepend=-1))
    runs = np.diff(heads, append=len(key))
    year, month, day = year[heads], month[heads], day[heads]
    # datetime64[ns] ends in 2262; a log line from outside that range is not a log line.
    good = (year >= 1970) & (year <= 2261) & (month >= 1) & (month <= 12)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    first = months.astype("M8[D]").astype(np.int64)
    length = (months + 1).astype("M8[D]").astype(np.int64) - first
    good &= (day >= 1) & (day <= length)
    return np.repeat(good, runs), np.repeat(first + day - 1, runs)
