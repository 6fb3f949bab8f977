"""The journal: what happened to packets, appended to segments, and where each packet that waits lies in them.

    files.py      what the journal asks of a file system, and the two it works on: the disk, and memory
    frames.py     the bytes of a segment, and what damage to them means
    entries.py    what a frame says: columns of packets, one entry for all that happened at a time
    extents.py    which packets are live, whose they are and where they lie, in two bytes a packet
    opening.py    what is found when a journal is opened
    log.py        the journal itself: appending, removing old segments, moving packets out of them
    client_ids.py the ids that clients chose
    quarantine.py what cannot be read
    backlog.py    reading packets back
    story.py      what the journal knows of one packet
    inspection.py looking at it from outside

Source: Rosenblum and Ousterhout, The Design and Implementation of a Log-Structured File System, TOCS 1992;
Pillai et al., All File Systems Are Not Created Equal, OSDI 2014; Rebello et al., Can Applications Recover
from fsync Failures?, USENIX ATC 2020.
"""
