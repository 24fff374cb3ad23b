import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  rmdirSync,
  statfsSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { flagLetters } from '../../src/attr/setattr.ts'
import { native } from '../../src/device/native.ts'
import type { Syscalls } from '../support/syscalls.ts'
import {
  type AllocateMode,
  type Attributes,
  byPath,
  hash,
  type Line,
  lineText,
  type MapRun,
  merged,
  type Twin,
  written,
} from './twin.ts'
import { WHOLE_CONTENT } from './twin-ours.ts'

const FALLOC: Readonly<Record<AllocateMode, number>> = {
  alloc: 0, allocKeep: 1, punch: 3, zero: 0x10, zeroKeep: 0x11, collapse: 8, insert: 0x20, unshare: 0x40,
} // biome-ignore format: a table
const RENAME = { replace: 0, refuse: 1, exchange: 2 } as const
const XATTR = { any: 0, create: 1, replace: 2 } as const
const FICLONERANGE = 0x4020940d
const FIDEDUPERANGE = 0xc0189436
const FSGETXATTR = 0x801c581f
const FSSETXATTR = 0x401c5820
const FIEMAP = 0xc020660b
const FIFREEZE = 0xc0045877
const FITHAW = 0xc0045878
const FIEMAP_SYNC = 1
const MAP_ENTRIES = 4096
const MAP_ENTRY = 56
const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_WRONLY } = constants

/** Bits of the words that FSSETXATTR takes. */
const XFLAGS: ReadonlyMap<string, number> = new Map(
  flagLetters.map(([letter, word, bit]) => [
    letter,
    letter === 'x' ? 0x8000 : letter === 'C' ? 0x10000 : word === 'flags' ? bit : 0,
  ]),
)

/**
 * A hole or an unwritten block may be written together with its page, if another block of the page
 * is dirty. So with smaller blocks no page stays dirty.
 */
const PAGE = 4096

/** The kernel's XFS, mounted at `root`. */
export function kernelTwin(root: string, calls: Syscalls): Twin {
  const at = (path: string): Buffer => Buffer.from(path === '' ? root : `${root}/${path}`, 'latin1')
  function withFile<T>(path: string, flags: number, use: (fd: number) => T): T {
    const fd = openSync(at(path), flags)
    try {
      const result = use(fd)
      if (flags !== O_RDONLY && blocksize < PAGE) fsyncSync(fd)
      return result
    } finally {
      closeSync(fd)
    }
  }
  const blocksize = statfsSync(root).bsize
  const machine = native()
  if (!machine) throw new Error('no native calls')
  return {
    create: (path, mode) => closeSync(openSync(at(path), O_CREAT | O_EXCL | O_WRONLY, mode)),
    mkdir: (path, mode) => mkdirSync(at(path), mode),
    symlink: (target, path) => symlinkSync(Buffer.from(target, 'latin1'), at(path)),
    link: (from, path) => linkSync(at(from), at(path)),
    mknod: (path, mode, { major, minor }) => machine.mknod(at(path), mode, major, minor),
    rename: (from, to, how) => calls.rename(at(from), at(to), RENAME[how]),
    unlink: (path) => unlinkSync(at(path)),
    rmdir: (path) => rmdirSync(at(path)),
    write: (path, offset, bytes) =>
      withFile(path, O_WRONLY, (fd) => {
        for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, offset + done)
      }),
    truncate(path, size) {
      calls.truncate(at(path), size)
      withFile(path, O_WRONLY, () => {})
    },
    allocate: (path, mode, offset, length) =>
      withFile(path, O_RDWR, (fd) => calls.fallocate(fd, FALLOC[mode], offset, length)),
    chmod: (path, mode) => chmodSync(at(path), mode),
    chown: (path, uid, gid) => lchownSync(at(path), uid, gid),
    setTimes: (path, atime, mtime) => machine.setTimes(at(path), atime, mtime),
    attributes: (path, changes) =>
      withFile(path, O_RDONLY, (fd) => {
        const words = Buffer.alloc(28)
        calls.ioctl(fd, FSGETXATTR, words)
        change(words, fstatSync(fd).isDirectory(), changes)
        calls.ioctl(fd, FSSETXATTR, words)
      }),
    setXattr: (path, name, value, mode) => calls.setXattr(at(path), Buffer.from(name, 'latin1'), value, XATTR[mode]),
    removeXattr: (path, name) => calls.removeXattr(at(path), Buffer.from(name, 'latin1')),
    clone: (from, to, { srcOffset, dstOffset, length }) =>
      withFile(from, O_RDONLY, (src) =>
        withFile(to, O_WRONLY, (dst) => {
          const words = Buffer.alloc(32)
          for (const [i, value] of [src, srcOffset, length, dstOffset].entries())
            words.writeBigInt64LE(BigInt(value), i * 8)
          calls.ioctl(dst, FICLONERANGE, words)
        }),
      ),
    dedupe: (from, to, { srcOffset, dstOffset, length }) =>
      withFile(from, O_RDONLY, (src) =>
        withFile(to, O_WRONLY, (dst) => {
          const words = Buffer.alloc(56)
          words.writeBigInt64LE(BigInt(srcOffset), 0)
          words.writeBigInt64LE(BigInt(length), 8)
          words.writeUInt16LE(1, 16)
          words.writeBigInt64LE(BigInt(dst), 24)
          words.writeBigInt64LE(BigInt(dstOffset), 32)
          calls.ioctl(src, FIDEDUPERANGE, words)
          const status = words.readInt32LE(48)
          if (status < 0)
            throw Object.assign(new Error(`status ${status}`), {
              code: status === -22 ? 'EINVAL' : status === -1 ? 'EPERM' : `E${-status}`,
            })
          return status === 1 ? 'differs' : `same ${words.readBigInt64LE(40)}`
        }),
      ),
    manifest() {
      const lines: Line[] = []
      const walk = (path: string): void => {
        const line = lineOf(path)
        lines.push(line)
        if (line.type !== 'd') return
        for (const name of readdirSync(at(path), { encoding: 'buffer' })) {
          const text = name.toString('latin1')
          walk(path === '' ? text : `${path}/${text}`)
        }
      }
      // The kernel frees removed files in the background, and until then their blocks count as
      // shared. Freezing waits for that.
      withFile('', O_RDONLY, (fd) => {
        calls.ioctl(fd, FIFREEZE, Buffer.alloc(8))
        calls.ioctl(fd, FITHAW, Buffer.alloc(8))
      })
      walk('')
      return lines.sort(byPath).map(lineText)
    },
  }

  function lineOf(path: string): Line {
    const where = at(path)
    const stat = lstatSync(where, { bigint: true })
    const type = stat.isDirectory()
      ? 'd'
      : stat.isFile()
        ? '-'
        : stat.isSymbolicLink()
          ? 'l'
          : stat.isFIFO()
            ? 'p'
            : stat.isSocket()
              ? 's'
              : stat.isBlockDevice()
                ? 'b'
                : 'c'
    const base = {
      path,
      type,
      permissions: Number(stat.mode) & 0o7777,
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      nlink: Number(stat.nlink),
      size: Number(stat.size),
      mtime: stat.mtimeNs,
      atime: stat.atimeNs,
      device: type === 'b' || type === 'c' ? deviceOf(stat.rdev) : undefined,
      target: type === 'l' ? readlinkSync(where, { encoding: 'latin1' }) : undefined,
      // The kernel also shows the attribute that stores an ACL.
      xattrs: calls
        .listXattrs(where)
        .filter((name) => !name.includes('trusted.SGI_ACL_'))
        .map((name) => [name.toString('latin1'), calls.getXattr(where, name)] as const),
    }
    if (type !== 'd' && type !== '-') return base
    return withFile(path, O_RDONLY, (fd) => {
      const words = Buffer.alloc(28)
      calls.ioctl(fd, FSGETXATTR, words)
      const [xflags = 0, extsize, , projid, cowextsize] = Array.from({ length: 5 }, (_, i) => words.readUInt32LE(i * 4))
      const flags = flagLetters.map(([letter]) => (xflags & (XFLAGS.get(letter) ?? 0) ? letter : '-')).join('')
      const map = type === '-' ? merged(fiemap(fd)) : undefined
      return {
        ...base,
        flags,
        extsize,
        projid,
        cowextsize,
        ...(map ? { map, content: contentText(fd, base.size, map) } : {}),
      }
    })
  }

  function fiemap(fd: number): MapRun[] {
    const runs: MapRun[] = []
    const words = Buffer.alloc(32 + MAP_ENTRIES * MAP_ENTRY)
    for (let from = 0n; ; ) {
      words.fill(0)
      words.writeBigUInt64LE(from, 0)
      words.writeBigUInt64LE(2n ** 63n - 1n - from, 8)
      words.writeUInt32LE(FIEMAP_SYNC, 16)
      words.writeUInt32LE(MAP_ENTRIES, 24)
      calls.ioctl(fd, FIEMAP, words)
      const count = words.readUInt32LE(20)
      for (let i = 0; i < count; i++) {
        const entry = 32 + i * MAP_ENTRY
        const flags = words.readUInt32LE(entry + 40)
        const start = words.readBigUInt64LE(entry)
        const length = words.readBigUInt64LE(entry + 16)
        from = start + length
        runs.push({
          start: Number(start) / blocksize,
          length: Number(length) / blocksize,
          unwritten: (flags & 0x800) !== 0,
          shared: (flags & 0x2000) !== 0,
        })
      }
      if (count < MAP_ENTRIES) return runs
    }
  }

  function contentText(fd: number, size: number, map: readonly MapRun[]): string {
    if (size <= WHOLE_CONTENT) return hash(read(fd, 0, size))
    return hash(
      Buffer.from(
        written(map)
          .map(({ start, length }) => hash(read(fd, start * blocksize, length * blocksize)))
          .join(),
      ),
    )
  }
}

function read(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  let done = 0
  for (let got = 1; got > 0 && done < length; done += got) got = readSync(fd, bytes, done, length - done, offset + done)
  return bytes.subarray(0, done)
}

const deviceOf = (rdev: bigint) => ({
  major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn)),
  minor: Number((rdev & 0xffn) | ((rdev >> 12n) & ~0xffn)),
})

/** Change the result of FSGETXATTR as chattr, chproj, extsize and cowextsize of xfs_io do. */
function change(words: Buffer, directory: boolean, changes: Attributes): void {
  let xflags = words.readUInt32LE(0)
  for (const letter of changes.set ?? '') xflags = (xflags | (XFLAGS.get(letter) ?? 0)) >>> 0
  for (const letter of changes.clear ?? '') xflags = (xflags & ~(XFLAGS.get(letter) ?? 0)) >>> 0
  const hint = (offset: number, bytes: number | undefined, letter: string): void => {
    if (bytes === undefined) return
    words.writeUInt32LE(bytes, offset)
    const bit = XFLAGS.get(letter) ?? 0
    xflags = (bytes > 0 ? xflags | bit : xflags & ~bit) >>> 0
  }
  hint(4, changes.extsize, directory ? 'E' : 'e')
  hint(16, changes.cowextsize, 'C')
  if (changes.projid !== undefined) words.writeUInt32LE(changes.projid, 12)
  words.writeUInt32LE(xflags, 0)
}
