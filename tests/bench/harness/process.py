"""What a process and its descendants have used, as `/proc` tells (proc(5))."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        children: list[int] = []
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{current}/task").iterdir():
                children += map(int, (task / "children").read_text().split())
            found.append(current)
        waiting += children
    return found


def cpu_seconds(pid: int) -> float:
    """Time on a processor, in nanoseconds' resolution: the sum over all living threads.

    `schedstat` rather than `stat`, whose clock ticks of 10 ms are too coarse for a short round.
    """
    total = 0
    for process in tree(pid):
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def pss_bytes(pid: int) -> int:
    """Memory of the tree; a page that several processes share counts once."""
    return sum(_kilobytes(pid, "smaps_rollup", "Pss")) << 10


def peak_rss_bytes(pid: int) -> int:
    """The most memory that one process of the tree has had since `reset_peak`."""
    return max(_kilobytes(pid, "status", "VmHWM"), default=0) << 10


def reset_peak(pid: int) -> None:
    """Lets `peak_rss_bytes` start anew at what is in use."""
    for process in tree(pid):
        with contextlib.suppress(OSError):
            Path(f"/proc/{process}/clear_refs").write_text("5")


def _kilobytes(pid: int, file: str, field: str) -> Iterator[int]:
    for process in tree(pid):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process}/{file}").read_text()
            if match := re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE):
                yield int(match[1])
