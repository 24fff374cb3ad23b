import { readFile } from '../../src/data/data.ts'
import type { Device } from '../../src/device/device.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { mappedRuns } from '../../src/reflink/sharing.ts'
import { Volume } from '../../src/volume.ts'
import { differences, imageManifest } from './manifest.ts'

/** The content of a filesystem: names and inodes as lines, and the bytes of every file. */
export interface Tree {
  readonly lines: readonly string[]
  readonly files: ReadonlyMap<string, Content>
  readonly blocksize: number
}

interface Content {
  readonly bytes: Uint8Array
  /** The place of each block of the file on the device, −1 for a hole. */
  readonly blocks: Float64Array
}

const SECTOR = 512

/** The tree on the device, read through a separate volume. @throws XfsError if it is not sound */
export function treeOf(device: Device, before?: Tree): Tree {
  const volume = Volume.open(device, { needsRepair: true })
  const { blocksize, fsbToDaddr } = volume.geometry
  const root = rootDirectory(volume)
  const files = new Map<string, Content>()
  for (const { path, inode } of walkTree(root)) {
    if (!inode.isRegular) continue
    const name = Buffer.from(path).toString('latin1')
    const blocks = new Float64Array(Math.ceil(Number(inode.size) / blocksize)).fill(-1)
    for (const { startoff, startblock, blockcount, unwritten } of mappedRuns(inode)) {
      if (unwritten) continue
      const daddr = fsbToDaddr(startblock)
      for (let i = 0; i < blockcount && startoff + i < blocks.length; i++)
        blocks[startoff + i] = daddr + (i * blocksize) / SECTOR
    }
    const bytes = readFile(inode)
    const old = before?.files.get(name)
    // Equal bytes are kept once for all states of a tree.
    files.set(name, { blocks, bytes: old && Buffer.compare(old.bytes, bytes) === 0 ? old.bytes : bytes })
  }
  return { lines: imageManifest(root, { exact: true, contents: false }), files, blocksize }
}

/**
 * Is `found` one of the states of a command, from `oldest` on? Names and inodes must be exactly
 * those of one state. So must the bytes of files, with two exceptions, because commits are not
 * ordered with overwrites in place. A byte may be that of a later state (zero after its EOF), or
 * that of the state before if its block was the same.
 * @param states  in their order
 * @returns the fault, for a message; undefined if there is none
 */
export function whatIsTorn(found: Tree, states: readonly Tree[], oldest = 0): string | undefined {
  const text = found.lines.join('\n')
  let reason: string | undefined
  for (let i = states.length - 1; i >= oldest; i--) {
    if ((states[i] as Tree).lines.join('\n') !== text) continue
    reason = wrongContent(found, states, i)
    if (reason === undefined) return undefined
  }
  if (reason !== undefined) return reason
  const stale = states.slice(0, oldest).some(({ lines }) => lines.join('\n') === text)
  if (stale) return `the tree is as it was before a step that had been completed (${oldest})`
  const nearest = states
    .map((state) => differences(found.lines, state.lines, 6))
    .reduce((best, next) => (next.length < best.length ? next : best))
  return `the tree is none of the ${states.length} that the command went through; from the nearest it differs in:\n${nearest}`
}

function wrongContent(found: Tree, states: readonly Tree[], index: number): string | undefined {
  const state = states[index] as Tree
  for (const [path, { bytes }] of found.files) {
    const right = state.files.get(path)
    if (!right) return `${path}: not a regular file`
    if (Buffer.compare(bytes, right.bytes) === 0) continue
    const later = states.slice(index).flatMap(({ files }) => files.get(path)?.bytes ?? [])
    const old = states[index - 1]?.files.get(path)
    for (let at = 0; at < bytes.length; at++) {
      if (later.some((known) => (known[at] ?? 0) === bytes[at])) continue
      const block = Math.floor(at / state.blocksize)
      if (old && old.blocks[block] === right.blocks[block] && old.bytes[at] === bytes[at]) continue
      return `${path}: the byte at ${at} is neither of step ${index} nor of a later one`
    }
  }
  return undefined
}

/**
 * The tree without times from `since` (nanoseconds) on, which a command takes from the clock, and
 * without access times, which reading changes.
 */
export const withoutTimes = (tree: Tree, since: bigint): Tree => ({
  ...tree,
  lines: tree.lines.map((line) =>
    line.replace(/ (mtime|atime|ctime|birth) (\d+)/g, (text, kind, time) =>
      kind !== 'atime' && BigInt(time) < since ? text : ` ${kind} now`,
    ),
  ),
})
