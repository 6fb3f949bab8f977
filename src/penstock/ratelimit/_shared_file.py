"""The file that processes of one host share limits through: how it is made, found, checked and remade.

A header page, then the slots (csrc/shared_limiter.h). A file is made whole under no name and then linked
to its path, so nobody sees a half of it and whoever is killed leaves nothing behind. What is found at the
path is checked before it is mapped; nothing of it is trusted.
"""

import errno
import mmap
import os
import stat
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from time import monotonic, sleep
from types import ModuleType

from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.ratelimit.quota import MAX_QUOTAS, Quota, shown

__all__ = ["SharedFile", "SharedFileError", "checked_slots", "file_locks", "open_shared_file"]

HEADER_BYTES = 4096
TURNED_AWAY_AT = 2048  # a uint64 that counts newcomers who found no slot; in a cache line of its own
MOVES_AT = 2112  # a uint64 that counts slots which the pure-Python twin gave another owner
CELL_BYTES = 16

MAGIC = b"PENSTOCK"
VERSION = 1
BYTE_ORDER = 0x01020304

BUCKET = 16
MIN_SLOTS = 2 * BUCKET
MAX_SLOTS = 1 << 26

START = struct.Struct("=8sII16s")  # magic, version, byte order, boot: at these places in every version
REST = struct.Struct(f"=IIqqQQ16s{'QQd' * MAX_QUOTAS}")
CHECKSUM_AT = START.size + REST.size
CHECKSUM_BYTES = 16

ATTEMPTS = 100  # to open: one fails only when another process removes or makes the file just then
LOCK_SECONDS = 10.0  # to replace a file of an earlier boot; whoever does it needs milliseconds

DISCIPLINES = {1: "compiled", 2: "pure-Python"}
CLOCKS = {0: "the clock of the system", 1: "a clock of its own"}


class SharedFileError(PenstockError, OSError):
    """The file of a shared limiter cannot be used; the message names it, the rule and what was found."""


@dataclass(frozen=True)
class SharedFile:
    """A checked file, mapped."""

    fd: int
    memory: mmap.mmap
    secret: bytes
    epoch: int


@dataclass(frozen=True)
class Wanted:
    """What the header must say for a file to be ours."""

    discipline: int
    own_clock: int
    quotas: tuple[Quota, ...]
    slots: int

    @property
    def size(self) -> int:
        return HEADER_BYTES + self.slots * len(self.quotas) * CELL_BYTES


def checked_slots(slots: object) -> int:
    """Slots of a table.

    Raises:
        ValueError: not 32 to 2**26, or no multiple of 16.
        TypeError: no int.
    """
    if type(slots) is not int:
        raise InvalidType(f"slots must be an int, got {type(slots).__name__}")
    if not MIN_SLOTS <= slots <= MAX_SLOTS or slots % BUCKET:
        raise InvalidValue(
            f"slots must be a multiple of {BUCKET}, {MIN_SLOTS} to {MAX_SLOTS}, got {shown(slots)}"
        )
    return slots


def open_shared_file(
    path: object, quotas: Sequence[Quota], slots: int, *, compiled: bool, own_clock: bool, epoch: int
) -> SharedFile:
    """The file at `path`, which is made if there is none, or one of an earlier boot only.

    The caller closes its descriptor.

    Args:
        path: where.
        quotas: as the header must have them.
        slots: as the header must have them.
        compiled: whether slots are changed by compare-and-swap, else under a file lock.
        own_clock: whether moments are of another clock than the system's.
        epoch: nanoseconds, what that clock shows now; for a new file.

    Raises:
        SharedFileError: the file is not to be used, or cannot be made.
        TypeError: `path` is no path.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise InvalidType(f"path must be a str, bytes or path, got {type(path).__name__}")
    file_locks()
    name = os.fsdecode(path)
    wanted = Wanted(1 if compiled else 2, int(own_clock), tuple(quotas), slots)
    boot = this_boot()
    try:
        for _ in range(ATTEMPTS):
            fd = found(name)
            if fd is None:
                fd = made(name, wanted, boot, epoch)
            if fd is None:
                continue
            try:
                header = checked_start(name, fd)
                if header[START.size - 16 : START.size] != boot:
                    remove_stale(name, fd)
                    os.close(fd)
                    continue
                secret, began = checked_header(name, fd, header, wanted)
                memory = mmap.mmap(fd, wanted.size)
            except BaseException:
                os.close(fd)
                raise
            return SharedFile(fd, memory, secret, began)
    except SharedFileError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a path with a null, a file that shrank before mmap
        raise SharedFileError(f"{name}: cannot be used, {error}") from error
    raise SharedFileError(f"{name}: is made and removed all the time, by something else")


def found(name: str) -> int | None:
    """An open descriptor of the file, of which nothing is known yet; None if there is none."""
    try:
        return os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        return None
    except OSError as error:
        refusal = {
            errno.ELOOP: "is a symbolic link, which is not followed",
            errno.EISDIR: "is a directory",
            errno.ENXIO: "is no regular file",
            errno.EACCES: "may not be opened by this user",
        }.get(error.errno or 0)
        if refusal is None:
            raise
        raise SharedFileError(f"{name}: must be a regular file of this user, {refusal}") from None


def made(name: str, wanted: Wanted, boot: bytes, epoch: int) -> int | None:
    """Makes the file; None if another process was faster."""
    folder = os.path.dirname(name) or "."
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise SharedFileError(f"{name}: its directory must exist") from None
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR):
            raise SharedFileError(f"{name}: its file system must support O_TMPFILE, as tmpfs does") from None
        raise
    try:
        os.fchmod(fd, 0o600)  # whatever the umask
        os.posix_fallocate(fd, 0, wanted.size)  # a full disk is an error here, not a SIGBUS later
        os.pwrite(fd, new_header(wanted, boot, epoch), 0)
        os.fsync(fd)  # so that after a power cut there is a whole file of an earlier boot, or none
        try:
            link_unnamed(fd, name)
        except FileExistsError:
            os.close(fd)
            return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def link_unnamed(fd: int, name: str) -> None:
    folder = os.open(os.path.dirname(name) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # with a descriptor of a folder Python calls linkat, which follows the link of /proc
        os.link(f"/proc/self/fd/{fd}", os.path.basename(name), dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def new_header(wanted: Wanted, boot: bytes, epoch: int) -> bytes:
    """The header page of a new file."""
    fields = [field for quota in wanted.quotas for field in (quota.limit, quota.burst, quota.period)]
    fields += [0, 0, 0.0] * (MAX_QUOTAS - len(wanted.quotas))
    head = START.pack(MAGIC, VERSION, BYTE_ORDER, boot) + REST.pack(
        wanted.discipline,
        wanted.own_clock,
        monotonic_offset(),
        epoch,
        wanted.slots,
        len(wanted.quotas),
        os.urandom(16),
        *fields,
    )
    return (head + checksum(head)).ljust(HEADER_BYTES, b"\0")


def checksum(head: bytes) -> bytes:
    return blake2b(head, digest_size=CHECKSUM_BYTES).digest()


def checked_start(name: str, fd: int) -> bytes:
    """The header page of a file that is ours, of whatever version and boot.

    Raises:
        SharedFileError: it is no file of a shared limiter, or others than this user may write to it.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise SharedFileError(f"{name}: must be a regular file of this user, is no regular file")
    if status.st_uid != os.geteuid():
        raise SharedFileError(f"{name}: must be owned by user {os.geteuid()}, is owned by {status.st_uid}")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise SharedFileError(f"{name}: must have mode 0600, has {mode:04o}")
    header = os.pread(fd, HEADER_BYTES, 0)
    if len(header) < HEADER_BYTES:
        raise SharedFileError(f"{name}: must have a header of {HEADER_BYTES} bytes, has {len(header)}")
    if not header.startswith(MAGIC):
        raise SharedFileError(f"{name}: is no file of a shared limiter, starts with {header[:8]!r}")
    return header


def checked_header(name: str, fd: int, header: bytes, wanted: Wanted) -> tuple[bytes, int]:
    """The secret and the epoch of a file of this boot.

    Raises:
        SharedFileError: it is damaged, or not made for what is wanted.
    """

    def require(truth: bool, rule: str) -> None:
        if not truth:
            raise SharedFileError(f"{name}: {rule}")

    _, version, order, _ = START.unpack_from(header)
    require(order == BYTE_ORDER, f"must have the byte order of this host, has mark {order:#010x}")
    require(version == VERSION, f"must have version {VERSION}, has {version}: another penstock made it")
    head, sealed = header[:CHECKSUM_AT], header[CHECKSUM_AT : CHECKSUM_AT + CHECKSUM_BYTES]
    require(sealed == checksum(head), "header is damaged, its checksum is wrong")
    discipline, own_clock, offset, epoch, slots, count, secret, *fields = REST.unpack_from(header, START.size)
    require(
        discipline == wanted.discipline,
        f"was made by the {DISCIPLINES.get(discipline)} twin, which the {DISCIPLINES[wanted.discipline]} one"
        " may not share it with; see PENSTOCK_IMPL",
    )
    require(
        own_clock == wanted.own_clock,
        f"was made with {CLOCKS.get(own_clock)}, this limiter has {CLOCKS[wanted.own_clock]}",
    )
    require(
        offset == monotonic_offset(),
        "was made in another time namespace, where the monotonic clock shows another time",
    )
    theirs = [tuple(fields[i : i + 3]) for i in range(0, 3 * min(count, MAX_QUOTAS), 3)]
    ours = [(quota.limit, quota.burst, quota.period) for quota in wanted.quotas]
    require(theirs == ours, f"must have the quotas {told(ours)}, has {told(theirs)}")
    require(slots == wanted.slots, f"must have {wanted.slots} slots, has {slots}")
    size = os.fstat(fd).st_size
    require(size == wanted.size, f"must be {wanted.size} bytes long, is {size}")
    return secret, epoch


def told(quotas: Sequence[tuple[object, ...]]) -> str:
    return ", ".join(f"{limit}/{period:g} s; burst={burst}" for limit, burst, period in quotas)


def remove_stale(name: str, fd: int) -> None:
    """Removes the file of an earlier boot that `fd` is, unless another process has done so.

    Moments of an earlier boot mean nothing now. The lock is the old file's: of all that come to remove
    it one does, and the others see that it has gone.
    """
    lock(name, fd)
    try:
        there = os.stat(name, follow_symlinks=False)
    except FileNotFoundError:
        return
    ours = os.fstat(fd)
    if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
        os.unlink(name)


def lock(name: str, fd: int) -> None:
    """Locks the file until `fd` is closed.

    Raises:
        SharedFileError: another process holds the lock for too long.
    """
    fcntl = file_locks()
    deadline = monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() > deadline:
                raise SharedFileError(
                    f"{name}: is of an earlier boot, and another process has locked it for {LOCK_SECONDS:g} s"
                ) from None
            sleep(0.01)
        else:
            return


def file_locks() -> ModuleType:
    """The module fcntl, imported here so that penstock.ratelimit can be imported where there is none.

    Raises:
        SharedFileError: there is none, so this is no Linux.
    """
    try:
        import fcntl
    except ImportError:
        raise SharedFileError(
            f"a shared limiter works on Linux only: {sys.platform} has no file locks (fcntl)"
        ) from None
    return fcntl


def this_boot() -> bytes:
    """What tells this boot of the host from others, 16 bytes.

    Raises:
        SharedFileError: this is no Linux.
    """
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return bytes.fromhex(text.strip().replace("-", ""))
    except (OSError, ValueError) as error:
        raise SharedFileError(f"a shared limiter must know the boot of its host, {error}") from error


def monotonic_offset() -> int:
    """Nanoseconds by which the monotonic clock of this time namespace is ahead of the host's."""
    try:
        lines = Path("/proc/self/timens_offsets").read_text(encoding="ascii").splitlines()
    except OSError:  # a kernel without time namespaces
        return 0
    for line in lines:
        clock, seconds, nanoseconds = line.split()
        if clock in ("monotonic", "1"):
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0
