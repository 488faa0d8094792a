"""CPU and memory of a process and everything it started, from /proc."""

from __future__ import annotations

import psutil


class Meter:
    """Reads one process tree; what has ended keeps the CPU it had at the last look."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._cpu_s: dict[int, float] = {}

    def cpu_s(self) -> float:
        """User and system seconds so far."""
        for process in self._tree():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            self._cpu_s[process.pid] = times.user + times.system
        return sum(self._cpu_s.values())

    def rss_mb(self) -> float:
        """Resident memory now."""
        total = 0
        for process in self._tree():
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / 2**20

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
