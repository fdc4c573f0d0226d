"""The outside of a sandbox: a bubblewrap that stays, and starts one program after the other."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from guerdon.score.sandbox.results import Limits, Result, SandboxUnavailableError, TestResult

INSIDE = Path(__file__).with_name("inside.py")
START_SECONDS, GRACE_SECONDS = 60.0, 5.0
_LIBRARIES = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin")

# bubblewrap dies with the thread that started it, so one thread that never ends starts them all.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="guerdon-sandbox")


class KeeperDiedError(RuntimeError):
    """The sandbox ended, or does not answer; the program may not be to blame."""


def bubblewrap() -> str:
    """The path of bubblewrap.

    Raises:
        SandboxUnavailableError: It is not installed.
    """
    found = shutil.which("bwrap")
    if found is None or not sys.platform.startswith("linux"):
        raise SandboxUnavailableError(
            "programs of a model are run in bubblewrap, which is not on this machine: install it (on Debian or Ubuntu: "
            "apt-get install bubblewrap), or run them with unsafe=True, as any other program of yours"
        )
    return found


def command() -> list[str]:
    """The command line of a sandbox: no network, no files but a bare Python, no environment, one writable /tmp."""
    python = Path(sys.base_prefix)
    words = [bubblewrap(), "--die-with-parent", "--new-session", "--clearenv", "--setenv", "LANG", "C.UTF-8"]
    if os.getuid() == 0:
        # Root's keeper maps each program to a user that owns nothing. It needs these rights for it, and no others.
        words += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        words += ["--cap-drop", "ALL"]
        for right in ("CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID"):
            words += ["--cap-add", right]
    else:
        words += ["--unshare-all"]
    for folder in _LIBRARIES:
        if os.path.islink(folder):
            words += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            words += ["--ro-bind", folder, folder]
    if not python.is_relative_to("/usr"):
        words += ["--ro-bind", str(python), "/python"]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--ro-bind", str(INSIDE), "/inside.py"]
    words += ["--remount-ro", "/", "--remount-ro", "/dev", "--chdir", "/tmp", "--hostname", "sandbox"]
    if os.getuid() == 0:
        words.remove("--hostname")
        words.remove("sandbox")
    return [*words, interpreter(python), "-I", "-S", "-B", "/inside.py", "isolated"]


def interpreter(python: Path) -> str:
    """The path that the interpreter of this process has inside."""
    name = f"python{sysconfig.get_python_version()}"
    return f"{python}/bin/{name}" if python.is_relative_to("/usr") else f"/python/bin/{name}"


class Keeper:
    """One sandbox. It runs one program at a time, and is started again when it died.

    Args:
        unsafe: Run programs as plain processes with limits, without a sandbox.
    """

    def __init__(self, unsafe: bool = False) -> None:
        self.unsafe = unsafe
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def run(self, program: str, stdin: str, limits: Limits) -> Result:
        """Run a program as a script.

        Raises:
            KeeperDiedError: The sandbox ended, or does not answer.
        """
        with contextlib.ExitStack() as stack:
            handed = [_file(stack, program), _file(stack, stdin)]
            outputs = [_pipe(stack), _pipe(stack)]
            told = {"kind": "script", "limits": asdict(limits)}
            texts, reply = self._ask(told, handed, outputs, limits, counted=2)
        return _result(texts, reply, limits, self.unsafe)

    def test(self, program: str, test: str, entry: str | None, limits: Limits) -> TestResult:
        """Run a test against a program.

        Raises:
            KeeperDiedError: The sandbox ended, or does not answer.
        """
        with contextlib.ExitStack() as stack:
            handed = [_file(stack, program), _file(stack, test)]
            outputs = [_pipe(stack), _pipe(stack), _pipe(stack)]
            told = {"kind": "pair", "entry": entry, "limits": asdict(limits)}
            texts, reply = self._ask(told, handed, outputs, limits, counted=2)
        result = _result(texts[:2], reply, limits, self.unsafe)
        if result.outcome in ("broken", "timeout", "memory", "output"):
            return TestResult(None if result.outcome == "broken" else False, result.reason, result)
        try:
            verdict = json.loads(texts[2])
            passed = None if verdict["broken"] else bool(verdict["passed"])
            return TestResult(passed, str(verdict["reason"]), result)
        except (ValueError, KeyError, TypeError):
            return TestResult(None, "the test ended without a verdict", result)

    def _ask(
        self, told: dict[str, Any], handed: list[int], outputs: list[_Pipe], limits: Limits, counted: int
    ) -> tuple[list[bytes], dict[str, Any]]:
        control = self._running()
        stopping, stop = os.pipe()
        try:
            body = json.dumps(told).encode()
            fds = [*handed, *(pipe.writing for pipe in outputs), stopping]
            try:
                socket.send_fds(control, [struct.pack("<I", len(body)) + body], fds)
            except OSError as error:
                raise KeeperDiedError("the sandbox has ended") from error
            for pipe in outputs:
                pipe.close_writing()
            return self._collect(control, outputs, limits, counted, stop)
        except KeeperDiedError:
            self.end()
            raise
        finally:
            os.close(stopping)
            with contextlib.suppress(OSError):
                os.close(stop)

    @staticmethod
    def _collect(
        control: socket.socket, outputs: list[_Pipe], limits: Limits, counted: int, stop: int
    ) -> tuple[list[bytes], dict[str, Any]]:
        until = time.monotonic() + limits.wall + GRACE_SECONDS
        poll = select.poll()
        poll.register(control, select.POLLIN)
        for pipe in outputs:
            poll.register(pipe.reading, select.POLLIN)
        stopped = False
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise KeeperDiedError("the sandbox does not answer")
            ready = {name for name, _ in poll.poll(left * 1000)}
            for pipe in outputs:
                if pipe.reading in ready and not pipe.read():
                    poll.unregister(pipe.reading)
            if not stopped and sum(pipe.size for pipe in outputs[:counted]) > limits.output:
                os.write(stop, b".")
                stopped = True
            if control.fileno() in ready:
                reply = _receive(control)
                for pipe in outputs:
                    while pipe.read():
                        pass
                return [pipe.text(limits.output) for pipe in outputs], reply

    def _running(self) -> socket.socket:
        if self._control is None or self._process is None or self._process.poll() is not None:
            self.end()
            self._control, self._process = _spawner.submit(self._start).result()
            self._control.settimeout(START_SECONDS)
            try:
                _receive(self._control)
            except (OSError, KeeperDiedError) as error:
                said = self._said()
                self.end()
                raise SandboxUnavailableError(f"the sandbox does not start here ({said or error})") from error
        return self._control

    def _start(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        words = [sys.executable, "-I", "-S", "-B", str(INSIDE), "plain"] if self.unsafe else command()
        ours, theirs = socket.socketpair()
        try:
            process = subprocess.Popen(
                words,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={"LANG": "C.UTF-8"},
                start_new_session=True,
            )
        finally:
            theirs.close()
        return ours, process

    def _said(self) -> str:
        """The last line that the sandbox wrote before it ended."""
        if self._process is None or self._process.stderr is None:
            return ""
        self._process.kill()
        lines = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def end(self) -> None:
        """Kill the sandbox with everything in it."""
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            control.close()
        if process is not None:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


class _Pipe:
    """The reading end of a pipe, and what came out of it."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.size = 0
        self._parts: list[bytes] = []
        self._closed = False

    def close_writing(self) -> None:
        """Close this process's writing end."""
        if not self._closed:
            os.close(self.writing)
            self._closed = True

    def close(self) -> None:
        """Close both ends."""
        self.close_writing()
        os.close(self.reading)

    def read(self) -> bool:
        """Read what is there; whether there was something."""
        try:
            part = os.read(self.reading, 1 << 16)
        except BlockingIOError:
            return False
        self.size += len(part)
        # What is beyond any limit is counted, not kept.
        if self.size < 1 << 26:
            self._parts.append(part)
        return bool(part)

    def text(self, most: int) -> bytes:
        """The first bytes that came."""
        return b"".join(self._parts)[:most]


def _pipe(stack: contextlib.ExitStack) -> _Pipe:
    pipe = _Pipe()
    stack.callback(pipe.close)
    return pipe


def _file(stack: contextlib.ExitStack, text: str) -> int:
    """A file in memory with a text, to be handed in."""
    descriptor = os.memfd_create("guerdon")
    stack.callback(os.close, descriptor)
    body = memoryview(text.encode("utf-8", "surrogatepass"))
    while body:
        body = body[os.write(descriptor, body) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _receive(control: socket.socket) -> dict[str, Any]:
    try:
        size = struct.unpack("<I", _exactly(control, 4))[0]
        reply: dict[str, Any] = json.loads(_exactly(control, size))
    except (OSError, ValueError) as error:
        raise KeeperDiedError(f"the sandbox has ended ({error})") from error
    return reply


def _exactly(control: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = control.recv(size)
        if not part:
            raise KeeperDiedError("the sandbox has ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


_WHY = {
    "timeout": "took longer than {wall:g} s",
    "memory": "held more than {memory} bytes",
    "output": "wrote more than {output} bytes",
}


def _result(texts: Sequence[bytes], reply: dict[str, Any], limits: Limits, unsafe: bool) -> Result:
    stdout, stderr = (text.decode("utf-8", "replace") for text in texts[:2])
    given: dict[str, Any] = {
        "stdout": stdout,
        "stderr": stderr,
        "seconds": float(reply["seconds"]),
        "memory": int(reply["memory"]),
        "unsafe": unsafe,
    }
    if not reply["ready"] and not reply["why"]:
        return Result("broken", reason=f"the sandbox could not be set up: {stderr.strip()[-200:]}", **given)
    if reply["why"]:
        return Result(reply["why"], reason=_WHY[reply["why"]].format(**asdict(limits)), **given)
    code = int(reply["code"])
    ended = -code if code < 0 else code - 128 if code > 128 and not unsafe else None
    if ended is not None:
        return Result("error", signal=ended, reason=f"ended by signal {ended}", **given)
    if code:
        last = stderr.strip().splitlines()
        reason = f"exit code {code}" + (f": {last[-1][:200]}" if last else "")
        return Result("error", exit_code=code, reason=reason, **given)
    return Result("ok", exit_code=0, **given)
