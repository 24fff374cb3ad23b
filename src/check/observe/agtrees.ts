import { BTREE_MAGICS, OWNERS } from '../../format/btrecs.ts'
import { BASIC_BLOCK } from '../../format/geometry.ts'
import { maxLevels } from '../../format/verify.ts'
import { ATTR_FORK, BMBT_BLOCK, Extents, UNWRITTEN, u32Column } from '../columns.ts'
import { type Forest, KEY_NUMBERS, Level, walkForest } from './forest.ts'
import type { Headers } from './headers.ts'
import type { Scene } from './scene.ts'

/**
 * The btrees of a group, read whole into columns. Tests: every block's identity and checksum, siblings, keys, order of records.
 * Collects: the records, and the blocks of each tree.
 */

export type AgTreeName = 'bnobt' | 'cntbt' | 'inobt' | 'finobt' | 'rmapbt' | 'refcountbt'
export const AG_TREES: readonly AgTreeName[] = ['bnobt', 'cntbt', 'inobt', 'finobt', 'rmapbt', 'refcountbt']

/** Who owns the blocks of a tree. */
export const TREE_OWNERS: Readonly<Record<AgTreeName, number>> = {
  bnobt: OWNERS.ag, cntbt: OWNERS.ag, rmapbt: OWNERS.ag, inobt: OWNERS.inobt, finobt: OWNERS.inobt, refcountbt: OWNERS.refc,
} // biome-ignore format: a table

/** Records of a tree of start and length, with a third number for refcountbt. */
export class SpaceRecords {
  readonly start = u32Column()
  readonly count = u32Column()
  readonly refcount = u32Column()
  get length(): number {
    return this.start.length
  }
}

export class InodeRecords {
  readonly startino = u32Column()
  readonly holemask = u32Column()
  readonly count = u32Column()
  readonly freecount = u32Column()
  readonly freeHi = u32Column()
  readonly freeLo = u32Column()
  get length(): number {
    return this.startino.length
  }
}

export interface ObservedTree {
  readonly name: AgTreeName
  /** Blocks of the tree, in the order in which they were seen. */
  readonly blocks: number[]
  levels: number
  /** Every block was seen and every record taken in. */
  complete: boolean
  /** Something is wrong with its structure: it has to be rebuilt, whatever its records say. */
  damaged: boolean
}

export interface AgTrees {
  readonly bnobt: ObservedTree & { readonly records: SpaceRecords }
  readonly cntbt: ObservedTree & { readonly records: SpaceRecords }
  readonly inobt: ObservedTree & { readonly records: InodeRecords }
  readonly finobt?: ObservedTree & { readonly records: InodeRecords }
  readonly rmapbt?: ObservedTree & { readonly records: Extents }
  readonly refcountbt?: ObservedTree & { readonly records: SpaceRecords }
}

const newTree = <R>(name: AgTreeName, records: R): ObservedTree & { readonly records: R } => ({
  name, records, blocks: [], levels: 1, complete: true, damaged: false,
}) // biome-ignore format: short

type KeyReader = Forest['readKey']
type LeafReader = Forest['leaf']

const put = (out: Float64Array, row: number, a: number, b = 0, c = 0, d = 0): void => {
  const at = row * KEY_NUMBERS
  out[at] = a
  out[at + 1] = b
  out[at + 2] = c
  out[at + 3] = d
}
const oneNumber: KeyReader = (view, at, out, row) => put(out, row, view.getUint32(at))
/** cntbt: by length, then by start. */
const lengthFirst: KeyReader = (view, at, out, row) => put(out, row, view.getUint32(at + 4), view.getUint32(at))

/** Special owners are unsigned on disk and sort above all inodes. */
const rank = (owner: number): number => (owner < 0 ? Number.MAX_SAFE_INTEGER + 1 + owner : owner)
const get64 = (view: DataView, at: number): number => view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4)
/** The bits for attribute fork and bmbt block, and the 54 bits below; the unwritten bit between them is no part of a key. */
const kindAt = (view: DataView, at: number): number => view.getUint32(at) >>> 30
const offsetAt = (view: DataView, at: number): number =>
  (view.getUint32(at) & 0x3fffff) * 2 ** 32 + view.getUint32(at + 4)
const rmapKey =
  (ownerAt: number): KeyReader =>
  (view, at, out, row) =>
    put(
      out,
      row,
      view.getUint32(at),
      rank(get64(view, at + ownerAt)),
      kindAt(view, at + ownerAt + 8),
      offsetAt(view, at + ownerAt + 8),
    )

/** The greatest [last block, owner, kind, last offset] of the records of a leaf. */
function rmapHighKey(view: DataView, at: number, count: number, out: Float64Array, row: number): void {
  put(out, row, -1)
  const most = row * KEY_NUMBERS
  for (let i = 0; i < count; i++, at += 24) {
    const length = view.getUint32(at + 4)
    const last = view.getUint32(at) + length - 1
    if (last < (out[most] as number)) continue
    const owner = get64(view, at + 8)
    const kind = kindAt(view, at + 16)
    const offset = offsetAt(view, at + 16) + (owner >= 0 && (kind & 1) === 0 ? length - 1 : 0)
    if (beyond(out, row, last, rank(owner), kind, offset)) put(out, row, last, rank(owner), kind, offset)
  }
}

/** Is the key [a, b, c, d] greater than the one in `limit`? */
const beyond = (limit: Float64Array, row: number, a: number, b = 0, c = 0, d = 0): boolean => {
  const at = row * KEY_NUMBERS
  const [first, second, third] = [limit[at] as number, limit[at + 1] as number, limit[at + 2] as number]
  if (a !== first) return a > first
  if (b !== second) return b > second
  return c !== third ? c > third : d > (limit[at + 3] as number)
}

function spaceLeaf(records: SpaceRecords, byLength: boolean): LeafReader {
  let previous = -1
  let previousStart = -1
  return (_, view, at, count, limit, row, last) => {
    let wrong: string | undefined
    for (let i = 0; i < count; i++, at += 8) {
      const start = view.getUint32(at)
      const length = view.getUint32(at + 4)
      records.start.push(start)
      records.count.push(length)
      const key = byLength ? length : start
      if (i > 0 && (key < previous || (key === previous && (!byLength || start <= previousStart))))
        wrong ??= `record ${i} is out of order`
      previous = key
      previousStart = start
    }
    if (!last && beyond(limit, row, previous, byLength ? previousStart : 0)) wrong ??= 'the last record is out of order'
    return wrong
  }
}

function refcountLeaf(records: SpaceRecords): LeafReader {
  return (_, view, at, count, limit, row, last) => {
    let wrong: string | undefined
    let previous = -1
    for (let i = 0; i < count; i++, at += 12) {
      const start = view.getUint32(at)
      records.start.push(start)
      records.count.push(view.getUint32(at + 4))
      records.refcount.push(view.getUint32(at + 8))
      if (start <= previous) wrong ??= `record ${i} is out of order`
      previous = start
    }
    if (!last && beyond(limit, row, previous)) wrong ??= 'the last record is out of order'
    return wrong
  }
}

function inodeLeaf(records: InodeRecords, sparse: boolean): LeafReader {
  return (_, view, at, count, limit, row, last) => {
    let wrong: string | undefined
    let previous = -1
    for (let i = 0; i < count; i++, at += 16) {
      const startino = view.getUint32(at)
      records.startino.push(startino)
      records.holemask.push(sparse ? view.getUint16(at + 4) : 0)
      records.count.push(sparse ? view.getUint8(at + 6) : 64)
      records.freecount.push(sparse ? view.getUint8(at + 7) : view.getUint32(at + 4))
      records.freeHi.push(view.getUint32(at + 8))
      records.freeLo.push(view.getUint32(at + 12))
      if (startino < previous + 64 && previous >= 0) wrong ??= `record ${i} is out of order`
      previous = startino
    }
    if (!last && beyond(limit, row, previous)) wrong ??= 'the last record is out of order'
    return wrong
  }
}

function rmapLeaf(records: Extents): LeafReader {
  return (_, view, at, count, limit, row, last) => {
    let wrong: string | undefined
    const previous = new Float64Array(KEY_NUMBERS)
    for (let i = 0; i < count; i++, at += 24) {
      const start = view.getUint32(at)
      const owner = get64(view, at + 8)
      const high = view.getUint32(at + 16)
      const kind = high >>> 30
      const offset = offsetAt(view, at + 16)
      const flags = (kind & 2 ? ATTR_FORK : 0) | (kind & 1 ? BMBT_BLOCK : 0) | (high & 0x20000000 ? UNWRITTEN : 0)
      records.push(start, view.getUint32(at + 4), owner, offset, flags)
      if ((high & 0x1fc00000) !== 0) wrong ??= `record ${i} has bits set that mean nothing`
      if (i > 0 && !beyond(previous, 0, start, rank(owner), kind, offset)) {
        if (start !== previous[0] || rank(owner) !== previous[1] || kind !== previous[2] || offset !== previous[3])
          wrong ??= `record ${i} is out of order`
      }
      put(previous, 0, start, rank(owner), kind, offset)
    }
    if (!last && count > 0) {
      const [a, b, c, d] = previous as unknown as [number, number, number, number]
      if (beyond(limit, row, a, b, c, d)) wrong ??= 'the last record is out of order'
    }
    return wrong
  }
}

/** Read the trees of group `agno` from the roots that its headers state. */
export function observeAgTrees({ device, geometry, head, findings }: Scene, agno: number, headers: Headers): AgTrees {
  const { features } = geometry
  const { agf, agi } = headers

  const read = (
    tree: ObservedTree,
    usable: boolean,
    root: number,
    levels: number,
    keySize: number,
    recSize: number,
    readKey: KeyReader,
    readRecKey: KeyReader,
    leaf: LeafReader,
    overlap?: Pick<Forest, 'highKeyAt' | 'readHighKey'>,
  ): void => {
    // biome-ignore format: short
    const { name } = tree
    tree.levels = levels
    if (!usable) {
      tree.complete = false
      tree.damaged = true
      return
    }
    const most = maxLevels(geometry, name)
    if (!(levels >= 1 && levels <= most)) {
      findings.add('btree.header', {
        tree: name,
        agno,
        agbno: root,
        level: levels,
        reason: `the height is ${levels}, at most ${most} is possible`,
      })
      tree.complete = false
      tree.damaged = true
      return
    }
    const forest: Forest = {
      tree: name, magic: BTREE_MAGICS[name], keySize, ptrSize: 4, recSize, head, readKey, readRecKey, leaf, ...overlap,
      owner: () => agno,
      position: (_, ptr) => (geometry.validAgbno(agno, ptr) ? geometry.daddr(agno, ptr) * BASIC_BLOCK : -1),
      block: (_, ptr) => void tree.blocks.push(ptr),
      fault: (_, kind, ptr, level, reason) => {
        tree.damaged = true
        findings.add(kind === 'sibling' && level === levels - 1 ? 'btree.rootsibling' : `btree.${kind}`, { tree: name, agno, agbno: ptr, level, reason })
      },
    } // biome-ignore format: short
    const roots = new Level()
    roots.push(0, root)
    walkForest(
      device,
      geometry,
      forest,
      levels - 1,
      (height) => (height === levels - 1 ? roots : undefined),
      () => {
        tree.complete = false
        tree.damaged = true
      },
    )
  }

  const trees = {
    bnobt: newTree('bnobt', new SpaceRecords()),
    cntbt: newTree('cntbt', new SpaceRecords()),
    inobt: newTree('inobt', new InodeRecords()),
    ...(features.has('finobt') ? { finobt: newTree('finobt', new InodeRecords()) } : {}),
    ...(features.has('rmapbt') ? { rmapbt: newTree('rmapbt', new Extents()) } : {}),
    ...(features.has('reflink') ? { refcountbt: newTree('refcountbt', new SpaceRecords()) } : {}),
  }
  const { bnobt, cntbt, inobt, finobt, rmapbt, refcountbt } = trees
  const { agfUsable, agiUsable } = headers
  const sparse = features.has('sparse')
  read(bnobt, agfUsable, agf.bnoroot, agf.bnolevel, 8, 8, oneNumber, oneNumber, spaceLeaf(bnobt.records, false))
  read(cntbt, agfUsable, agf.cntroot, agf.cntlevel, 8, 8, lengthFirst, lengthFirst, spaceLeaf(cntbt.records, true))
  read(inobt, agiUsable, agi.root, agi.level, 4, 16, oneNumber, oneNumber, inodeLeaf(inobt.records, sparse))
  if (finobt)
    read(
      finobt,
      agiUsable,
      agi.free_root,
      agi.free_level,
      4,
      16,
      oneNumber,
      oneNumber,
      inodeLeaf(finobt.records, sparse),
    )
  if (rmapbt) {
    const overlap = { highKeyAt: 20, readHighKey: rmapHighKey }
    read(
      rmapbt,
      agfUsable,
      agf.rmaproot,
      agf.rmaplevel,
      40,
      24,
      rmapKey(4),
      rmapKey(8),
      rmapLeaf(rmapbt.records),
      overlap,
    )
  }
  if (refcountbt) {
    read(
      refcountbt,
      agfUsable,
      agf.refcntroot,
      agf.refcntlevel,
      4,
      12,
      oneNumber,
      oneNumber,
      refcountLeaf(refcountbt.records),
    )
  }
  return trees
}
