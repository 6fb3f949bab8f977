"""The library of faults.c: built once, loaded into processes, told what goes wrong and when."""

import mmap
import os
import shutil
import struct
import subprocess
from hashlib import sha256
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
FILES = 8192

ORDERS = (
    "room", "failing_syncs", "lying_syncs", "failing_writes", "short_writes", "wall_offset", "calls_to_live",
    "writes", "syncs", "refusals",
)  # fmt: skip
HARMLESS = {"room": -1, "failing_syncs": 0, "failing_writes": 0, "short_writes": 0, "calls_to_live": -1}
FOR_EVER = -1


def library(folder):
    """The built library; a source that changed is built anew."""
    source = SOURCE.read_bytes()
    built = Path(folder) / f"faults-{sha256(source).hexdigest()[:16]}.so"
    if not built.exists():
        compiler = os.environ.get("CC") or shutil.which("gcc") or "cc"
        being_built = built.with_suffix(f".{os.getpid()}")
        subprocess.run(
            [compiler, "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", being_built, SOURCE, "-ldl"], check=True
        )
        being_built.rename(built)
    return built


class Faults:
    """What goes wrong in the processes that were started with `environment`; nothing until it is told to.

    Args:
        orders: a file, made here, that the processes and this object share.
        folder: below which files are touched.
        built: where the library is kept.
    """

    def __init__(self, orders, folder, built):
        folder.mkdir(parents=True, exist_ok=True)
        size = 8 * len(ORDERS) + 16 * FILES
        orders.write_bytes(bytes(size))
        self._file = orders.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), size)
        self.environment = {
            "LD_PRELOAD": str(library(built)),
            "PENSTOCK_FAULTS": str(orders),
            "PENSTOCK_FAULTS_FOLDER": str(folder),
        }
        self.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._map.close()
        self._file.close()

    def order(self, **orders):
        """Gives orders, each the name of a field in faults.c."""
        for name, value in orders.items():
            struct.pack_into("q", self._map, 8 * ORDERS.index(name), value)

    def read(self, name):
        return struct.unpack_from("q", self._map, 8 * ORDERS.index(name))[0]

    def stop(self):
        """Everything goes well from now on; the clock stays where it is."""
        self.order(**HARMLESS)

    def synced_size(self, path):
        """Bytes of a file that a power cut cannot take: those of its last sync."""
        inode = path.stat().st_ino
        for probe in range(FILES):
            slot = (inode * 0x9E3779B97F4A7C15 % 2**64 + probe) % 2**64 % FILES
            found, size = struct.unpack_from("Qq", self._map, 8 * len(ORDERS) + 16 * slot)
            if found == inode:
                return min(size, path.stat().st_size)
            if not found:
                return 0
        return 0


def cut_power(faults, folder, dice, *, worst=False):
    """What a power cut may do to the journal of a process that was killed; tells how many bytes it took.

    Of what was written since a file's last sync, an end is cut off, or some bytes are others now; at the
    worst, nothing of it is left.
    """
    taken = 0
    for path in sorted(folder.rglob("*.segment")):
        synced, size = faults.synced_size(path), path.stat().st_size
        if synced >= size:
            continue
        with path.open("r+b") as file:
            if worst:
                file.truncate(synced)
            elif dice.random() < 0.5:
                file.truncate(dice.randrange(synced, size))
            else:
                file.seek(dice.randrange(synced, size))
                file.write(dice.randbytes(dice.randint(1, size - synced))[: size - file.tell()])
        taken += size - synced
    return taken
