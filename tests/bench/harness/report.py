"""Figures as Markdown for people and as JSON for programs."""

import json
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Cell = str | float | int | None


@dataclass
class Table:
    """One measurement: a title, columns and a row for each server."""

    title: str
    columns: dict[str, int]
    """The name of each column and the digits behind the point of its numbers."""
    note: str = ""
    rows: list[list[Cell]] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        """One row; a cell for each column."""
        self.rows.append(list(cells))

    def markdown(self) -> str:
        """The table as GitHub renders it."""
        lines = [f"### {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines.append("| " + " | ".join(self.columns) + " |")
        lines.append("|---|" + "--:|" * (len(self.columns) - 1))
        for row in self.rows:
            cells = map(_text, row, self.columns.values())
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"

    def plain(self) -> dict[str, Any]:
        """The table as JSON has it."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "note": self.note, "rows": rows}


def machine(versions: dict[str, str]) -> dict[str, Any]:
    """Where and when; figures of two machines cannot be compared."""
    cpu = next(
        (line.partition(": ")[2] for line in _cpuinfo() if line.startswith("model name")), ""
    )
    return {
        "cores": os.cpu_count(),
        "cpu": cpu,
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "kernel": platform.release(),
        "load": round(os.getloadavg()[0], 1),
        "versions": versions,
    }


def write_json(path: Path, where: dict[str, Any], tables: list[Table]) -> None:
    """All of a run in one file."""
    run = {"machine": where, "tables": [table.plain() for table in tables]}
    path.write_text(json.dumps(run, indent=1) + "\n")


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()


def _text(cell: Cell, digits: int) -> str:
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else f"{cell:,.{digits}f}"
