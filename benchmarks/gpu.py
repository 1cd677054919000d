"""What a GPU brings: epochs of the networks and the linear systems of `shelf`, on the device and on the CPU.

    python benchmarks/gpu.py [DATA] --out FOLDER [--rounds 5] [--device cuda] [--batch-size 65536]

The same code as `shelfwise train --set device=NAME`, all data on the device. Both devices in turn, ROUNDS times, each
in a process of its own; medians, smallest and largest. An epoch is the second one, since the first also warms up; for
it also how often the CPU waited for the GPU, which should be a few times an epoch and never for each batch.
NVIDIA's own NeuMF does 22.6 million samples a second on one A100 (Deep Learning Examples, ML-20M, implicit).
Without such a device it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

from epochs import inputs_of
from sidebyside import in_own_process, in_turn, keep, peak_memory, print_result, ratios, shown

MODELS = ("ncf", "hybrid")
RECIPES = ("notebook", "default")
SOLVES = "solves"


def epoch(data: str, model: str, recipe: Any, device: str, batch_size: int) -> dict[str, float]:
    """Ratings per second of the second epoch, and how often the CPU waited for the GPU in both."""
    import torch

    from shelfwise.lab import Lab, fit
    from shelfwise.models.registry import model_config
    from shelfwise.training.recipes import loop_settings

    prepared, features = inputs_of(data)
    config = model_config(model, recipe)
    wanted = {"device": device, "batch_size": batch_size, "epochs": 2}
    lab = Lab(features, 0, loop_settings(config, wanted | ({"adam_epochs": 2} if recipe == "notebook" else {})))
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        fitted = fit(config, prepared, lab)
    last = fitted.history[-1]
    return {"per_second": last["ratings_per_s"], "mse": last["valid_mse"], "waits": len(waits), "GiB": peak_memory()}


def solves(data: str, device: str) -> dict[str, float]:
    """Readers a second whose linear system is made and solved, everything on the device."""
    import torch

    from shelfwise.data.split import TRAIN
    from shelfwise.lab import Lab, fit
    from shelfwise.models.registry import model_config
    from shelfwise.models.similarity import BookTraits, KernelWeights, batches, system
    from shelfwise.training.settings import LoopSettings

    prepared, features = inputs_of(data)
    model: Any = fit(model_config("shelf"), prepared, Lab(features, 0, LoopSettings(epochs=1))).model
    shelves = prepared.ratings.where(prepared.parts == TRAIN).shelves()
    traits = BookTraits(*(getattr(model.books.traits, name).to(device) for name in BookTraits.__annotations__))
    items, y = (values.to(device) for values in model.residuals(shelves))
    found = [(b.places.to(device), b.real.to(device)) for b in batches(shelves)]

    def solve_all() -> Any:
        for places, real in found:
            *_, factor = system(traits, KernelWeights(), items[places], real)
            last = torch.cholesky_solve((y[places] * real)[..., None], factor)
        return last.cpu()  # waits for the device

    solve_all()
    start = time.perf_counter()
    solve_all()
    return {"per_second": len(shelves) / (time.perf_counter() - start), "GiB": peak_memory()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="goodbooks-10k")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-size", type=int, default=65_536)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, recipe, device, data, batch_size = options.one
        if kind == SOLVES:
            return print_result(solves(data, device))
        return print_result(epoch(data, kind, recipe, device, int(batch_size)))

    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: nothing measured")
        return None
    found: dict[str, Any] = {}
    print(f"| | {options.device}, a second | cpu, a second | ratio | waits |\n| --- | --- | --- | --- | --- |")
    cases = [(model, recipe) for model in MODELS for recipe in RECIPES]
    for case in [*cases, (SOLVES, "all")]:
        kinds = {
            device: lambda case=case, device=device: in_own_process(
                __file__, *case, device, options.data, options.batch_size
            )
            for device in dict.fromkeys((options.device, "cpu"))
        }
        name = " ".join(case)
        found[name] = in_turn(kinds, options.rounds)
        there, here = found[name][options.device], found[name]["cpu"]
        cells = [shown(there["per_second"]), shown(here["per_second"])]
        cells.append(shown(ratios(there["per_second"], here["per_second"])))
        print(f"| {name} | {' | '.join(cells)} | {int(max(there.get('waits', [0])))} |", flush=True)
        keep(options.out, "gpu", found)
    return None


if __name__ == "__main__":
    main()
