import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, ftruncateSync, lstatSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { distribution, newest, skip } from '../support/oracles.ts'

/** Images made by mkfs.xfs and filled by the kernel, and what the kernel says is in them. */

export const tools = {
  mkfs: newest.mkfs,
  oldMkfs: distribution.mkfs,
  repair: newest.repair,
  db: newest.db,
  io: newest.io,
}

/** Why tests with the kernel cannot run here; false where they can. */
export const skipKernel: string | false = skip.kernel
export const skipTools: string | false = skip.newest && skip.distribution

/** A directory that is removed when the test ends. */
export function scratch(t: { after(action: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'xfskit-file-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

export function makeImage(path: string, size: string, args: readonly string[] = [], mkfs = tools.mkfs): void {
  const fd = openSync(path, 'w')
  ftruncateSync(fd, bytes(size))
  closeSync(fd)
  execFileSync(mkfs as string, ['-q', '-f', ...args, path], { stdio: ['ignore', 'ignore', 'pipe'] })
}

const bytes = (size: string): number =>
  Number.parseInt(size, 10) * { m: 2 ** 20, g: 2 ** 30 }[size.slice(-1) as 'm' | 'g']

/** Mount the image, do something, unmount. */
export function mounted<T>(image: string, action: (directory: string) => T, options = 'loop'): T {
  const directory = mkdtempSync(join(tmpdir(), 'xfskit-mnt-'))
  try {
    execFileSync('mount', ['-t', 'xfs', '-o', options, image, directory], { stdio: ['ignore', 'ignore', 'pipe'] })
    try {
      return action(directory)
    } finally {
      execFileSync('umount', [directory])
      // The loop device goes by itself, a moment later.
      for (let i = 0; i < 100 && execFileSync('losetup', ['-j', image], { encoding: 'utf8' }) !== ''; i++)
        execFileSync('sleep', ['0.05'])
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** A shell script in the mounted image; XFS_IO is the tool's path. */
export function fill(image: string, script: string, options?: string): void {
  mounted(
    image,
    (cwd) =>
      execFileSync('bash', ['-euc', script], {
        cwd,
        env: { ...process.env, XFS_IO: tools.io as string },
        stdio: ['ignore', 'ignore', 'pipe'],
      }),
    options,
  )
}

export interface KernelExtent {
  offset: number
  length: number
  /** Basic block. */
  start: number
  unwritten: boolean
}

export interface KernelFile {
  readonly path: string
  readonly ino: number
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly size: bigint
  readonly blocks: bigint
  readonly rdev: bigint
  readonly mtime: bigint
  readonly atime: bigint
  readonly ctime: bigint
  readonly birth: bigint
  readonly hash: string | undefined
  readonly extents: readonly KernelExtent[] | undefined
}

/** What the kernel sees of an image, by path. */
export const manifest = (image: string, options = 'loop,ro'): KernelFile[] =>
  mounted(image, (top) => walk(top, top), options)

function walk(top: string, directory: string): KernelFile[] {
  const files: KernelFile[] = []
  for (const name of readdirSync(directory)) {
    const path = join(directory, name)
    const stat = lstatSync(path, { bigint: true })
    const regular = stat.isFile()
    files.push({
      path: path.slice(top.length),
      ino: Number(stat.ino),
      mode: Number(stat.mode),
      nlink: Number(stat.nlink),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      size: stat.size,
      blocks: stat.blocks,
      rdev: stat.rdev,
      mtime: stat.mtimeNs,
      atime: stat.atimeNs,
      ctime: stat.ctimeNs,
      birth: stat.birthtimeNs,
      hash: regular && stat.size < 2n ** 30n ? sha256(readFileSync(path)) : undefined,
      extents: regular ? bmap(path) : undefined,
    })
    if (stat.isDirectory()) files.push(...walk(top, path))
  }
  return files
}

export const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

/** xfs_io's bmap, without holes; pieces that continue each other are joined. */
export function bmap(path: string): KernelExtent[] {
  const text = execFileSync(tools.io as string, ['-r', '-c', 'bmap -pv', path], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  })
  const found: KernelExtent[] = []
  for (const line of text.split('\n')) {
    const match = /^\s*\d+: \[(\d+)\.\.(\d+)\]:\s+(\d+)\.\.\d+\s+\S+\s+\(.*?\)\s+\d+\s*([01]+)?/.exec(line)
    if (!match) continue
    const offset = Number(match[1])
    found.push({
      offset,
      length: Number(match[2]) - offset + 1,
      start: Number(match[3]),
      unwritten: (Number.parseInt(match[4] ?? '0', 8) & 0o10000) !== 0,
    })
  }
  return joinExtents(found)
}

export function joinExtents(list: Iterable<KernelExtent>): KernelExtent[] {
  const out: KernelExtent[] = []
  for (const next of list) {
    const last = out.at(-1)
    if (
      last &&
      last.offset + last.length === next.offset &&
      last.start + last.length === next.start &&
      last.unwritten === next.unwritten
    )
      last.length += next.length
    else out.push({ ...next })
  }
  return out
}

const repair = (image: string) =>
  spawnSync(tools.repair as string, ['-n', image], { encoding: 'utf8', maxBuffer: 2 ** 26 })

/** What xfs_repair -n complains of; empty where the image is sound. */
export function repairSays(image: string): string {
  const { status, stdout, stderr } = repair(image)
  return status === 0 ? '' : `xfs_repair -n exits ${status}\n${stdout}\n${stderr}`
}

/** All that xfs_repair -n prints. */
export function repairOutput(image: string): string {
  const { stdout, stderr } = repair(image)
  return `${stdout}\n${stderr}`
}
