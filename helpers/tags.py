"""Tags of requests: what `helpers.traffic` writes at the end of a User-Agent, found in texts.

Half a million log lines end in a tag, so the ends are compared as a matrix of bytes, and only
texts that do not end in the tag of a sent request are searched one by one.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pandas as pd

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]
Matrix = npt.NDArray[np.uint8]

#: The tag at the end of a User-Agent: run and number, such as ``req/3fa9c1d2-000017``.
TAG = re.compile(r"\breq/([0-9a-z]{8}-[0-9]{6,})")

_WORD = b"req/"
_ID = 15  # eight characters of a run, a hyphen, six digits
_RUNS = 16  # more runs than that in one frame are searched for one by one


def positions(texts: pd.Series[str], ids: pd.Index) -> tuple[Counts, Flags]:
    """Which request each text is about.

    Args:
        texts: messages or User-Agents (dtype str).
        ids: unique ids of requests (dtype str).

    Returns:
        The place in `ids` that each text's tag names, -1 for none; and which texts have a tag.
    """
    values = texts.to_numpy(dtype=object, na_value="")
    found = _by_end(values, ids.to_numpy(dtype=object))
    tagged = found >= 0
    rest = np.flatnonzero(~tagged)
    matches = [TAG.search(text) for text in values[rest]]
    tagged[rest] = [match is not None for match in matches]
    named = pd.Index([match[1] if match else "" for match in matches], dtype="str")
    found[rest] = ids.get_indexer(named)
    return found, tagged


def _by_end(texts: Texts, ids: Texts) -> Counts:
    """The place of the id that each text ends in after ``req/``; -1 for none."""
    places = np.full(len(texts), -1, dtype=np.int64)
    which, names = _ends(ids, _ID, exactly=True)
    rows, ends = _ends(texts, len(_WORD) + _ID)
    tagged = (ends[:, : len(_WORD)] == np.frombuffer(_WORD, dtype=np.uint8)).all(axis=1)
    rows, ends = rows[tagged], ends[tagged, len(_WORD) :]
    of_names, of_ends = _runs(names), _runs(ends)
    number_of_names, number_of_ends = _numbers(names), _numbers(ends)
    for run in np.unique(of_names)[:_RUNS]:
        if b"?" in run.tobytes():
            continue
        table = np.full(1_000_001, -1, dtype=np.int32)
        ours, same = of_names == run, of_ends == run
        table[number_of_names[ours]] = which[ours]
        table[-1] = -1  # where what should be a number is none
        places[rows[same]] = table[number_of_ends[same]]
    return places


def _ends(texts: Texts, size: int, *, exactly: bool = False) -> tuple[Counts, Matrix]:
    """Which texts have `size` characters (or more), and the last ones of each as a matrix.

    One byte a character; what is beyond Latin-1 becomes a question mark.
    """
    body = np.frombuffer("".join(texts).encode("latin-1", "replace"), dtype=np.uint8)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    rows = np.flatnonzero(lengths == size if exactly else lengths >= size)
    every: npt.NDArray[np.void] = np.ndarray(
        (max(len(body) - size + 1, 0),), dtype=f"V{size}", buffer=body, strides=(1,)
    )
    ends: Matrix = every[np.cumsum(lengths)[rows] - size].view(np.uint8).reshape(-1, size)
    return rows, ends


def _runs(names: Matrix) -> npt.NDArray[np.uint64]:
    """The run of each id as one number."""
    runs: npt.NDArray[np.uint64] = np.ascontiguousarray(names[:, :8]).view(np.uint64)[:, 0]
    return runs


def _numbers(names: Matrix) -> Counts:
    """The number at the end of each id; -1 where it is no hyphen and six digits."""
    digits = names[:, -6:] - np.uint8(48)  # anything but a digit wraps to above 9
    value = np.zeros(len(names), dtype=np.int64)
    for column in range(6):
        value = value * 10 + digits[:, column]
    good = (digits <= 9).all(axis=1) & (names[:, 8] == ord("-"))
    return np.where(good, value, -1)
