"""The compiled loops: known answers of what is drawn, products of matrices, and where nothing can be kept on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfwise.training import compiled as compiled_module
from shelfwise.training.compiled import compiled
from shelfwise.training.kernels import add_product, draw_words


def drawn(seed: int, n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    words = np.empty(n, np.uint64)
    draw_words(np.uint64(seed), words)
    return words


def test_words_are_those_of_splitmix64() -> None:
    """Of the authors' program, whose state goes a step on before it draws."""
    assert [hex(word) for word in drawn(0, 4)[1:]] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]
    assert drawn(2**64 - 1, 3).tolist() != drawn(0, 3).tolist()


@pytest.mark.parametrize("dropped", [1, 26, 77, 128, 179, 230, 255])
def test_bytes_keep_the_share_asked_for_each_number_on_its_own(dropped: int) -> None:
    n = 1 << 20
    share = 1 - dropped / 256
    kept = drawn(dropped, n // 8).view(np.uint8) >= dropped
    assert kept.mean() == pytest.approx(share, abs=4 * (share * (1 - share) / n) ** 0.5)
    for apart in (1, 2, 8, n // 32, n // 4):  # neighbours, and those that share a word
        both = (kept & np.roll(kept, apart)).mean()
        assert both == pytest.approx(share**2, abs=5 * (share**2 / n) ** 0.5), apart


@given(sizes=st.tuples(*3 * [st.integers(1, 40)]), turned=st.tuples(st.booleans(), st.booleans()), add=st.booleans())
@settings(max_examples=60, deadline=None)
def test_products_are_numpys(sizes: tuple[int, int, int], turned: tuple[bool, bool], *, add: bool) -> None:
    m, k, n = sizes
    draw = np.random.default_rng(sum(sizes))
    a, b, found = (draw.normal(size=size).astype(np.float32) for size in ((m, k), (k, n), (m, n)))
    wanted = a @ b + add * found
    given_a, given_b = (np.ascontiguousarray(x.T) if t else x for x, t in zip((a, b), turned, strict=True))
    add_product(given_a, turned[0], given_b, turned[1], np.float32(add), found)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_products_are_the_same_whichever_library_takes_them() -> None:
    """SciPy's too, where PyTorch brings no MKL; code kept on disk goes by what is found in each process."""
    code = (
        "import sys, torch, numpy as np; torch.backends.mkl.is_available = lambda: sys.argv[1] == 'there';"
        "import shelfwise.training.products as p; from shelfwise.training.kernels import add_product;"
        "a = np.arange(60, dtype=np.float32).reshape(6, 10); c = np.zeros((6, 6), np.float32);"
        "add_product(a, False, a, True, np.float32(0), c); print(p.mkl_sgemm() is None, *c.reshape(-1).tolist())"
    )
    found = [
        subprocess.run([sys.executable, "-c", code, there], capture_output=True, text=True, check=True).stdout.split()
        for there in ("there", "not there")
    ]
    a = np.arange(60.0).reshape(6, 10)
    assert [float(number) for number in found[0][1:]] == [float(number) for number in found[1][1:]]
    assert [float(number) for number in found[1][1:]] == (a @ a.T).reshape(-1).tolist()
    assert found[1][0] == "True"


def test_where_nothing_can_be_kept_it_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def njit(*, cache: bool = False, **options: object) -> object:
        tried.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda loop: (loop, options)

    monkeypatch.setattr(compiled_module, "njit", njit)
    loop, options = compiled(draw_words)
    assert loop is draw_words
    assert options["nogil"]
    assert tried == [True, False]


def test_code_that_was_kept_is_taken_by_the_next_process(tmp_path: Path) -> None:
    """Compiled once for all runs: the second process finds it in numba's cache."""
    code = (
        "import numpy as np; from shelfwise.training.kernels import draw_words as d; w = np.empty(1, np.uint64);"
        "d(np.uint64(0), w); print(sum(d.stats.cache_hits.values()), sum(d.stats.cache_misses.values()))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert found == [["0", "1"], ["1", "0"]]
