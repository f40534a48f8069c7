"""Take every family through all steps, and write what came out: ``python -m tests.sweep``.

With names of families, only these. With ``page`` alone, only the page is written.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import icd.training  # noqa: F401  (puts mmcv's operators in place before mmdet is imported)
from tests.lab import Lab, make
from tests.sweep.families import Family, families
from tests.sweep.page import OUTCOME, PAGE, page, read


def main(names: list[str]) -> None:
    """Take families through the steps, each in a process of its own, which may crash."""
    torch.set_num_threads(1)
    known = families()
    found = read() if OUTCOME.is_file() else {}
    if names != ["page"]:
        with tempfile.TemporaryDirectory() as folder:
            lab = make(Path(folder, "lab"))
            for name in names or known:
                start = time.perf_counter()
                found[name] = apart(known[name], lab.at(Path(folder, name)))
                if found[name]["failed"] and known[name].because:
                    found[name]["reason"] = known[name].because
                state = f"{found[name]['failed']} fails" if found[name]["failed"] else "works"
                seconds = time.perf_counter() - start
                print(f"{name}: {state} ({seconds:.0f} s) {found[name]['reason']}", flush=True)
                write({name: found[name] for name in known if name in found})
    PAGE.write_text(page())
    print(f"written: {PAGE}")


def write(found: dict[str, Any]) -> None:
    """Write the outcome of all families."""
    OUTCOME.write_text(json.dumps(found, indent=1) + "\n")


def apart(family: Family, lab: Lab) -> dict[str, Any]:
    """The outcome of a family, computed in a process of its own."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=child, args=(family, lab, theirs))
    process.start()
    theirs.close()
    try:
        outcome: dict[str, Any] = ours.recv()
    except EOFError:
        process.join()
        reason = f"the process ended with status {process.exitcode}"
        outcome = {"failed": "train", "reason": reason}
    process.join()
    return outcome


def child(family: Family, lab: Lab, pipe: Any) -> None:
    """Send the outcome of a family; what its training prints goes to a log."""
    from tests.sweep.steps import go

    lab.project.mkdir(parents=True)
    log = (lab.project / "log").open("w", buffering=1)
    sys.stdout = sys.stderr = log
    pipe.send(asdict(go(family, lab)))


if __name__ == "__main__":
    main(sys.argv[1:])
