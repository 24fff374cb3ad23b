import { createRequire } from 'node:module'
import { constants } from 'node:os'
import type Koffi from 'koffi'

/**
 * System calls of Linux that Node lacks, for tests that make the same changes on a mounted image
 * and on ours. Paths are bytes; the last component is not followed.
 */
export interface Syscalls {
  /** `flags`: 1 refuse an existing name, 2 exchange. */
  rename(from: Uint8Array, to: Uint8Array, flags: number): void
  listXattrs(path: Uint8Array): Buffer[]
  getXattr(path: Uint8Array, name: Uint8Array): Buffer
  /** `flags`: 1 it must not exist, 2 it must exist. */
  setXattr(path: Uint8Array, name: Uint8Array, value: Uint8Array, flags: number): void
  removeXattr(path: Uint8Array, name: Uint8Array): void
  /**
   * Not ftruncate(2), which Node uses: it changes the times of a file even if the size stays the
   * same.
   */
  truncate(path: Uint8Array, size: number): void
  fallocate(fd: number, mode: number, offset: number, length: number): void
  /** The argument is read and written. */
  ioctl(fd: number, request: number, argument: Buffer): void
  syncfs(fd: number): void
  /** lseek(2); undefined if there is nothing after `offset`. */
  seek(fd: number, offset: number, whence: number): number | undefined
}

/** A failed call, reported as by Node. */
export class SyscallError extends Error {
  readonly code: string
  constructor(call: string, errno: number) {
    const code = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`
    super(`${code}: ${call}`)
    this.code = code
  }
}

const AT_FDCWD = -100
const LARGEST = 65536

let loaded: Syscalls | undefined

/** Undefined without koffi, an optional dependency. */
export function syscalls(): Syscalls | undefined {
  if (loaded || process.platform !== 'linux') return loaded
  try {
    loaded = load(createRequire(import.meta.url)('koffi') as typeof Koffi)
  } catch {
    return undefined
  }
  return loaded
}

function load(koffi: typeof Koffi): Syscalls {
  const libc = koffi.load(null)
  const renameat2 = libc.func('int renameat2(int, const void*, int, const void*, uint32_t)')
  const llistxattr = libc.func('intptr_t llistxattr(const void*, void*, size_t)')
  const lgetxattr = libc.func('intptr_t lgetxattr(const void*, const void*, void*, size_t)')
  const lsetxattr = libc.func('int lsetxattr(const void*, const void*, const void*, size_t, int)')
  const lremovexattr = libc.func('int lremovexattr(const void*, const void*)')
  const truncate = libc.func('int truncate(const void*, int64_t)')
  const fallocate = libc.func('int fallocate(int, int, int64_t, int64_t)')
  const ioctl = libc.func('int ioctl(int, unsigned long, void*)')
  const syncfs = libc.func('int syncfs(int)')
  const lseek = libc.func('int64_t lseek(int, int64_t, int)')
  const room = Buffer.alloc(LARGEST)
  const text = (bytes: Uint8Array): Buffer => Buffer.concat([bytes, Buffer.alloc(1)])
  const check = (call: string, result: number | bigint): number => {
    if (Number(result) < 0) throw new SyscallError(call, koffi.errno())
    return Number(result)
  }
  return {
    rename: (from, to, flags) => void check('renameat2', renameat2(AT_FDCWD, text(from), AT_FDCWD, text(to), flags)),
    listXattrs(path) {
      const length = check('llistxattr', llistxattr(text(path), room, room.length))
      const names: Buffer[] = []
      for (let at = 0; at < length; ) {
        const end = room.indexOf(0, at)
        names.push(Buffer.from(room.subarray(at, end)))
        at = end + 1
      }
      return names
    },
    getXattr: (path, name) =>
      Buffer.from(room.subarray(0, check('lgetxattr', lgetxattr(text(path), text(name), room, room.length)))),
    setXattr: (path, name, value, flags) =>
      void check('lsetxattr', lsetxattr(text(path), text(name), value, value.length, flags)),
    removeXattr: (path, name) => void check('lremovexattr', lremovexattr(text(path), text(name))),
    truncate: (path, size) => void check('truncate', truncate(text(path), size)),
    fallocate: (fd, mode, offset, length) => void check('fallocate', fallocate(fd, mode, offset, length)),
    ioctl: (fd, request, argument) => void check('ioctl', ioctl(fd, request, argument)),
    syncfs: (fd) => void check('syncfs', syncfs(fd)),
    seek(fd, offset, whence) {
      const result = Number(lseek(fd, offset, whence))
      if (result < 0 && koffi.errno() === constants.errno.ENXIO) return undefined
      return check('lseek', result)
    },
  }
}
