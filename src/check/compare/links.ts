import { fileTypeOfMode } from '../../format/dir.ts'
import type { Geometry } from '../../format/geometry.ts'
import type { Findings } from '../findings.ts'
import { mix } from '../mix.ts'
import { InodeFlag, InodeState, type Inodes, S_IFDIR, S_IFMT, S_IFREG } from '../observe/inodetable.ts'
import type { NameScan } from '../observe/names.ts'
import type { ParentPointers } from '../observe/parents.ts'

/**
 * Compare directory entries with inodes: every entry points to an inode in use of its file type.
 * Every inode has as many links as its nlink. Every directory has one entry, its ".." points to the
 * directory of that entry, and it can be reached from the root. With parent pointers every link has
 * one.
 */
export function compareLinks(geometry: Geometry, inodes: Inodes, names: NameScan, findings: Findings): void {
  const links = new Uint32Array(inodes.slots)
  const subdirs = new Uint32Array(inodes.slots)
  const parents = new Int32Array(inodes.slots).fill(-1)
  const inUse = (slot: number): boolean =>
    slot >= 0 && inodes.mode.data[slot] !== 0 && inodes.state.data[slot] === InodeState.sound
  const isDir = (slot: number): boolean => ((inodes.mode.data[slot] as number) & S_IFMT) === S_IFDIR
  const sums = geometry.features.has('parent') ? new PointerSums(inodes.slots) : undefined
  checkPointed(geometry, inodes, findings)
  const special = specialInodes(geometry, inodes)
  for (const root of special.roots) if (root >= 0) parents[root] = root // no entry may point to it
  const ftype = geometry.features.has('ftype')
  const { directories } = names
  for (let i = 0; i < directories.entryDir.length; i++) {
    const dir = directories.entryDir.data[i] as number
    const target = directories.entryIno.data[i] as number
    const slot = inodes.slot(target)
    if (!inUse(slot)) {
      findings.add('dir.entry', { ino: inodes.ino(dir), target })
      continue
    }
    links[slot] = (links[slot] as number) + 1
    const type = fileTypeOfMode(inodes.mode.data[slot] as number)
    if (ftype && directories.entryType.data[i] !== type) {
      findings.add('dir.ftype', { ino: inodes.ino(dir), target, found: directories.entryType.get(i), expected: type })
    }
    sums?.add(slot, inodes.ino(dir), inodes.gen.data[dir] as number, directories.entryHash.data[i] as number, 1)
    if (!isDir(slot)) continue
    if (parents[slot] !== -1)
      findings.add('dir.twice', { ino: target, first: inodes.ino(parents[slot] as number), second: inodes.ino(dir) })
    else parents[slot] = dir
    subdirs[dir] = (subdirs[dir] as number) + 1
  }
  checkParents(inodes, names, parents, special.roots, findings)
  if (names.blind) return
  const reached = reachable(inodes, parents, special.roots)
  for (let slot = 0; slot < inodes.slots; slot++) {
    if (!inUse(slot) || special.hidden.has(slot) || ((inodes.flags.data[slot] as number) & InodeFlag.metadata) !== 0)
      continue
    const root = special.roots.has(slot)
    const expected = isDir(slot) ? 2 + (subdirs[slot] as number) : (links[slot] as number)
    const lost = isDir(slot) ? reached[slot] === 0 : links[slot] === 0
    if (lost && !root) findings.add('inode.unreachable', { ino: inodes.ino(slot) })
    else if (inodes.nlink.data[slot] !== expected) {
      findings.add('inode.nlink', { ino: inodes.ino(slot), found: inodes.nlink.get(slot), expected })
    }
  }
  if (sums) comparePointers(inodes, names.attributes.parents, sums, inUse, findings)
}

/**
 * Check the inodes that the superblock needs: in use and of the right type. Those of the realtime
 * section must have the right size, too.
 */
function checkPointed({ sb, features, blocksize }: Geometry, inodes: Inodes, findings: Findings): void {
  const files = features.has('metadir') ? [] : (['rbmino', 'rsumino'] as const)
  for (const field of ['rootino', ...files] as const) {
    const slot = inodes.slot(sb[field])
    const mode = slot < 0 ? 0 : inodes.mode.get(slot)
    const kind = field === 'rootino' ? S_IFDIR : S_IFREG
    const size = field === 'rbmino' ? sb.rbmblocks * blocksize : sb.rblocks === 0 && field === 'rsumino' ? 0 : undefined
    const reason =
      slot < 0 || inodes.state.get(slot) === InodeState.none
        ? 'it does not exist'
        : inodes.state.get(slot) === InodeState.bad
          ? undefined // already reported
          : mode === 0
            ? 'it is free'
            : (mode & S_IFMT) !== kind
              ? `its type is 0${(mode & S_IFMT).toString(8)}, expected 0${kind.toString(8)}`
              : field !== 'rootino' && inodes.nlink.get(slot) !== 1
                ? `nlink is ${inodes.nlink.get(slot)}, expected 1`
                : size !== undefined && inodes.size.get(slot) !== size
                  ? `size is ${inodes.size.get(slot)}, expected ${size}`
                  : undefined
    if (reason) findings.add('sb.inode', { field, found: sb[field], reason })
  }
}

/** Inodes without a directory entry: roots, and others that the superblock points to. */
function specialInodes({ sb, features }: Geometry, inodes: Inodes): { roots: Set<number>; hidden: Set<number> } {
  const slots = (inos: readonly number[]): Set<number> =>
    new Set(inos.filter((ino) => ino > 0).map((ino) => inodes.slot(ino)))
  const metadir = features.has('metadir')
  return {
    roots: slots(metadir ? [sb.rootino, sb.metadirino] : [sb.rootino]),
    hidden: slots(metadir ? [] : [sb.rbmino, sb.rsumino, sb.uquotino, sb.gquotino, sb.pquotino]),
  }
}

/** The inodes that the superblock points to, beginning with the root directory. */
export function superblockInodes({ sb, features }: Geometry): number[] {
  const others = features.has('metadir')
    ? [sb.metadirino]
    : [sb.rbmino, sb.rsumino, sb.uquotino, sb.gquotino, sb.pquotino]
  return [sb.rootino, ...others.filter((ino) => ino > 0)]
}

/** Compare ".." with the directory that has the entry. */
function checkParents(
  inodes: Inodes,
  names: NameScan,
  parents: Int32Array,
  roots: ReadonlySet<number>,
  findings: Findings,
): void {
  const { directories } = names
  const seen = new Uint8Array(inodes.slots)
  for (let i = 0; i < directories.dotdotDir.length; i++) {
    const slot = directories.dotdotDir.get(i)
    seen[slot] = 1
    const parent = parents[slot] as number
    const expected = roots.has(slot) ? inodes.ino(slot) : parent < 0 ? undefined : inodes.ino(parent)
    const found = directories.dotdotIno.get(i)
    if (expected !== undefined && found !== expected)
      findings.add('dir.parent', { ino: inodes.ino(slot), found, expected })
  }
  if (names.blind) return
  for (let slot = 0; slot < inodes.slots; slot++) {
    if (seen[slot] === 1 || inodes.state.data[slot] !== InodeState.sound) continue
    if (((inodes.mode.data[slot] as number) & S_IFMT) === S_IFDIR)
      findings.add('dir.parent', { ino: inodes.ino(slot), found: 'nothing', expected: 'an entry ".."' })
  }
}

/** 1 for directories with a path to a root. */
function reachable(inodes: Inodes, parents: Int32Array, roots: ReadonlySet<number>): Uint8Array {
  const UNKNOWN = 0
  const REACHED = 1
  const LOST = 2
  const state = new Uint8Array(inodes.slots)
  for (const root of roots) if (root >= 0) state[root] = REACHED
  const path: number[] = []
  for (let slot = 0; slot < inodes.slots; slot++) {
    if (((inodes.mode.data[slot] as number) & S_IFMT) !== S_IFDIR || state[slot] !== UNKNOWN) continue
    path.length = 0
    let at = slot
    // A directory on the path is marked lost until the end of the path is known, so a cycle ends
    // there.
    while (at >= 0 && state[at] === UNKNOWN) {
      state[at] = LOST
      path.push(at)
      at = parents[at] as number
    }
    if (at >= 0 && state[at] === REACHED) for (const on of path) state[on] = REACHED
  }
  return state.map((value) => (value === REACHED ? 1 : 0))
}

/**
 * Links are added, parent pointers subtracted: if both sums of a child are zero, it has the same of
 * both.
 */
class PointerSums {
  readonly count: Int32Array
  readonly first: Int32Array
  readonly second: Int32Array

  constructor(slots: number) {
    this.count = new Int32Array(slots)
    this.first = new Int32Array(slots)
    this.second = new Int32Array(slots)
  }

  add(slot: number, parent: number, gen: number, hash: number, sign: 1 | -1): void {
    const low = parent | 0
    const high = Math.floor(parent / 2 ** 32) | 0
    this.count[slot] = (this.count[slot] as number) + sign
    this.first[slot] = (this.first[slot] as number) + sign * mix(mix(hash, low, 1), mix(gen, high, 2), 3)
    this.second[slot] = (this.second[slot] as number) + sign * mix(mix(gen, hash, 4), mix(low, high, 5), 6)
  }

  balanced(slot: number): boolean {
    return this.count[slot] === 0 && this.first[slot] === 0 && this.second[slot] === 0
  }
}

function comparePointers(
  inodes: Inodes,
  parents: ParentPointers,
  sums: PointerSums,
  inUse: (slot: number) => boolean,
  findings: Findings,
): void {
  const found = new Uint32Array(inodes.slots)
  for (let i = 0; i < parents.child.length; i++) {
    const slot = parents.child.data[i] as number
    found[slot] = (found[slot] as number) + 1
    sums.add(slot, parents.ino.data[i] as number, parents.gen.data[i] as number, parents.hash.data[i] as number, -1)
  }
  for (let slot = 0; slot < inodes.slots; slot++) {
    if (!inUse(slot) || sums.balanced(slot)) continue
    const expected = (found[slot] as number) + (sums.count[slot] as number)
    findings.add('parent.pointers', { ino: inodes.ino(slot), found: found[slot] as number, expected })
  }
}
