import { createRequire } from 'node:module'
import { constants } from 'node:os'
import type Koffi from 'koffi'
import { type Bytes, exact } from '../util/bytes.ts'

/**
 * System calls that Node lacks: locks, extended attributes, times in nanoseconds, special files,
 * and finding holes of files. They use koffi, an optional dependency that includes its binaries.
 * Only 64-bit Linux is supported. On other systems files are copied without these properties, and
 * an image is locked by its lock file only.
 *
 * Paths and names are bytes. The last component of a path is not followed.
 */
export interface Native {
  /**
   * Lock an open file exclusively, until it is closed, without waiting.
   * @returns false if another open file description has the lock
   * @throws NativeError if the file system does not support such locks
   */
  flock(fd: number): boolean
  /** Names of the attributes of a file. */
  listXattrs(path: Uint8Array): Uint8Array[]
  getXattr(path: Uint8Array, name: Uint8Array): Uint8Array
  setXattr(path: Uint8Array, name: Uint8Array, value: Uint8Array): void
  /** No error if the attribute does not exist. */
  removeXattr(path: Uint8Array, name: Uint8Array): void
  /** In nanoseconds since 1970. */
  setTimes(path: Uint8Array, atime: bigint, mtime: bigint): void
  mknod(path: Uint8Array, mode: number, major: number, minor: number): void
  /** The start of the first data at or after `offset`; undefined if there is none. */
  nextData(fd: number, offset: Bytes): Bytes | undefined
  /** The start of the first hole at or after `offset`, at most EOF. */
  nextHole(fd: number, offset: Bytes): Bytes
  /** Set the position of the next write. Node's own positions are limited to 2^53. */
  seek(fd: number, offset: Bytes): void
  /** Set the size of a file. Node's own call is limited to 2^53. */
  truncate(fd: number, size: Bytes): void
  /** An ioctl on an open file; it reads or fills the buffer. */
  ioctl(fd: number, request: number, argument: Uint8Array): void
}

/** A failed call, in the form of Node's errors. */
export class NativeError extends Error {
  override readonly name = 'NativeError'
  readonly code: string
  constructor(call: string, errno: number) {
    const code = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`
    super(`${code}: ${call}`)
    this.code = code
  }
}

const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const LOCK_EX = 2
const LOCK_NB = 4
const SEEK_SET = 0
const SEEK_DATA = 3
const SEEK_HOLE = 4
const LITTLE_ENDIAN_64 = new Set(['x64', 'arm64', 'riscv64', 'loong64'])

let found: Native | undefined
let reason: string | undefined

/** The calls, or undefined if they are not available. */
export function native(): Native | undefined {
  if (found || reason !== undefined) return found
  if (process.platform !== 'linux' || !LITTLE_ENDIAN_64.has(process.arch)) {
    reason = `not supported on ${process.platform} ${process.arch}`
    return undefined
  }
  try {
    found = load(createRequire(import.meta.url)('koffi') as typeof Koffi)
  } catch (error) {
    reason = (error as Error).message.split('\n')[0] ?? 'koffi cannot be loaded'
  }
  return found
}

/** Why they are not available. */
export function withoutNative(): string | undefined {
  native()
  return reason
}

const path0 = (path: Uint8Array): Buffer => Buffer.concat([path, ZERO])
const ZERO = Buffer.alloc(1)

function load(koffi: typeof Koffi): Native {
  const libc = koffi.load(null)
  const flock = libc.func('int flock(int, int)')
  const llistxattr = libc.func('intptr_t llistxattr(const void*, void*, size_t)')
  const lgetxattr = libc.func('intptr_t lgetxattr(const void*, const void*, void*, size_t)')
  const lsetxattr = libc.func('int lsetxattr(const void*, const void*, const void*, size_t, int)')
  const lremovexattr = libc.func('int lremovexattr(const void*, const void*)')
  const utimensat = libc.func('int utimensat(int, const void*, const void*, int)')
  const mknod = libc.func('int mknod(const void*, uint32_t, uint64_t)')
  const lseek = libc.func('int64_t lseek(int, int64_t, int)')
  const ftruncate = libc.func('int ftruncate(int, int64_t)')
  const ioctl = libc.func('int ioctl(int, unsigned long, ...)')
  // The limits of Linux for names and values.
  const room = Buffer.alloc(65536)
  const times = Buffer.alloc(32)
  const check = (call: string, result: number | bigint): number => {
    const value = Number(result)
    if (value < 0) throw new NativeError(call, koffi.errno())
    return value
  }
  const setTime = (at: number, time: bigint): void => {
    let seconds = time / 1_000_000_000n
    let nanoseconds = time % 1_000_000_000n
    if (nanoseconds < 0n) {
      seconds -= 1n
      nanoseconds += 1_000_000_000n
    }
    times.writeBigInt64LE(seconds, at)
    times.writeBigInt64LE(nanoseconds, at + 8)
  }
  return {
    flock(fd) {
      if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true
      if (koffi.errno() === constants.errno.EWOULDBLOCK) return false
      throw new NativeError('flock', koffi.errno())
    },
    listXattrs(path) {
      const length = check('llistxattr', llistxattr(path0(path), room, room.length))
      const names: Uint8Array[] = []
      for (let at = 0; at < length; ) {
        const end = room.indexOf(0, at)
        names.push(Uint8Array.prototype.slice.call(room, at, end))
        at = end + 1
      }
      return names
    },
    getXattr(path, name) {
      const length = check('lgetxattr', lgetxattr(path0(path), path0(name), room, room.length))
      return Uint8Array.prototype.slice.call(room, 0, length)
    },
    setXattr(path, name, value) {
      check('lsetxattr', lsetxattr(path0(path), path0(name), value, value.length, 0))
    },
    removeXattr(path, name) {
      if (lremovexattr(path0(path), path0(name)) < 0 && koffi.errno() !== constants.errno.ENODATA)
        throw new NativeError('lremovexattr', koffi.errno())
    },
    setTimes(path, atime, mtime) {
      setTime(0, atime)
      setTime(16, mtime)
      check('utimensat', utimensat(AT_FDCWD, path0(path), times, AT_SYMLINK_NOFOLLOW))
    },
    mknod(path, mode, major, minor) {
      const device =
        (BigInt(major & 0xfff) << 8n) |
        (BigInt(major >>> 12) << 44n) |
        BigInt(minor & 0xff) |
        (BigInt(minor >>> 8) << 20n)
      check('mknod', mknod(path0(path), mode, device))
    },
    nextData(fd, offset) {
      const result: Bytes = lseek(fd, offset, SEEK_DATA)
      if (result >= 0) return exact(result)
      if (koffi.errno() === constants.errno.ENXIO) return undefined
      throw new NativeError('lseek', koffi.errno())
    },
    nextHole(fd, offset) {
      const result: Bytes = lseek(fd, offset, SEEK_HOLE)
      check('lseek', result)
      return exact(result)
    },
    seek: (fd, offset) => void check('lseek', lseek(fd, offset, SEEK_SET)),
    ioctl: (fd, request, argument) => void check('ioctl', ioctl(fd, request, 'void *', argument)),
    truncate: (fd, size) => void check('ftruncate', ftruncate(fd, size)),
  }
}
