"""What runs inside the sandbox: a keeper that starts each program in a process tree of its own.

This file is a program for a bare Python: it imports the standard library alone, and never the rest of guerdon. The
keeper holds neither programs nor tests nor outputs: they go from the outside straight into the process that needs
them, through file descriptors, so that nothing of one program is left in memory for the next.

A program runs as the only tenant of a set of namespaces (processes, mounts, users, shared memory) whose first process
is trusted code; when that ends, the kernel ends everything else in it. Function tests run in a second such tree, which
holds no foreign code: it reaches the program by messages that carry plain values only.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback

NEW_MOUNTS, NEW_USERS, NEW_PROCESSES, NEW_SHARED_MEMORY = 0x00020000, 0x10000000, 0x20000000, 0x08000000
NO_SUID, NO_DEVICES, BIND = 2, 4, 4096
PROGRAM_USER, OUTSIDE_USER = 1000, 61_000
MAPPED_ERROR = 97
FIRST_LOOK = 0.01  # seconds until memory is looked at; most programs have ended by then
LARGEST_MESSAGE = 1 << 24
MOST_LEVELS = 60

# --- system calls ---------------------------------------------------------------------------------------------------

LIBC = ctypes.CDLL(None, use_errno=True)
MACHINE = os.uname().machine
CLONE = {"x86_64": 56, "aarch64": 220}.get(MACHINE)
CAPSET = {"x86_64": 126, "aarch64": 91}.get(MACHINE)

# name: (x86_64, aarch64)
DENIED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "personality": (135, 92),
    # Memory that no process maps would be in nobody's count.
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "kcmp": (312, 272),
    "fanotify_init": (300, 262),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "pidfd_getfd": (438, 438),
    "memfd_secret": (447, 447),
}
CLONE3 = 435
FILTER_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


class Fail(Exception):
    """The sandbox itself did not work."""


def call(number, *arguments):
    """Make a system call; its result, or OSError."""
    result = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(value) for value in arguments])
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def mount(kind, where, flags, options, source=b"none"):
    if LIBC.mount(source, where, kind, ctypes.c_ulong(flags), options):
        code = ctypes.get_errno()
        raise Fail(f"mounting {where.decode()}: {os.strerror(code)}")


def call_filter():
    """The filter that refuses the system calls that no ordinary program makes; None for unknown machines."""
    if MACHINE not in FILTER_ARCH:
        return None
    column = ("x86_64", "aarch64").index(MACHINE)
    load, equal, at_least, test, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000
    code = [(load, 0, 0, 4), (equal, 1, 0, FILTER_ARCH[MACHINE]), (give, 0, 0, 0x80000000), (load, 0, 0, 0)]
    # The x32 numbers are a second way to the same calls.
    code += [(at_least, 0, 1, 0x40000000), (give, 0, 0, refuse | errno.ENOSYS)]
    code += [(equal, 0, 1, CLONE3), (give, 0, 0, refuse | errno.ENOSYS)]
    for numbers in DENIED.values():
        code += [(equal, 0, 1, numbers[column]), (give, 0, 0, refuse | errno.EPERM)]
    # Namespaces cannot be had by way of clone either: its flags are the low half of the first argument.
    code += [(equal, 0, 3, CLONE), (load, 0, 0, 16), (test, 0, 1, 0x7E020000), (give, 0, 0, refuse | errno.EPERM)]
    code += [(give, 0, 0, allow)]
    raw = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(raw, len(raw))
    program = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(buffer))
    return ctypes.create_string_buffer(program, len(program)), buffer


FILTER = call_filter()


def filter_calls():
    """Put the filter on this process and all that it starts."""
    if FILTER is not None and LIBC.prctl(22, 2, FILTER[0], 0, 0):
        raise Fail(f"seccomp: {os.strerror(ctypes.get_errno())}")


def drop_rights():
    """Give up all capabilities, for good."""
    header = struct.pack("Ii", 0x20080522, 0)
    data = bytes(24)
    if LIBC.syscall(ctypes.c_long(CAPSET), header, data):
        raise Fail(f"capset: {os.strerror(ctypes.get_errno())}")
    if LIBC.prctl(38, 1, 0, 0, 0):
        raise Fail("no_new_privs")


def limit(limits):
    """Set the limits of a program's processes."""
    entries = (
        (resource.RLIMIT_AS, limits["memory"]),
        (resource.RLIMIT_CPU, int(limits["cpu"]) + 1),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["files"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    )
    for which, value in entries:
        resource.setrlimit(which, (value, value))


# --- messages -------------------------------------------------------------------------------------------------------


class NotPlain(Exception):
    """A value that is not made of plain ones."""


def plain(value, level=0):
    """A value as JSON. Of a subclass the plain value counts, so that one that compares as it likes gains nothing."""
    if level > MOST_LEVELS:
        raise NotPlain("nested too deeply")
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int.__index__(value)
        return number if -(2**53) < number < 2**53 else {"int": hex(number)}
    if isinstance(value, float):
        number = float.__float__(value)
        return {"float": number.hex() if number == number else "nan"}
    if isinstance(value, complex):
        return {"complex": [plain(value.real, level + 1), plain(value.imag, level + 1)]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytearray" if isinstance(value, bytearray) else "bytes": bytes(value).hex()}
    if isinstance(value, list):
        return [plain(item, level + 1) for item in list.__iter__(value)]
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [plain(item, level + 1) for item in kind.__iter__(value)]}
    if isinstance(value, dict):
        return {"dict": [[plain(key, level + 1), plain(item, level + 1)] for key, item in dict.items(value)]}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if type(value) is Far:
        return {"handle": value._number}
    if type(value) is type and TYPES.get(value.__name__) is value:
        return {"type": value.__name__}
    raise NotPlain(type(value).__name__)


TYPES = {kind.__name__: kind for kind in (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)}


def unplain(value):
    """The value that `plain` wrote."""
    if isinstance(value, list):
        return [unplain(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, body),) = value.items()
    if kind == "int":
        return int(body, 16)
    if kind == "float":
        return float("nan") if body == "nan" else float.fromhex(body)
    if kind == "complex":
        return complex(*map(unplain, body))
    if kind in ("bytes", "bytearray"):
        return bytes.fromhex(body) if kind == "bytes" else bytearray.fromhex(body)
    if kind in ("tuple", "set", "frozenset"):
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](unplain(item) for item in body)
    if kind == "dict":
        return {unplain(key): unplain(item) for key, item in body}
    if kind == "range":
        return range(*map(int, body))
    if kind == "handle":
        return RESOLVE(int(body))
    if kind == "type":
        return TYPES[body]
    raise ValueError(f"no kind of value: {kind!r}")


def send(line, message):
    body = json.dumps(message).encode()
    line.sendall(struct.pack("<I", len(body)) + body)


def receive(line):
    size = struct.unpack("<I", exactly(line, 4))[0]
    if size > LARGEST_MESSAGE:
        raise ValueError("a message is too large")
    return json.loads(exactly(line, size))


def exactly(line, size):
    parts = []
    while size:
        part = line.recv(min(size, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


# --- the side of the program ----------------------------------------------------------------------------------------


def whole(descriptor):
    """The text of a file that was handed in."""
    with os.fdopen(descriptor, "rb") as file:
        return file.read().decode("utf-8", "surrogateescape")


def run_script(source):
    """Run a program as a script."""
    space = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(compile(source, "<program>", "exec"), space)


def serve_program(source, line):
    """Run a program as a module, and answer what the tests ask of it."""
    space = {"__name__": "program", "__builtins__": __builtins__}
    try:
        exec(compile(source, "<program>", "exec"), space)
    except BaseException as error:
        send(line, {"loaded": describe(error)})
        raise
    send(line, {"loaded": None})
    kept = {}
    global RESOLVE
    RESOLVE = kept.__getitem__
    while True:
        try:
            message = receive(line)
        except (EOFError, OSError):
            return
        try:
            reply = answer(message, space, kept)
        except NotPlain as error:
            reply = {"strange": str(error)}
        except BaseException as error:
            reply = {"error": describe(error)}
        send(line, reply)


def answer(message, space, kept):
    """What one question of the tests gives."""
    if "name" in message:
        name = message["name"]
        if name not in space:
            return {"absent": name}
        return {"value": give(space[name], kept)}
    target = kept[message["of"]]
    if message["do"] == "call":
        arguments = [unplain(item) for item in message["args"]]
        named = {key: unplain(item) for key, item in message["kwargs"].items()}
        value = target(*arguments, **named)
        after = [give(item, kept) if isinstance(item, (list, dict, set, bytearray)) else None for item in arguments]
        return {"value": give(value, kept), "after": after}
    if message["do"] == "attribute":
        return {"value": give(getattr(target, message["what"]), kept)}
    if message["do"] == "item":
        return {"value": give(target[unplain(message["what"])], kept)}
    if message["do"] == "set":
        setattr(target, message["what"], unplain(message["value"]))
        return {"value": None}
    if message["do"] == "equal":
        return {"value": bool(target == kept[message["what"]])}
    if message["do"] == "length":
        return {"value": give(len(target), kept)}
    if message["do"] == "list":
        return {"value": [give(item, kept) for item in target]}
    return {"value": str(target)}


def give(value, kept):
    try:
        return plain(value)
    except NotPlain:
        number = len(kept) + 1
        kept[number] = value
        return {"handle": number}


def describe(error):
    try:
        text = str(error)[:300]
    except BaseException:
        text = ""
    return [type(error).__name__, text]


# --- the side of the tests ------------------------------------------------------------------------------------------


class Broken(BaseException):
    """The test cannot be decided: it asks for what does not cross the line between the two sides."""


class Gone(BaseException):
    """The program has ended, or does not answer in the language of the line."""


class Raised(Exception):
    """The program raised an exception of its own kind."""


LINE = None


def ask(message):
    try:
        send(LINE, message)
        reply = receive(LINE)
        if not isinstance(reply, dict):
            raise ValueError
    except (OSError, EOFError, ValueError, RecursionError, struct.error) as error:
        raise Gone("the program ended before it had answered") from error
    if "error" in reply:
        kind, text = reply["error"]
        known = getattr(__builtins__, str(kind), None)
        if isinstance(known, type) and issubclass(known, Exception):
            raise known(str(text))
        raise Raised(f"{kind}: {text}")
    if "absent" in reply:
        raise NameError(f"name {reply['absent']!r} is not defined in the program")
    if "strange" in reply:
        raise Broken(f"a value of the program cannot be sent: {reply['strange']}")
    return reply


def take(reply):
    try:
        return unplain(reply["value"])
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Gone("the program does not answer in plain values") from error


class Far:
    """Something that stays on the program's side: a function, or an object of a class of its own."""

    __slots__ = ("_number",)

    def __init__(self, number):
        object.__setattr__(self, "_number", number)

    def __call__(self, *args, **kwargs):
        sent = [far(item) for item in args]
        reply = ask(
            {"of": self._number, "do": "call", "args": sent, "kwargs": {key: far(v) for key, v in kwargs.items()}}
        )
        for mine, now in zip(args, reply.get("after") or []):
            update(mine, now)
        return take(reply)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return take(ask({"of": self._number, "do": "attribute", "what": name}))

    def __setattr__(self, name, value):
        ask({"of": self._number, "do": "set", "what": name, "value": far(value)})

    def __getitem__(self, key):
        return take(ask({"of": self._number, "do": "item", "what": far(key)}))

    def __len__(self):
        return take(ask({"of": self._number, "do": "length"}))

    def __iter__(self):
        return iter(take(ask({"of": self._number, "do": "list"})))

    def __str__(self):
        return take(ask({"of": self._number, "do": "text"}))

    def __eq__(self, other):
        # Two objects of the program are equal if it says so; a plain value of the test never equals an object.
        if type(other) is not Far:
            return False
        return take(ask({"of": self._number, "do": "equal", "what": other._number})) is True

    def __ne__(self, other):
        return not self == other

    def __bool__(self):
        return True

    def _refuse(self, *_):
        raise Broken("an object of the program cannot be ordered from outside")

    __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __hash__ = None  # type: ignore[assignment]


RESOLVE = Far


def far(value):
    try:
        return plain(value)
    except NotPlain as error:
        raise Broken(f"an argument of the test cannot be sent: {error}") from error


def update(mine, now):
    """A list that the program changed is changed on this side as well."""
    if now is None or not isinstance(mine, (list, dict, set, bytearray)):
        return
    value = unplain(now)
    if type(value) is not type(mine) or value == mine:
        return
    if isinstance(mine, (list, bytearray)):
        mine[:] = value
    else:
        mine.clear()
        mine.update(value)


class Space(dict):  # type: ignore[type-arg]
    """The names of a test: its own, Python's, and then those of the program."""

    def __missing__(self, name):
        # Python's own names, and its modules, cannot be given another meaning by the program.
        found = getattr(__builtins__, name, self)
        if found is not self:
            return found
        if name in sys.stdlib_module_names:
            return __import__(name)
        return take(ask({"name": name}))


def run_test(source, line, entry, out):
    """Run a test against a program that is at the other end of a line, and write the verdict."""
    global LINE
    LINE = line
    verdict = {"passed": False, "broken": False, "reason": ""}
    try:
        loaded = receive(line)["loaded"]
        if loaded is not None:
            verdict["reason"] = "the program raised " + ": ".join(map(str, loaded))
        else:
            verdict.update(tested(source, entry))
    except (OSError, EOFError, ValueError, KeyError, TypeError, RecursionError):
        verdict["reason"] = "the program ended before it was loaded"
    body = json.dumps(verdict).encode()
    while body:
        body = body[os.write(out, body) :]


def tested(source, entry):
    try:
        code = compile(source, "<test>", "exec")
    except (SyntaxError, ValueError) as error:
        return {"broken": True, "reason": f"the test cannot be compiled: {error}"}
    space = Space(__name__="test", __builtins__=__builtins__)
    try:
        exec(code, space)
        if entry is not None:
            if not dict.__contains__(space, "check"):
                raise Broken("the test defines no function check")
            space["check"](space[entry])
    except AssertionError as error:
        return {"reason": "assertion failed" + (f": {error}"[:300] if str(error) else "")}
    except Broken as error:
        return {"broken": True, "reason": str(error)}
    except Gone as error:
        return {"reason": str(error)}
    except BaseException as error:
        return {"reason": ": ".join(describe(error))}
    return {"passed": True}


# --- process trees --------------------------------------------------------------------------------------------------


class Tree:
    """A program's processes: the first one is trusted, and takes all others with it when it ends."""

    def __init__(self, isolated, limits, body, keep):
        self.isolated = isolated
        # The program's process says over this pipe that everything was set up, just before foreign code begins.
        self.ready, ready = os.pipe()
        os.set_blocking(self.ready, False)
        start = self._start_isolated if isolated else self._start_plain
        self.pid = start(limits, body, keep, ready)
        os.close(ready)
        self.watched = os.pidfd_open(self.pid)

    def was_ready(self):
        """Whether foreign code was reached; asked once, at the end."""
        try:
            return os.read(self.ready, 1) == b"."
        except BlockingIOError:
            return False
        finally:
            os.close(self.ready)
            os.close(self.watched)

    def _start_isolated(self, limits, body, keep, ready):
        reading, writing = os.pipe()
        ctypes.pythonapi.PyOS_BeforeFork()
        flags = NEW_MOUNTS | NEW_USERS | NEW_PROCESSES | NEW_SHARED_MEMORY | signal.SIGCHLD
        pid = LIBC.syscall(ctypes.c_long(CLONE), ctypes.c_long(flags), 0, 0, 0, 0)
        if pid == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            os.close(writing)
            first_process(limits, body, reading, keep, ready)
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        os.close(reading)
        if pid < 0:
            raise Fail(f"clone: {os.strerror(ctypes.get_errno())}")
        self._map_user(pid)
        os.write(writing, b".")
        os.close(writing)
        return pid

    @staticmethod
    def _map_user(pid):
        # Root's keeper gives programs a user that owns nothing outside; anybody else's can only give its own.
        outside = OUTSIDE_USER if os.getuid() == 0 else os.getuid()
        if outside == os.getuid():
            with open(f"/proc/{pid}/setgroups", "w") as file:
                file.write("deny")
        group = OUTSIDE_USER if os.getuid() == 0 else os.getgid()
        for name, number in (("uid_map", outside), ("gid_map", group)):
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write(f"{PROGRAM_USER} {number} 1")

    @staticmethod
    def _start_plain(limits, body, keep, ready):
        pid = os.fork()
        if pid == 0:
            os.setsid()
            in_program(limits, body, keep, ready, isolated=False)
        return pid

    def kill(self):
        try:
            if self.isolated:
                os.kill(self.pid, signal.SIGKILL)
            else:
                os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass

    def ended(self):
        """How the program ended: its exit code, or minus its signal; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return None if pid == 0 else os.waitstatus_to_exitcode(status)


def first_process(limits, body, reading, keep, ready):
    """Process 1 of a tree: furnish it, start the program, and leave with its exit code."""
    try:
        # No byte comes if the keeper died before it could map the user.
        if os.read(reading, 1) != b".":
            os._exit(MAPPED_ERROR)
        os.close(reading)
        # Keep the rights of the new user namespace over the change of user.
        LIBC.prctl(8, 1, 0, 0, 0)
        os.setgid(PROGRAM_USER)
        os.setuid(PROGRAM_USER)
        rights = struct.pack("IIIIII", 0xFFFFFFFF, 0xFFFFFFFF, 0, 0x1FF, 0x1FF, 0)
        if LIBC.syscall(ctypes.c_long(CAPSET), struct.pack("Ii", 0x20080522, 0), rights):
            raise Fail("capset")
        size = f"size={limits['tmp_bytes']},nr_inodes={limits['tmp_files']},mode=700".encode()
        mount(b"tmpfs", b"/tmp", NO_SUID | NO_DEVICES, size)
        # An empty folder lies over /proc, where the keeper and its tenants could be seen.
        mount(None, b"/proc", BIND, None, b"/dev/shm")
        os.chdir("/tmp")
    except BaseException as error:
        os.write(2, f"sandbox: {error}\n".encode())
        os._exit(MAPPED_ERROR)
    program = os.fork()
    if program == 0:
        in_program(limits, body, keep, ready, isolated=True)
    close_all({2})
    os.close(2)
    while True:
        pid, status = os.wait()
        if pid == program:
            code = os.waitstatus_to_exitcode(status)
            # Process 1 cannot end itself by a signal; 128 + n says which one it was.
            os._exit(code if code >= 0 else 128 - code)


def in_program(limits, body, keep, ready, isolated):
    """The program's own process."""
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        close_all({0, 1, 2, ready, *keep})
        limit(limits)
        if isolated:
            drop_rights()
            filter_calls()
        os.write(ready, b".")
        os.close(ready)
    except BaseException as error:
        os.write(2, f"sandbox: {error}\n".encode())
        os._exit(MAPPED_ERROR)
    code = 0
    try:
        body()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException as error:
        code = 1
        try:
            tell(error)
        except BaseException:
            pass
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code & 0xFF)


def tell(error):
    """Print an exception as Python would have, without the frames of this file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def close_all(keep):
    """Close every descriptor from 3 on but those."""
    last = 3
    for name in sorted(descriptor for descriptor in keep if descriptor >= 3):
        os.closerange(last, name)
        last = name + 1
    os.closerange(last, 256)


# --- the keeper -----------------------------------------------------------------------------------------------------


def tenants(first):
    """Bytes that all processes of the sandbox but the keeper hold."""
    total, page = 0, resource.getpagesize()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in first:
            try:
                with open(f"/proc/{name}/statm") as file:
                    total += int(file.read().split()[1]) * page
            except (OSError, IndexError, ValueError):
                pass
    return total


def watch(trees, limits, stop, first):
    """Wait for the last tree, which decides; how it ended, and why if it was ended."""
    decisive = trees[-1]
    started = time.monotonic()
    poll = select.poll()
    poll.register(stop, select.POLLIN | select.POLLHUP)
    poll.register(decisive.watched, select.POLLIN)
    why, code, most, pause = "", None, 0, FIRST_LOOK
    while not why and code is None:
        left = limits["wall"] - (time.monotonic() - started)
        ready = [name for name, _ in poll.poll(max(0, min(left, pause)) * 1000)]
        pause = 2 * FIRST_LOOK
        if decisive.watched in ready:
            code = decisive.ended()
            continue
        if decisive.isolated:
            most = max(most, tenants(first))
        if stop in ready:
            why = "output"
        elif left <= 0:
            why = "timeout"
        elif most > limits["memory"]:
            why = "memory"
    seconds = time.monotonic() - started
    for tree in trees:
        tree.kill()
        if tree is not decisive or code is None:
            os.waitpid(tree.pid, 0)
    ready = [tree.was_ready() for tree in trees]
    return {"code": code, "why": why, "seconds": seconds, "memory": most, "ready": all(ready)}


def standard(*streams):
    """Make descriptors the standard streams."""
    for place, descriptor in enumerate(streams):
        os.dup2(descriptor, place)
    for descriptor in set(streams):
        os.close(descriptor)


def start_script(isolated, limits, fds):
    source, *streams = fds

    def body():
        standard(*streams)
        run_script(whole(source))

    return [Tree(isolated, limits, body, fds)]


def start_pair(isolated, limits, fds, entry):
    source, test, stdout, stderr, verdict = fds
    ours, theirs = socket.socketpair()
    nothing = os.open("/dev/null", os.O_RDWR)

    def program():
        standard(nothing, stdout, stderr)
        serve_program(whole(source), theirs)

    def tests():
        standard(nothing, nothing, nothing)
        run_test(whole(test), ours, entry, verdict)

    # Each side gets what it needs and nothing of the other: the program never holds the test.
    trees = [
        Tree(isolated, limits, program, [source, stdout, stderr, nothing, theirs.fileno()]),
        Tree(isolated, limits, tests, [test, verdict, nothing, ours.fileno()]),
    ]
    ours.close()
    theirs.close()
    os.close(nothing)
    return trees


def warm_up():
    """Do once what every program does first: its process then finds it done, for it is a copy of this one."""
    exec(compile("print(sum(int(word) for word in 'f(1, 2)'.split() if word.isdigit()))", "<program>", "exec"), {})
    sys.stdout.flush()
    for name in ("prctl", "syscall", "mount"):
        getattr(LIBC, name)


def keeper(control, isolated):
    """Start what is asked for, one program after the other."""
    first = {1, os.getpid()}
    # The collectors of its children leave alone what the keeper holds: a page that is not written to is not copied.
    warm_up()
    gc.collect()
    gc.freeze()
    send(control, {"ready": True, "filtered": MACHINE in FILTER_ARCH and isolated})
    while True:
        head, fds, _, _ = socket.recv_fds(control, 4, 8)
        stop = fds.pop() if fds else None
        if not head:
            return
        head += exactly(control, 4 - len(head)) if len(head) < 4 else b""
        message = json.loads(exactly(control, struct.unpack("<I", head)[0]))
        limits = message["limits"]
        if message["kind"] == "script":
            trees = start_script(isolated, limits, fds)
        else:
            trees = start_pair(isolated, limits, fds, message["entry"])
        for descriptor in fds:
            os.close(descriptor)
        reply = watch(trees, limits, stop, first)
        os.close(stop)
        send(control, reply)


if __name__ == "__main__":
    sys.setrecursionlimit(1000)
    with socket.socket(fileno=0) as line:
        duplicate = socket.socket(fileno=os.dup(0))
        os.set_inheritable(duplicate.fileno(), False)
    empty = os.open("/dev/null", os.O_RDWR)
    os.dup2(empty, 0)
    os.dup2(empty, 1)
    keeper(duplicate, sys.argv[1] == "isolated")
