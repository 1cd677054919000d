"""Write docs/cli.md from the commands' own help: python docs/make_cli.py [FILE]"""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from typer.testing import CliRunner

from shelfwise.cli.app import app

INTRO = """# Command line

Made from `shelfwise COMMAND --help` by `python docs/make_cli.py`; a test keeps it true.

Data goes to stdout, all else to stderr. Exit status: 0 done, 1 expected failure (an `error:` line and mostly
a `hint:` on stderr), 2 wrong call. A list or table is printed for people on a terminal and as CSV in a pipe.
"""


def command_names() -> list[list[str]]:
    """Every command as its words, in the order of registration."""
    names = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        names += [[name, sub] for sub in below] if below else [[name]]
    return names


def reference() -> str:
    """The whole page."""
    runner = CliRunner(env={"COLUMNS": "100", "TERM": "dumb"})
    sections = [INTRO]
    for words in command_names():
        shown = runner.invoke(app, [*words, "--help"], prog_name="shelfwise").stdout
        text = "\n".join(line.rstrip() for line in shown.strip().splitlines())
        sections.append(f"## shelfwise {' '.join(words)}\n\n```\n{text}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("cli.md")
    target.write_text(reference(), encoding="utf-8")
