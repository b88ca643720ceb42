"""Processes that run in a host of the network, and waiting for what they do."""
import ctypes
import os
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    """A preexec_fn: the child is killed when this process ends, however it ends."""
    parent = os.getpid()

    def in_child():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between
            os._exit(1)
    return in_child


class Timeout(AssertionError):
    """What was waited for did not happen in time."""


def wait_for(condition, seconds, what):
    """Polls until condition() is true and returns its value; raises Timeout naming `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise Timeout(f"{what() if callable(what) else what}: not within {seconds} s")
        time.sleep(0.02)  # lint: polling pause


def sh(*command, check=True, text_in=None, timeout=120):
    """Runs a command and returns its standard output; a failure raises with what it said."""
    done = subprocess.run([str(c) for c in command], input=text_in, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Process:
    """A started program; dies with the test run at the latest (PDEATHSIG). Its output is in `log`."""

    def __init__(self, command, log):
        self.command, self.log_path = [str(c) for c in command], str(log)
        with open(self.log_path, "ab") as out:
            self.start_offset = out.tell()
            self.popen = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                          preexec_fn=die_with_parent())

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def log(self):
        """What this process has written (not its predecessors in the same file)."""
        with open(self.log_path, "rb") as f:
            f.seek(self.start_offset)
            return f.read().decode(errors="replace")

    def wait_log(self, text, seconds=10):
        """Waits until `text` stands in the log; fails at once when the process has ended without it."""
        def there():
            if text in self.log():
                return True
            if not self.running() and text not in self.log():
                raise Timeout(f"ended with {self.popen.returncode} before {text!r} was logged:\n{self.log()[-2000:]}")
            return False
        wait_for(there, seconds, lambda: f"{text!r} in {self.log_path}:\n{self.log()[-2000:]}")

    def signal(self, number):
        if self.running():
            self.popen.send_signal(number)

    def kill9(self):
        """Ends it without giving it a chance to say goodbye."""
        self.signal(signal.SIGKILL)
        self.popen.wait(10)

    def wait(self, seconds):
        """The exit code, within `seconds`."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.command[0]} still runs after {seconds} s:\n{self.log()[-2000:]}") from None

    def stop(self, patience=5.0):
        """SIGTERM, then SIGKILL after `patience` seconds; returns the exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill9()
            return self.popen.returncode


def mounts_of_its_own():
    """Whether a process may have mounts of its own. In a chroot whose root is no mount point it may not."""
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


def pid_alive(pid):
    """Whether the process runs; one that ended and waits to be collected does not."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
