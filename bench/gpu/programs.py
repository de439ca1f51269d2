"""Executables of a build, on the GPU: where they are, what they find there, and what they say."""

import contextlib
import lzma
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

from gpu.results import Unreadable

ROOT = pathlib.Path(__file__).resolve().parents[2]
ON_GPU = {"BLOCKGRAD_TEST_DEVICE": "cuda", "BLOCKGRAD_TEST_ALL": "1"}  # every dtype of every row, not a tenth
FOLDERS = "BLOCKGRAD_CUDA_LIBRARY_PATH"
LONGEST_SAID = 100_000  # characters that are kept in the log of a run


class OutOfTime(Exception):
    pass


def toolkit():
    """That of the nvcc which is found first; None without one."""
    nvcc = shutil.which("nvcc")
    return pathlib.Path(nvcc).resolve().parents[1] if nvcc else None


def library_folders(python):
    """Of NVRTC and cuBLASLt where the loader may not look: nvcc's toolkit, and packages of the interpreter."""
    folders = []
    if toolkit():
        folders += [toolkit() / "lib64", toolkit() / "lib", *toolkit().glob("targets/*/lib")]
    folders += sorted(pathlib.Path(python).absolute().parent.parent.glob("lib/python3*/*-packages/nvidia/*/lib"))
    return [str(folder) for folder in folders if any(any(folder.glob(f"lib{name}.so.1[23]")) for name in ("nvrtc", "cublasLt"))]


class Programs:
    """Of a build's folder, or of an archive that pack() made. What they say goes to the log, if there is one."""

    peers = ROOT / "bench" / "peers"

    def __init__(self, build, sanitizer=None, python=None, log=None):
        self.build = pathlib.Path(build)
        if self.build.is_file():
            self.unpacked = tempfile.TemporaryDirectory()  # goes with this
            try:
                shutil.unpack_archive(self.build, self.unpacked.name)
            except (OSError, EOFError, lzma.LZMAError, tarfile.TarError) as error:
                self.unpacked.cleanup()
                raise Unreadable(f"{build}: no programs that pack wrote, or not all of them: {error}") from error
            self.build = pathlib.Path(self.unpacked.name)
        installed = ROOT / "build" / "peers" / "bin" / "python"
        self.python = python or (installed if installed.exists() else sys.executable)
        self.sanitizer = sanitizer or self.found_sanitizer()
        self.log, self.lock, self.running, self.is_stopped = log, threading.Lock(), set(), False
        folders = [os.environ[FOLDERS]] if os.environ.get(FOLDERS) else library_folders(self.python)
        libraries = [str(self.build / "lib")] + ([os.environ["LD_LIBRARY_PATH"]] if os.environ.get("LD_LIBRARY_PATH") else [])
        self.environment = os.environ | ON_GPU | ({FOLDERS: ":".join(folders)} if folders else {})
        if (self.build / "lib").is_dir():
            self.environment["LD_LIBRARY_PATH"] = ":".join(libraries)

    @staticmethod
    def found_sanitizer():
        there = [toolkit() / place for place in ("bin/compute-sanitizer", "compute-sanitizer/compute-sanitizer")] if toolkit() else []
        return shutil.which("compute-sanitizer") or next((path for path in there if path.exists()), "compute-sanitizer")

    def path(self, name):
        for folder in ("tests", "examples", "bench"):
            if (self.build / folder / name).exists():
                return self.build / folder / name
        return None

    def call(self, command, seconds):
        """The exit status, and all that was said."""
        start = time.monotonic()
        with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", text=True,
                              env=self.environment, cwd=ROOT, start_new_session=True) as program:
            with self.lock:
                self.running.add(program)
                is_stopped = self.is_stopped
            try:
                said, _ = program.communicate(timeout=0 if is_stopped else seconds)
            except BaseException as error:
                os.killpg(program.pid, signal.SIGKILL)  # with what it started
                if isinstance(error, subprocess.TimeoutExpired):
                    said, _ = program.communicate()
                    self.keep(command, "out of time", said, time.monotonic() - start)
                    raise OutOfTime from error
                raise
            finally:
                with self.lock:
                    self.running.discard(program)
        self.keep(command, f"status {program.returncode}", said, time.monotonic() - start)
        return program.returncode, said

    def keep(self, command, end, said, seconds):
        if self.log is None:
            return
        with self.lock:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with open(self.log, "a") as log:
                log.write(f"$ {' '.join(str(word) for word in command)}\n{said[-LONGEST_SAID:]}\n[{end}, {seconds:.1f} s]\n\n")

    def stop(self):
        """Ends what other threads have called, and call from now on."""
        with self.lock:
            self.is_stopped = True
            for program in self.running:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.killpg(program.pid, signal.SIGKILL)

    def peers_beside(self, command, seconds):
        """Runs a script by the interpreter that has the peers, for so many seconds. Empty, or why it did not get to its end."""
        try:
            status, said = self.call([self.python, "-B", *command], seconds)
        except OutOfTime:
            return "the peers were not done in time"
        return "" if status == 0 else "no peers: " + (said.strip().splitlines() or ["they said nothing"])[-1]

    def why_no_gpu(self):
        """Empty where there is one; and what the engine says of its devices."""
        if not self.build.exists():
            return f"there is no {self.build}", ""
        if self.path("bench_device") is None:
            return "bench_device is not built", ""
        try:
            status, said = self.call([self.path("bench_device")], 60)
        except OutOfTime:
            return "bench_device does not end", ""
        cuda = re.search(r"^cuda: (.*)", said, re.MULTILINE)
        if cuda is None:
            return f"bench_device says nothing of CUDA (status {status}): {said.strip()[-300:]}", said
        return (cuda[1].removeprefix("off, ") if cuda[1].startswith("off") else ""), said

    def suites(self, name):
        if self.path(name) is None:
            return []
        _, said = self.call([self.path(name), "--list_content", "--color_output=no"], 60)
        return re.findall(r"^(\w+)\*?(?::.*)?$", said, re.MULTILINE)
