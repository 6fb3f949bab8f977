"""A file system in memory that does what disks do at their worst.

A power cut keeps of what was not synced any sectors, and any names. A sync that fails says so once, and then
the sectors are taken for written. A disk may be full from some byte on. Any step may be the last one.
"""

import errno

SECTOR = 512


class PowerCut(BaseException):
    """The process is gone."""


class Inode:
    def __init__(self):
        self.data = bytearray()  # as processes see it
        self.disk = bytearray()
        self.dirty = set()  # sectors that differ, for all that the system knows
        self.size_is_dirty = False


class CrashingFiles:
    def __init__(self, dice):
        self.dice = dice
        self.names_now = {}
        self.names_on_disk = {}
        self.room = None  # bytes that may still be written; None: any number
        self.syncs_to_fail = 0
        self.reads_fail = False
        self.steps_left = None  # until the power cut
        self.steps = 0

    # What tests do to it

    def cut_power(self):
        """What is there after a power cut."""
        self.steps_left, self.room, self.syncs_to_fail = None, None, 0
        for path in sorted(self.names_now.keys() | self.names_on_disk.keys()):
            now, then = self.names_now.get(path), self.names_on_disk.get(path)
            if now is not then and self.dice.random() < 0.5:
                if now is None:
                    del self.names_on_disk[path]
                else:
                    self.names_on_disk[path] = now
        self.names_now = dict(self.names_on_disk)
        for inode in dict.fromkeys(self.names_now.values()):
            self._lose_unsynced(inode)

    def _lose_unsynced(self, inode):
        size = len(inode.disk)
        if inode.size_is_dirty:
            size = self.dice.choice((size, len(inode.data), self.dice.randint(0, len(inode.data))))
            size = max(size, min(len(inode.disk), len(inode.data)))
        disk = bytearray(inode.disk[:size].ljust(size, b"\0"))
        for sector in sorted(inode.dirty):
            start, end = sector * SECTOR, min((sector + 1) * SECTOR, size, len(inode.data))
            if start < end and self.dice.random() < 0.5:
                disk[start:end] = inode.data[start:end]
        inode.disk, inode.data = disk, bytearray(disk)
        inode.dirty, inode.size_is_dirty = set(), False

    def flip_bit(self):
        """Damages one bit somewhere; says where."""
        path = self.dice.choice(sorted(path for path, inode in self.names_now.items() if inode.data))
        inode = self.names_now[path]
        place = self.dice.randrange(len(inode.data))
        bit = 1 << self.dice.randrange(8)
        inode.data[place] ^= bit
        inode.disk[place : place + 1] = inode.data[place : place + 1]
        return path.name, place, bit

    def step(self):
        self.steps += 1
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise PowerCut

    # What the journal asks for

    def make_folder(self, folder):
        pass

    def names(self, folder):
        return [path.name for path in self.names_now if path.parent == folder]

    def size(self, path):
        return len(self._inode(path).data)

    def create(self, path):
        self.step()
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.names_now[path] = Inode()  # a file that was there keeps its bytes on disk until that is synced
        return OpenFile(self, self.names_now[path])

    def open(self, path):
        return OpenFile(self, self._inode(path))

    def rename(self, path, name):
        self.step()
        self.names_now[name] = self._inode(path)
        del self.names_now[path]

    def remove(self, path):
        self.step()
        if self.room is not None:
            self.room += len(self._inode(path).data)
        self._inode(path)
        del self.names_now[path]

    def sync_folder(self, folder):
        self.step()
        self.fail_some_syncs()
        for path in {
            path for path in self.names_now.keys() | self.names_on_disk.keys() if path.parent == folder
        }:
            if path in self.names_now:
                self.names_on_disk[path] = self.names_now[path]
            else:
                del self.names_on_disk[path]

    def fail_some_syncs(self):
        if self.syncs_to_fail:
            self.syncs_to_fail -= 1
            raise OSError(errno.EIO, "Input/output error")

    def _inode(self, path):
        if path not in self.names_now:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return self.names_now[path]


class OpenFile:
    def __init__(self, files, inode):
        self.files, self.inode = files, inode

    def write(self, offset, data):
        files = self.files
        cut = files.steps_left == 0
        taken = len(data)
        if cut:
            taken = files.dice.randint(0, taken)
        elif files.room is not None:
            taken = min(taken, files.room)
            files.room -= taken
        self._put(offset, data[:taken])
        files.step()
        if taken < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")

    def _put(self, offset, data):
        inode = self.inode
        if offset + len(data) > len(inode.data):
            inode.data.extend(bytes(offset + len(data) - len(inode.data)))
            inode.size_is_dirty = True
        inode.data[offset : offset + len(data)] = data
        if data:
            inode.dirty.update(range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1))

    def read(self, offset, size):
        if self.files.reads_fail:
            raise OSError(errno.EIO, "Input/output error")
        return bytes(self.inode.data[offset : offset + size])

    def sync(self):
        self.files.step()
        inode = self.inode
        try:
            self.files.fail_some_syncs()
        except OSError:
            kept = {sector for sector in sorted(inode.dirty) if self.files.dice.random() < 0.5}
            self._write_back(kept, len(inode.data))
            inode.dirty = set()  # and nobody will ever write the others
            raise
        self._write_back(inode.dirty, len(inode.data))
        inode.dirty, inode.size_is_dirty = set(), False

    def _write_back(self, sectors, size):
        disk = self.inode.disk[:size].ljust(size, b"\0")
        for sector in sectors:
            start, end = sector * SECTOR, min((sector + 1) * SECTOR, size)
            if start < end:
                disk[start:end] = self.inode.data[start:end]
        self.inode.disk = bytearray(disk)

    def truncate(self, size):
        self.files.step()
        if self.files.room is not None:
            self.files.room += len(self.inode.data) - size
        del self.inode.data[size:]
        self.inode.size_is_dirty = True

    def close(self):
        pass
