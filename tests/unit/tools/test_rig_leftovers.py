"""The end-to-end rig sweeps up after runs that were killed, and after nobody else."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tests/e2e"))
from ztna_net import leftovers  # noqa: E402


def pid_of_a_dead_process():
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_folders_of_dead_runs_go_and_others_stay(tmp_path):
    dead = tmp_path / f"zt-net-{pid_of_a_dead_process()}.abc"
    alive = tmp_path / f"{leftovers.FOLDER_PREFIX}abc"
    others = [tmp_path / name for name in ("zt-net-notes", f"zt-net-{os.getpid()}", "zt-other-1.x")]
    for folder in (dead, alive, *others):
        folder.mkdir()
        (folder / "file").write_text("x")
    leftovers.sweep_folders(tmp_path)
    assert not dead.exists()
    assert alive.exists()
    assert all(folder.exists() for folder in others)
