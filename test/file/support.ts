import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readFile } from '../../src/data/data.ts'
import { openFile } from '../../src/device/file.ts'
import { extents } from '../../src/mapping/extents.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { Volume } from '../../src/volume.ts'
import { checkFindings, distribution, makeImage as make, newest, skip } from '../support/oracles.ts'
import type { Twin } from './twin.ts'
import { ourTwin } from './twin-ours.ts'

/** Images made by mkfs.xfs and filled by the kernel, and the kernel's view of them. */

export const tools = {
  mkfs: newest.mkfs,
  oldMkfs: distribution.mkfs,
  repair: newest.repair,
  db: newest.db,
  io: newest.io,
}

/** Why tests with the kernel cannot run here, or false. */
export const skipKernel: string | false = skip.kernel
export const skipTools: string | false = skip.newest && skip.distribution

/** A directory that is removed at the end of the test. */
export function scratch(t: { after(action: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'xfskit-file-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** An image of mkfs.xfs; without it ours, with the default features of the distribution's. */
export function makeImage(path: string, size: string, args: readonly string[] = [], mkfs = tools.mkfs): void {
  const old = mkfs === tools.oldMkfs && mkfs !== tools.mkfs ? ['-n', 'parent=0', '-i', 'nrext64=0,exchange=0'] : []
  make(path, size, existsSync(mkfs) ? args : [...args, ...old], { ...newest, mkfs })
}

/** Mount the image, call `action`, unmount. */
export function mounted<T>(image: string, action: (directory: string) => T, options = 'loop'): T {
  const directory = mkdtempSync(join(tmpdir(), 'xfskit-mnt-'))
  try {
    execFileSync('mount', ['-t', 'xfs', '-o', options, image, directory], { stdio: ['ignore', 'ignore', 'pipe'] })
    try {
      return action(directory)
    } finally {
      execFileSync('umount', [directory])
      // The loop device is detached a moment later.
      for (let i = 0; i < 100 && execFileSync('losetup', ['-j', image], { encoding: 'utf8' }) !== ''; i++)
        execFileSync('sleep', ['0.05'])
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/**
 * Run a shell script in the mounted image; XFS_IO is the tool's path. Without a kernel `ours` does
 * the same with our own operations.
 */
export function fill(
  image: string,
  script: string,
  ours?: (twin: Twin, blocksize: number) => void,
  options?: string,
): void {
  if (skipKernel && ours) {
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    ours(ourTwin(volume), volume.geometry.blocksize)
    volume.close()
    return
  }
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

/** Compare with the kernel, if possible. */
export function withKernel(image: string, action: (directory: string) => void, options?: string): void {
  if (skipKernel === false) mounted(image, action, options)
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

/** The kernel's view of an image, by path; our own without a kernel. */
export const manifest = (image: string, options = 'loop,ro'): KernelFile[] =>
  skipKernel ? ourManifest(image) : mounted(image, (top) => walk(top, top), options)

function ourManifest(image: string): KernelFile[] {
  const volume = Volume.open(openFile(image, 'r'))
  const { blocksize, fsbToDaddr } = volume.geometry
  const perBlock = blocksize / 512
  const nanos = ({ seconds, nanoseconds }: { seconds: number; nanoseconds: number }): bigint =>
    BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)
  const files: KernelFile[] = []
  for (const { path, inode } of walkTree(rootDirectory(volume))) {
    const name = Buffer.from(path).toString()
    if (name === '/' || name === '') continue
    const size = BigInt(inode.size)
    files.push({
      path: name.startsWith('/') ? name : `/${name}`,
      ino: inode.ino,
      mode: inode.mode,
      nlink: inode.nlink,
      uid: inode.uid,
      gid: inode.gid,
      size,
      blocks: BigInt(inode.nblocks * perBlock),
      rdev: 0n,
      mtime: nanos(inode.mtime),
      atime: nanos(inode.atime),
      ctime: nanos(inode.ctime),
      birth: inode.crtime ? nanos(inode.crtime) : 0n,
      hash: inode.isRegular && size < 2n ** 30n ? sha256(readFile(inode)) : undefined,
      extents: inode.isRegular
        ? joinExtents(
            [...extents(inode, 'data')].map((rec) => ({
              offset: rec.startoff * perBlock,
              length: rec.blockcount * perBlock,
              start: fsbToDaddr(rec.startblock),
              unwritten: rec.extentflag === 1,
            })),
          )
        : undefined,
    })
  }
  volume.close()
  return files
}

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

/** The extents of bmap of xfs_io, without holes; contiguous extents are merged. */
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

/** Complaints of xfs_repair -n, or of our check if it is missing; empty if the image is sound. */
export function repairSays(image: string): string {
  if (skip.newest) return checkFindings(image).join('\n')
  const { status, stdout, stderr } = repair(image)
  return status === 0 ? '' : `xfs_repair -n exits ${status}\n${stdout}\n${stderr}`
}

/** The output of xfs_repair -n, or our findings if it is missing. */
export function repairOutput(image: string): string {
  if (skip.newest) return checkFindings(image).join('\n')
  const { stdout, stderr } = repair(image)
  return `${stdout}\n${stderr}`
}
