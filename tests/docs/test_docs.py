"""The documents say what is true: code in the README runs, references are complete, links lead somewhere."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shelfwise import errors

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_the_errors_page_lists_every_code() -> None:
    listed = re.findall(
        r"^\| `([a-z-]+)` \| `(\w+)` \| (\d)", (ROOT / "docs/errors.md").read_text(encoding="utf-8"), re.M
    )
    classes = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, errors.ShelfwiseError)]
    raised = {(c.code, c.__name__, str(c.exit_code)) for c in classes if c is not errors.ShelfwiseError}
    assert set(listed) == raised
    assert all(name in (errors.__doc__ or "") for _, name, _ in raised)


def test_the_command_line_page_is_current(tmp_path: Path) -> None:
    made = tmp_path / "cli.md"
    subprocess.run([sys.executable, ROOT / "docs/make_cli.py", made], check=True)
    current = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert made.read_text(encoding="utf-8") == current, "run: python docs/make_cli.py"


def test_the_readmes_python_example_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert blocks
    for block in blocks:
        subprocess.run(
            [sys.executable, "-c", block], check=True, cwd=tmp_path, env={**os.environ, "SHELFWISE_DATA": ""}
        )


def test_the_readmes_shell_examples_name_real_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"^shelfwise (\w+(?: fetch)?)", "\n".join(re.findall(r"```sh\n(.*?)```", text, re.S)), re.M))
    documented = set(re.findall(r"^## shelfwise ([\w ]+)$", (ROOT / "docs/cli.md").read_text(encoding="utf-8"), re.M))
    assert used
    assert used <= documented
