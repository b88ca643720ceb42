"""Small programs of bench/ that the rig compiles when they are needed, and where such things are kept."""
import os
import pathlib

from .processes import sh

ROOT = pathlib.Path(__file__).resolve().parents[3]


def tools_folder():
    """build/tools, for what is made once; it belongs to whoever called sudo, so that they can remove it."""
    folder = ROOT / "build/tools"
    for path in (folder.parent, folder):
        if not path.exists():
            path.mkdir()
            if "SUDO_UID" in os.environ:
                os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))
    return folder


def compiled(name):
    """bench/NAME.cpp, compiled when it is newer than its program."""
    source, binary = ROOT / f"bench/{name}.cpp", tools_folder() / name
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        fresh = binary.with_suffix(f".{os.getpid()}")
        sh("g++", "-O2", "-std=c++20", source, "-o", fresh)
        os.replace(fresh, binary)
    return str(binary)
