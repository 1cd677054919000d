"""without_guards.py is not left behind by the code that it takes guards out of, or by the tests that watch them."""

from __future__ import annotations

import pytest
from without_guards import GUARDS, ROOT, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_each_guard_stands_just_once_and_its_test_is_there(guard: Guard) -> None:
    code = (ROOT / "src/shelfwise" / guard.file).read_text(encoding="utf-8")
    assert code.count(guard.text) == 1
    compile(code.replace(guard.text, guard.instead), guard.file, "exec")
    file, name = guard.test.split("::")
    assert f"def {name.split('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")
