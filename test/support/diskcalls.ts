import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import type { DeviceEvent } from '../../src/device/record.ts'

/**
 * The calls by which this process writes to one image file, intercepted where they leave the
 * program. So a complete command is recorded, or meets a failing disk, without a change of its code
 * or of the device's.
 *
 * Workers are disabled meanwhile: their calls are not intercepted, and would come in another order
 * each time.
 */
export interface DiskHooks {
  /**
   * Before a write of `length` bytes: the number of bytes that reach the disk. @throws the error of
   * the call
   */
  readonly beforeWrite?: (length: number) => number
  /** @throws the error of the call */
  readonly beforeFlush?: () => void
  readonly after?: (event: DeviceEvent) => void
}

export interface Observed<T> {
  readonly result: T
  /** The output of this process meanwhile. */
  readonly stdout: string
  readonly stderr: string
}

/**
 * Run `use`. Files opened for writing by the name `path` are observed, and output is kept. Not
 * concurrently.
 */
export async function withDiskCalls<T>(path: string, hooks: DiskHooks, use: () => Promise<T>): Promise<Observed<T>> {
  const { openSync, closeSync, writeSync, fdatasyncSync, fsyncSync, existsSync } = fs
  const real = { openSync, closeSync, writeSync, fdatasyncSync, fsyncSync, existsSync }
  const opened = new Set<number>()
  const printed = ['', '', '']
  const flush = (): void => {
    hooks.beforeFlush?.()
    hooks.after?.({ kind: 'flush' })
  }
  const patched = {
    openSync(name: fs.PathLike, flags: fs.OpenMode = 'r', mode?: fs.Mode | null): number {
      const fd = real.openSync(name, flags, mode)
      const writes = typeof flags === 'number' ? (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) !== 0 : flags !== 'r' // biome-ignore format: one line
      if (writes && String(name) === path) opened.add(fd)
      return fd
    },
    closeSync(fd: number): void {
      opened.delete(fd)
      real.closeSync(fd)
    },
    writeSync(fd: number, bytes: Uint8Array, offset = 0, length = bytes.length - offset, position?: number): number {
      if (fd === 1 || fd === 2) {
        printed[fd] += Buffer.from(bytes.subarray(offset, offset + length)).toString()
        return length
      }
      if (!opened.has(fd) || position === undefined) return real.writeSync(fd, bytes, offset, length, position)
      const kept = hooks.beforeWrite?.(length) ?? length
      const count = real.writeSync(fd, bytes, offset, kept, position)
      hooks.after?.({ kind: 'write', position, bytes: new Uint8Array(bytes.subarray(offset, offset + count)) })
      return count
    },
    fdatasyncSync: (fd: number): void => (opened.has(fd) ? flush() : real.fdatasyncSync(fd)),
    fsyncSync: (fd: number): void => (opened.has(fd) ? flush() : real.fsyncSync(fd)),
    existsSync: (name: fs.PathLike): boolean => !isScript(name) && real.existsSync(name),
  }
  Object.assign(fs, patched)
  syncBuiltinESMExports()
  try {
    const result = await use()
    return { result, stdout: printed[1] as string, stderr: printed[2] as string }
  } finally {
    Object.assign(fs, real)
    syncBuiltinESMExports()
  }
}

/** Workers are started by the address of their script, and only if it exists. */
const isScript = (name: fs.PathLike): boolean => name instanceof URL && name.pathname.endsWith('.js')
