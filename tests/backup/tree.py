"""A folder with every oddity that a file system allows, and all that is to be found again of it. Run on the machine.

tree.py make FOLDER COUNT UID GID: makes it, with so many plain files beside, and gives it to a user.
tree.py show FOLDER: prints a line for each thing in it: name, kind, mode, owners, time, what it holds.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path


def make(root: Path, count: int, uid: int, gid: int) -> None:
    """The folder; raises OSError."""
    for name in (b"new\nline", b"not \xff utf-8", b" blank ", b"-rf", b"*?[a]", "gr\u00fc\u00dfe".encode(), b"x" * 255):
        (root / os.fsdecode(name)).write_text(repr(name))
    for number in range(count):
        folder = root / f"many/{number % 50}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").write_bytes(hashlib.sha256(b"%d" % number).digest() * (number % 40))
    (root / "empty/in/it").mkdir(parents=True)
    (root / "link").symlink_to("many")
    (root / "dangling").symlink_to("/no/such\nplace")
    (root / "hard 1").write_text("one file of two names")
    os.link(root / "hard 1", root / "empty/hard 2")
    os.mkfifo(root / "pipe")
    with (root / "sparse").open("wb") as sparse:
        sparse.seek(50 * 2**20)
        sparse.write(b"end")
    (root / "marked").write_text("with an attribute")
    os.setxattr(root / "marked", "user.colour", b"\x00blue\xff")
    for path in [root, *root.rglob("*")]:
        os.chown(path, uid, gid, follow_symlinks=False)
    (root / "shut").write_text("for nobody")
    (root / "shut").chmod(0o000)
    (root / "shut folder").mkdir()
    (root / "shut folder/within").write_text("x")
    (root / "shut folder").chmod(0o000)
    (root / "of a group").mkdir(mode=0o2775)
    (root / "of a group").chmod(0o2775)
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    (root / "runs").write_text("#!/bin/sh\n")
    (root / "runs").chmod(0o6755)
    os.chown(root / "of a group", 4321, 1234)
    os.utime(root / "marked", ns=(1, 1_000_000_001))
    os.utime(root / "dangling", ns=(1, 1_234_567_890_123_456_789), follow_symlinks=False)
    os.utime(root / "empty/in", ns=(1, 2_000_000_000_000_000_007))


def show(path: Path, root: Path) -> str:
    """All that is to be found again of one thing."""
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    attributes = {name: os.getxattr(path, name) for name in os.listxattr(path, follow_symlinks=False)}
    holds: object = ""
    if kind == stat.S_IFREG:
        thin = found.st_blocks * 512 < found.st_size // 2
        holds = (found.st_size, hashlib.sha256(path.read_bytes()).hexdigest()[:16], found.st_nlink, thin)
    elif kind == stat.S_IFLNK:
        holds = path.readlink()
    name = os.fsencode(path.relative_to(root))
    return repr((name, kind, oct(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns, attributes, str(holds)))


if __name__ == "__main__":
    top = Path(sys.argv[2])
    if sys.argv[1] == "make":
        make(top, *map(int, sys.argv[3:]))
    else:
        print("\n".join(sorted(show(path, top) for path in [top, *top.rglob("*")])))
