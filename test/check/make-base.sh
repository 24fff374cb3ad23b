#!/bin/bash
# Make the sound image that the fixtures are damaged copies of, with mkfs.xfs and the kernel. Needs root and loop devices.
#   make-base.sh IMAGE [SIZE [mkfs.xfs options]]        default: 32 MiB in blocks of 1 KiB, so that few records make high trees
set -e
image=$1 size=${2:-32m}
shift; shift || true
export TEST_DIR=/tmp TEST_DEV=/dev/null QA_CHECK_FS=1 # lifts the least size of mkfs.xfs
rm -f "$image"
truncate -s "$size" "$image"
mkfs=/opt/xfsprogs/bin/mkfs.xfs
[ -x "$mkfs" ] || mkfs=mkfs.xfs
"$mkfs" -q -f -b size=1024 "$@" "$image"
mnt=$(mktemp -d)
loop=$(losetup -f --show "$image")
trap 'umount "$mnt" 2>/dev/null || true; losetup -d "$loop"; rmdir "$mnt"' EXIT
mount -t xfs "$loop" "$mnt"
python3 - "$mnt" <<'PY'
import fcntl, os, sys
os.chdir(sys.argv[1])
FICLONE, FICLONERANGE, BS = 0x40049409, 0x4020940d, 1024
def write(name, blocks, start=0):
    with open(name, 'r+b' if os.path.exists(name) else 'wb') as f:
        f.seek(start * BS)
        f.write((name.encode().ljust(16, b'.') * 64) * blocks)
def clone(src, dst):
    with open(src) as s, open(dst, 'w') as d: fcntl.ioctl(d, FICLONE, s.fileno())
write('plain', 40)
write('whole', 300)
clone('whole', 'copy1')
clone('whole', 'copy2')
clone('plain', 'copy3')
os.sync()
# every second block of a copy written anew: as many extents, and runs of shared blocks
for i in range(0, 300, 2): write('copy1', 1, i)
os.sync()
# blocks of two files in turn, one of them removed: many runs of free blocks
for i in range(170):
    write('keep', 1, i); os.sync() if i % 10 == 9 else None
with open('keep') as f: pass
for i in range(0, 300, 4):
    with open('gap%d' % i, 'wb') as f: f.write(b'g' * BS)
    with open('stay%d' % i, 'wb') as f: f.write(b's' * BS)
    os.sync() if i % 20 == 0 else None
for i in range(0, 300, 4): os.unlink('gap%d' % i)
for i in range(1, 300, 2):
    fd = os.open('copy2', os.O_RDWR)
    import ctypes
    if i > 100: ctypes.CDLL(None).fallocate(fd, 3, ctypes.c_long(i * BS), ctypes.c_long(BS))
    os.close(fd)
fd = os.open('reserved', os.O_RDWR | os.O_CREAT)
os.posix_fallocate(fd, 0, 64 * BS); os.close(fd)
os.mkdir('dir'); os.link('plain', 'dir/link'); os.symlink('plain', 'dir/symlink'); os.symlink('y' * 700, 'dir/long')
for i in range(40): open('dir/an-entry-with-a-name-%03d' % i, 'w').close()
os.setxattr('plain', 'user.large', b'v' * 3000)
for i in range(8): os.setxattr('plain', 'user.attribute-number-%d' % i, b'w' * 120)
PY
umount "$mnt"
# What the log says of the past is of no use and does not compress: of all records but the last only the cycle numbers are kept.
python3 - "$image" <<'PY'
import struct, sys
with open(sys.argv[1], 'r+b') as f:
    sb = f.read(512)
    block, agblklog = struct.unpack_from('>I', sb, 4)[0], sb[124]
    logstart, agblocks, logblocks = struct.unpack_from('>Q', sb, 48)[0], struct.unpack_from('>I', sb, 84)[0], struct.unpack_from('>I', sb, 96)[0]
    start = ((logstart >> agblklog) * agblocks + (logstart & ((1 << agblklog) - 1))) * block
    f.seek(start)
    log = bytearray(f.read(logblocks * block))
    headers = [at for at in range(0, len(log), 512) if log[at:at + 4] == b'\xfe\xed\xba\xbe']
    last = [at for at in headers if struct.unpack_from('>I', log, at + 12)[0] > 0][-1] # those of length 0 stand ahead of the head
    for at in range(0, last, 512):
        cycle = log[at + 4:at + 8] if at in headers else log[at:at + 4]
        log[at:at + 512] = cycle + bytes(508)
    f.seek(start)
    f.write(log)
PY
