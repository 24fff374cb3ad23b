import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, statfsSync, statSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type FileSystem, mapText } from './filesystem.ts'

const ERRNOS: readonly (readonly [RegExp, string])[] = [
  [/Invalid argument/, 'EINVAL'],
  [/Is a directory/, 'EISDIR'],
  [/Operation not permitted/, 'EPERM'],
  [/No space left/, 'ENOSPC'],
  [/File too large/, 'EFBIG'],
]

/**
 * The kernel's XFS, mounted at `root`, through xfs_io.
 * @param flush  write a file back before each change of it: with blocks smaller than pages, a hole
 *   in a dirty page may get a block
 */
export function kernelFileSystem(root: string, flush = false): FileSystem {
  const at = (path: string): string => join(root, path)
  const io = (path: string, ...commands: string[]): string => {
    const args = [
      '-x',
      '-f',
      ...(flush ? ['-c', 'fsync'] : []),
      ...commands.flatMap((command) => ['-c', command]),
      at(path),
    ]
    const { stdout, stderr } = spawnSync('xfs_io', args, { encoding: 'utf8' })
    return stdout + stderr
  }
  const change = (path: string, command: string): void => {
    const output = io(path, command)
    const errno = errnoOf(output)
    if (errno) throw new Error(`${command}: ${output}`)
  }
  const result = (output: string): string => errnoOf(output) ?? 'ok'
  return {
    pwrite: (path, offset, length, byte) =>
      change(path, `pwrite -q -S ${byte} -b ${Math.min(length, 2 ** 20)} ${offset} ${length}`),
    truncate: (path, size) => {
      change(path, `truncate ${size}`)
    },
    falloc: (path, offset, length) => change(path, `falloc ${offset} ${length}`),
    fallocKeep: (path, offset, length) => change(path, `falloc -k ${offset} ${length}`),
    punch: (path, offset, length) => change(path, `fpunch ${offset} ${length}`),
    zero: (path, offset, length) => change(path, `fzero ${offset} ${length}`),
    collapse: (path, offset, length) => result(io(path, `fcollapse ${offset} ${length}`)),
    insert: (path, offset, length) => result(io(path, `finsert ${offset} ${length}`)),
    mkdir: (path) => mkdirSync(at(path)),
    unlink: (path) => unlinkSync(at(path)),
    chattr: (path, flag) => {
      execFileSync('xfs_io', ['-r', '-c', `chattr ${flag}`, at(path)])
    },
    clone: (src, dst, srcOffset, dstOffset, length) =>
      result(io(dst, `reflink ${at(src)} ${srcOffset} ${dstOffset} ${length}`)),
    dedupe: (src, dst, srcOffset, dstOffset, length) => {
      const output = io(dst, `dedupe ${at(src)} ${srcOffset} ${dstOffset} ${length}`)
      if (/did not match/.test(output)) return 'DIFFERS 0'
      const errno = errnoOf(output)
      if (errno) return errno
      return `SAME ${/deduped (\d+)\//.exec(output)?.[1] ?? 0}`
    },
    unshare: (path, offset, length) => result(io(path, `funshare ${offset} ${length}`)),
    // Freezing waits for the kernel to free removed files in the background. Until then their
    // blocks count as shared.
    map: (path) => mapText(fiemapRuns(io(path, 'freeze', 'thaw', 'fiemap -v'), statfsSync(root).bsize)),
    size: (path) => statSync(at(path)).size,
    content: (path) => readFileSync(at(path)),
  }
}

const errnoOf = (output: string): string | undefined => ERRNOS.find(([pattern]) => pattern.test(output))?.[1]

function* fiemapRuns(text: string, blocksize: number) {
  const perBlock = blocksize / 512
  for (const line of text.split('\n')) {
    const match = /^\s*\d+:\s+\[(\d+)\.\.(\d+)\]:\s+(hole|\d+\.\.\d+)\s+\d+\s*(0x[0-9a-f]+)?/.exec(line)
    if (!match || match[3] === 'hole') continue
    const flags = Number(match[4] ?? 0)
    const start = Number(match[1]) / perBlock
    const length = (Number(match[2]) + 1) / perBlock - start
    yield { start, length, shared: (flags & 0x2000) !== 0, unwritten: (flags & 0x800) !== 0 }
  }
}
