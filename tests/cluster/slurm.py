"""A real Slurm of two nodes on this machine, each with two fake GPUs, without systemd."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CONFIG = Path("/etc/slurm")  # the daemons and the executor plugin look for it nowhere else
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
NODES, GPUS = 2, 2  # and GPUs of each node
SHORT = 15  # minutes that the partition of that name allows

SLURM_CONF = """
ClusterName=icd-test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
ReturnToService=2
KillWait=30
OverTimeLimit=0
MinJobAge=3600
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=16000 Gres=gpu:2
NodeName=n2 NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=16000 Gres=gpu:2
PartitionName=gpus Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=n1,n2 MaxTime={short} State=UP
"""


def missing() -> str | None:
    """Why a Slurm of our own cannot run here; None if it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if absent:
        return f"Slurm is not installed: there is no {', '.join(absent)}"
    if os.geteuid() != 0:
        return "starting a Slurm takes root"
    found = CONFIG / "slurm.conf"
    if found.exists() and "ClusterName=icd-test" not in found.read_text():  # ours, left by a crash
        return f"{found} exists: this machine may belong to a cluster"
    return None


def search_path() -> str:
    """Where programs lie, those of the system's administrator among them."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other test has a cluster on this machine: they would share ``CONFIG``."""
    with Path(tempfile.gettempdir(), "icd-slurm.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class Controller:
    """The daemon that all programs of Slurm ask. While it is down, there is an outage."""

    def __init__(self) -> None:
        self.process = _start("slurmctld", "-D", "-i")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def start(self) -> None:
        self.process = _start("slurmctld", "-D")
        wait(lambda: "n1" in ask("sinfo", "-h", "-o", "%n"), 120, "answer of Slurm")


@contextmanager
def cluster(folder: Path) -> Iterator[Controller]:
    """Run a cluster whose state and logs lie in ``folder``."""
    with alone(), _cluster(folder) as controller:
        yield controller


@contextmanager
def _cluster(folder: Path) -> Iterator[Controller]:
    folder.chmod(0o755)
    for gpu in range(NODES * GPUS):
        os.mknod(folder / f"gpu{gpu}", 0o666 | 0o020000, os.makedev(1, 3))
    written = _write_configuration(folder)
    daemons: list[subprocess.Popen] = []
    try:
        daemons += _start_munge(folder)
        controller = Controller()
        daemons += [_start("slurmd", "-D", "-N", f"n{node + 1}") for node in range(NODES)]
        wait(lambda: {*ask("sinfo", "-h", "-o", "%T").split()} == {"idle"}, 120, "idle nodes")
        yield controller
    finally:
        with suppress(subprocess.CalledProcessError, TimeoutError):
            ask("scancel", "--user=root")
            wait(lambda: ask("squeue", "-h") == "", 120, "empty queue")
        daemons.insert(1, controller.process)
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in daemons:
            daemon.wait(60)
        for file in written:
            file.unlink()


def _write_configuration(folder: Path) -> list[Path]:
    CONFIG.mkdir(exist_ok=True)
    gpus = ""
    for node in range(NODES):
        first, last = node * GPUS, (node + 1) * GPUS - 1
        gpus += f"NodeName=n{node + 1} Name=gpu File={folder}/gpu[{first}-{last}]\n"
    text = SLURM_CONF.format(
        host=socket.gethostname(), folder=folder, ports=_free_ports(3), short=SHORT
    )
    files = {"slurm.conf": text, "gres.conf": gpus}
    (folder / "state").mkdir()
    for node in range(NODES):
        (folder / f"spool-n{node + 1}").mkdir()
    for name, content in files.items():
        (CONFIG / name).write_text(content)
    return [CONFIG / name for name in files]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _start_munge(folder: Path) -> list[subprocess.Popen]:
    """The daemon that signs messages, unless the machine runs one already."""
    if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
        return []
    Path("/run/munge").mkdir(exist_ok=True)
    daemon = _start("munged", "--foreground", "--force", f"--log-file={folder}/munged.log")
    wait(lambda: subprocess.run(["munge", "-n"], capture_output=True).returncode == 0, 60, "munge")
    return [daemon]


def _start(*command: str) -> subprocess.Popen:
    clean = {name: value for name, value in os.environ.items() if "SLURM" not in name}
    return subprocess.Popen(
        command,
        env=clean | {"PATH": search_path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def ask(*command: str) -> str:
    """What a program of Slurm prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something is the case; it fails with ``what`` otherwise."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(subprocess.CalledProcessError):  # its daemons start or stop
            if done():
                return
        time.sleep(0.2)
    raise TimeoutError(f"no {what} within {seconds} s")
