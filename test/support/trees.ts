import { readFile } from '../../src/data/data.ts'
import type { Device } from '../../src/device/device.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { mappedRuns } from '../../src/reflink/sharing.ts'
import { Volume } from '../../src/volume.ts'
import { differences, imageManifest } from './manifest.ts'

/** All that a filesystem holds: names and inodes as lines, and the bytes of every file. */
export interface Tree {
  readonly lines: readonly string[]
  readonly files: ReadonlyMap<string, Content>
  readonly blocksize: number
}

interface Content {
  readonly bytes: Uint8Array
  /** The place of each block of the file on the device, −1 where there is none. */
  readonly blocks: Float64Array
}

const SECTOR = 512

/**
 * Through a volume of its own: what stands on the device. @throws XfsError where it is not sound
 */
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
    // The same bytes are kept once, however many states of a tree are.
    files.set(name, { blocks, bytes: old && Buffer.compare(old.bytes, bytes) === 0 ? old.bytes : bytes })
  }
  return { lines: imageManifest(root, { exact: true, contents: false }), files, blocksize }
}

/**
 * Is `found` one of the states that a command went through, from `oldest` on? Names and inodes have
 * to be those of one state, to the letter. So have the bytes of files, with two exceptions, as no
 * commit is ordered with what is overwritten in place: a byte may be that of a later state (zero
 * after its end), or that of the state before where its block was the same.
 * @param states in their order
 * @returns what is wrong, for a message; undefined where nothing is
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
 * The tree without the times that are not before `since` (nanoseconds), which a command takes from
 * the clock, and without those of access, which reading sets where files are copied from.
 */
export const withoutTimes = (tree: Tree, since: bigint): Tree => ({
  ...tree,
  lines: tree.lines.map((line) =>
    line.replace(/ (mtime|atime|ctime|birth) (\d+)/g, (text, kind, time) =>
      kind !== 'atime' && BigInt(time) < since ? text : ` ${kind} now`,
    ),
  ),
})
