"""Rounds: each server has its turn in every one, so that all meet the same machine."""

import statistics
from collections.abc import Callable, Mapping

from harness.load import Sample

Samples = dict[str, list[Sample]]


def interleave(subjects: Mapping[str, Callable[[], Sample]], rounds: int) -> Samples:
    """Measures all in turn, so many times; one more round before that warms up and is dropped."""
    samples: Samples = {name: [] for name in subjects}
    for count in range(rounds + 1):
        for name, subject in subjects.items():
            sample = subject()
            if count:
                samples[name].append(sample)
    return samples


def median(samples: list[Sample], figure: str) -> float:
    """The median over the rounds."""
    return float(statistics.median(getattr(sample, figure) for sample in samples))


def ratio(samples: list[Sample], base: list[Sample]) -> float:
    """Processor time for one request against that of another server.

    The median of each round's ratio: what slows a whole round down cancels out.
    """
    pairs = zip(samples, base, strict=True)
    return statistics.median(sample.cpu_us / other.cpu_us for sample, other in pairs)
