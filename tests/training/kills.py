"""Kill trainings at random moments, restart them, and compare with an uninterrupted training.

``python tests/training/kills.py --kills 200`` runs longer than the tests do. It prints its progress
and fails at the first bit that differs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import torch
from mmengine.fileio.backends import LocalBackend

from icd import mmcv_ext
from icd.experiments.run import TrainedRun
from icd.figures.measure_losses import logged
from icd.files import PREFIX
from icd.process.lock import locked
from icd.process.signals import interruptible
from icd.training import config
from tests import lab as laboratory
from tests.lab import Lab, differing, weights

EVERY = 3  # iterations between checkpoints
HOOKS = config.default_hooks


def logged_often(run: TrainedRun, checkpoint_every: int) -> dict[str, dict]:
    """mmengine's hooks, with a log of losses also of trainings as short as these."""
    hooks = HOOKS(run, checkpoint_every)
    log = {"logger": {"type": "LoggerHook", "interval": 2}}
    return hooks | log | {"runtime_info": {"type": "LossHook", "interval": 2}}


def train(lab: Lab, run: TrainedRun, every: int = EVERY) -> Path:
    """Carry out a run; its folder."""
    with mock.patch.object(config, "default_hooks", logged_often):
        return lab.train(run, checkpoint_every=every)


def write_half(backend: LocalBackend, content: bytes, file: str) -> None:
    """In place of mmengine's writing of a checkpoint: the process dies in the middle of it."""
    with open(file, "wb") as stream:
        stream.write(content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk(backend: LocalBackend, content: bytes, file: str) -> None:
    """In place of mmengine's writing of a checkpoint: there is room for a part of it."""
    with open(file, "wb") as stream:
        stream.write(content[: len(content) // 2])
    raise OSError(28, os.strerror(28))


def cut_off(lab: Lab, run: TrainedRun, rng: random.Random) -> None:
    """Truncate the newest checkpoint, as a disk may that has lost its power."""
    files = sorted((lab.folder(run) / "work").glob("iter_*.pth"), key=os.path.getmtime)
    if files:
        os.truncate(files[-1], rng.randrange(files[-1].stat().st_size))


@dataclass
class Kills:
    """Trains a run in processes of its own that are ended in many ways.

    lab: where; run: what; rng: decides about moments; seconds: an undisturbed training takes;
    done: the ways in which processes have ended.
    """

    lab: Lab
    run: TrainedRun
    rng: random.Random
    seconds: float
    done: Counter[str] = field(default_factory=Counter)

    def start(self, writing: Callable | None = None) -> int:
        """Start or continue the training in a process; its id."""
        process = os.fork()
        if process:
            return process
        status = 1
        try:
            with open(self.lab.project / "output.txt", "a") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            put = writing or LocalBackend.put
            self.lab.folder(self.run).mkdir(parents=True, exist_ok=True)
            with (
                locked(self.lab.folder(self.run)),
                interruptible("run"),
                mock.patch.object(LocalBackend, "put", put),
            ):
                train(self.lab, self.run)
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            with open(self.lab.project / "output.txt", "a") as output:
                traceback.print_exc(file=output)
        finally:
            os._exit(status)

    def wait(self, process: int, way: str) -> int:
        """Wait for the end of a process; its status, negative for the signal that killed it."""
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        self.done[way if status else "finished before its kill"] += 1
        return status

    def kill(self, number: signal.Signals, way: str) -> int:
        """Send a signal at a random moment of the training, its start and end included."""
        process = self.start()
        time.sleep(self.rng.uniform(0, self.seconds))
        os.kill(process, number)
        return self.wait(process, way)

    def end(self, way: str) -> int:
        """Start the training, and let it end in a way; the status of its process."""
        if way == "SIGKILL" or way == "SIGTERM":
            return self.kill(signal.Signals[way], way)
        if way == "cut off":
            cut_off(self.lab, self.run, self.rng)
            return self.kill(signal.SIGKILL, way)
        writing = {"write": write_half, "full disk": fill_disk}[way]
        return self.wait(self.start(writing), way)


# At a random moment; in the middle of writing a checkpoint; at a random moment, the checkpoint
# before it cut off at a random length; without room for a checkpoint.
WAYS = ("SIGKILL", "SIGTERM", "write", "cut off", "full disk")


def torment(lab: Lab, run: TrainedRun, whole: Lab, kills: int, rng: random.Random) -> Counter[str]:
    """Kill a training ``kills`` times, begin another one whenever it is done, compare each.

    Args:
        lab: an empty place for the trainings, with what they need.
        run: which is trained.
        whole: where it was trained in peace, with :func:`train`.
        kills: number of processes that are to be killed.
        rng: decides when and how.
    """
    done: Counter[str] = Counter()
    part, counted = 0, 0
    while counted < kills:
        victim = copy(lab.at(lab.project / f"{part}"), whole, run)
        ending = Kills(victim, run, rng, seconds=duration(whole, run))
        status = 1
        while status and counted < kills:
            status = ending.end(WAYS[rng.randrange(len(WAYS))])
            counted += status != 0
        if status:
            assert ending.wait(ending.start(), "") == 0, (victim.project / "output.txt").read_text()
        compare(victim.folder(run), whole.folder(run))
        done, part = done + ending.done, part + 1
    return done + Counter({"trainings compared": part})


def copy(lab: Lab, whole: Lab, run: TrainedRun) -> Lab:
    """A fresh place with what the run needs of others."""
    lab.project.mkdir()
    for source in run.sources:
        lab.place(source, whole)
    return lab


def duration(whole: Lab, run: TrainedRun) -> float:
    """Seconds that the undisturbed training took."""
    return float((whole.folder(run) / "seconds").read_text())


def undisturbed(lab: Lab, run: TrainedRun) -> Lab:
    """Train a run in peace, and note how long it takes."""
    start = time.monotonic()
    folder = train(lab, run)
    (folder / "seconds").write_text(str(time.monotonic() - start))
    return lab


def compare(tormented: Path, whole: Path) -> None:
    """Weights, optimiser and losses have the same bits; nothing half-written counts as done."""
    assert not differing(weights(tormented), weights(whole))
    assert logged(tormented / "work") == logged(whole / "work") != {}
    assert state(tormented) == state(whole)
    assert not [*tormented.rglob(f"{PREFIX}*.pth")]


def state(folder: Path) -> str:
    """All of the last checkpoint that decides how a training goes on, in full precision."""
    (*_, last) = sorted((folder / "work").glob("iter_*.pth"), key=lambda file: file.stat().st_mtime)
    content = torch.load(last, weights_only=True)
    keys = ("state_dict", "optimizer", "param_schedulers")
    with torch.no_grad():
        torch.set_printoptions(profile="full", precision=17)
        return repr([content[key] for key in keys])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    mmcv_ext.install()
    with tempfile.TemporaryDirectory() as folder:
        root, rng = Path(folder), random.Random(args.seed)
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            lab = laboratory.make(root)
            train(lab, lab.run(role="teacher"))
            whole = undisturbed(lab, lab.run(method="icd"))
            place = lab.at(root / "kills")
            place.project.mkdir()
            done = torment(place, lab.run(method="icd"), whole, args.kills, rng)
    for way, count in sorted(done.items()):
        print(f"{count:5} {way}")
    print("all ended with the same bits")


if __name__ == "__main__":
    main()
