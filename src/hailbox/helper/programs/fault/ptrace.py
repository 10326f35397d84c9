"""As much of ptrace(2) as it takes to let chosen system calls of running processes fail, on x86-64."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

_SYSCALL, _POKEUSER = 24, 6
_SEIZE, _INTERRUPT, _LISTEN, _GET_SYSCALL_INFO = 0x4206, 0x4207, 0x4208, 0x420E
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10
"""Mark stops at system calls; follow fork, vfork, clone and exec."""
_WALL = 0x40000000
_EVENT_STOP = 128
_AT_SYSCALL = signal.SIGTRAP | 0x80
_STOPPING = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)

_X86_64 = 0xC000003E
"""AUDIT_ARCH_X86_64 of linux/audit.h."""
_ORIG_RAX, _RAX = 15 * 8, 10 * 8
"""Where user_regs_struct has the number and the result of a system call."""
_INFO = struct.Struct("=B3xIQQQ6Q8x")
_ENTRY, _EXIT = 1, 2


@dataclass(frozen=True)
class Call:
    """A system call that a thread is about to make."""

    thread: int
    number: int
    arguments: tuple[int, ...]


Judge = Callable[[Call], int]
"""Returns the errno with which a call is to fail, or 0 to let it pass."""


class Tracer:
    """Attached to threads; the kernel detaches it, and lets them run on, when its process ends."""

    def __init__(self, judge: Judge) -> None:
        if platform.machine() != "x86_64":
            raise OSError(f"this fault needs an engine on x86-64; this one's machine is {platform.machine()}")
        self._judge = judge
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.restype = ctypes.c_long
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._failing: dict[int, int] = {}
        self.threads: set[int] = set()
        self._starting: set[int] = set()

    def _request(self, request: int, thread: int, address: int = 0, data: int = 0) -> None:
        if self._libc.ptrace(request, thread, address, data) == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def attach(self, process: int) -> None:
        """Attach to all threads of a process; returns when each of them is under control."""
        while new := {int(name) for name in os.listdir(f"/proc/{process}/task")} - self.threads:
            for thread in new:
                with contextlib.suppress(ProcessLookupError):
                    self._request(_SEIZE, thread, 0, _OPTIONS)
                    self._request(_INTERRUPT, thread)
                    self._starting.add(thread)
                self.threads.add(thread)
        deadline = time.monotonic() + 5
        while self._starting and time.monotonic() < deadline:
            self.serve()

    def serve(self) -> None:
        """Deal with all threads that have stopped."""
        while True:
            try:
                thread, status = os.waitpid(-1, os.WNOHANG | _WALL)
            except ChildProcessError:
                self.threads.clear()
                self._starting.clear()
                return
            if not thread:
                return
            # A thread may die of SIGKILL at any moment.
            with contextlib.suppress(ProcessLookupError):
                self._stopped(thread, status)

    def finish(self) -> None:
        """Wait until no call is half failed, so that the end of the tracing cuts none in two."""
        deadline = time.monotonic() + 0.5
        while self._failing and time.monotonic() < deadline:
            self.serve()

    def _stopped(self, thread: int, status: int) -> None:
        self._starting.discard(thread)
        if not os.WIFSTOPPED(status):
            self.threads.discard(thread)
            self._failing.pop(thread, None)
            return
        self.threads.add(thread)
        number, event = os.WSTOPSIG(status), status >> 16
        if event == _EVENT_STOP and number in _STOPPING:
            self._request(_LISTEN, thread)
            return
        if number == _AT_SYSCALL:
            self._at_syscall(thread)
        deliver = 0 if event or number == _AT_SYSCALL else number
        self._request(_SYSCALL, thread, 0, deliver)

    def _at_syscall(self, thread: int) -> None:
        buffer = ctypes.create_string_buffer(_INFO.size)
        self._request(_GET_SYSCALL_INFO, thread, _INFO.size, ctypes.addressof(buffer))
        where, architecture, _, _, number, *arguments = _INFO.unpack(buffer.raw)
        if architecture != _X86_64:
            return
        if where == _ENTRY:
            if error := self._judge(Call(thread, number, tuple(arguments))):
                self._request(_POKEUSER, thread, _ORIG_RAX, (1 << 64) - 1)
                self._failing[thread] = error
        elif where == _EXIT and (failed := self._failing.pop(thread, 0)):
            self._request(_POKEUSER, thread, _RAX, (1 << 64) - failed)
