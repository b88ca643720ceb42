"""Names of a run, and removing what dead runs left.

Every run has names of its own (zt-PID.N-HOST), so that two runs do not meet. A lock file per run tells whether its
owner lives; a new run removes what dead ones left.
"""
import fcntl
import glob
import os
import re
import shutil
import tempfile

from .processes import pid_alive, sh

PREFIX = "zt-"
LOCKS = "/run/lock"
FOLDER_PREFIX = f"zt-net-{os.getpid()}."  # of temporary folders
_owner_lock = None


def claim():
    """Holds this process's lock until its end, and sweeps."""
    global _owner_lock
    os.makedirs(LOCKS, exist_ok=True)
    if _owner_lock is None:
        _owner_lock = open(f"{LOCKS}/{PREFIX}{os.getpid()}.lock", "w")
        fcntl.flock(_owner_lock, fcntl.LOCK_EX)
    sweep()


def remove_namespace(name):
    sh("ip", "netns", "del", name, check=False)


def sweep():
    """Removes the namespaces of runs whose owner is dead (its lock is free), or that have no lock any more."""
    for line in sh("ip", "netns", "list").splitlines():
        name = line.split()[0]
        owner = re.match(re.escape(PREFIX) + r"(\d+)\.\d+-", name)
        if owner and owner[1] != str(os.getpid()) and not lock_is_held(owner[1]):
            remove_namespace(name)
    for path in glob.glob(f"{LOCKS}/{PREFIX}[0-9]*.lock"):
        owner = os.path.basename(path)[len(PREFIX):-len(".lock")]
        if owner != str(os.getpid()) and not lock_is_held(owner):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
    sweep_folders(tempfile.gettempdir())


def sweep_folders(where):
    """Removes what killed runs left of their temporary folders. Their names tell the process: it makes them before it holds its lock."""
    for path in glob.glob(f"{where}/zt-net-[0-9]*.*"):
        owner = re.fullmatch(r"zt-net-(\d+)\..+", os.path.basename(path))
        if owner and not pid_alive(owner[1]):
            shutil.rmtree(path, ignore_errors=True)


def lock_is_held(owner):
    try:
        with open(f"{LOCKS}/{PREFIX}{owner}.lock", "rb") as f:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
