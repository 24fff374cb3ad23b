import type { BtreeOps } from '../../btree/ops.ts'
import { treeOps } from '../../btree/treeops.ts'
import { type TreeVisitor, TreeWalk } from '../../btree/walk.ts'
import { AllocRec, InobtRec, InobtRecFull, RefcountRec, RmapRec } from '../../format/btrecs.ts'
import { INODES_PER_CHUNK } from '../../format/dinode.ts'
import { type AgTreeName, headerRoot } from '../../format/trees.ts'
import { u32Column } from '../../util/columns.ts'
import { ATTR_FORK, BMBT_BLOCK, Extents, UNWRITTEN } from '../extents.ts'
import type { Headers } from './headers.ts'
import type { Scene } from './scene.ts'

/**
 * Read the btrees of an AG completely into columns. Tests: identity and checksum of every block,
 * siblings, keys, order of records. Collects: the records, and the blocks of each tree.
 */

/** Records with a start and a length, and for refcountbt a third number. */
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
  /** Blocks of the tree, in the order in which they were read. */
  readonly blocks: number[]
  levels: number
  /** Every block was read, and every record was kept. */
  complete: boolean
  /** The structure is wrong: the tree has to be rebuilt, even if its records are right. */
  damaged: boolean
}

export interface ObservedTrees {
  readonly bnobt: ObservedTree & { readonly records: SpaceRecords }
  readonly cntbt: ObservedTree & { readonly records: SpaceRecords }
  readonly inobt: ObservedTree & { readonly records: InodeRecords }
  readonly finobt?: ObservedTree & { readonly records: InodeRecords }
  readonly rmapbt?: ObservedTree & { readonly records: Extents }
  readonly refcountbt?: ObservedTree & { readonly records: SpaceRecords }
}

const newTree = <R>(name: AgTreeName, records: R): ObservedTree & { readonly records: R } => ({
  name,
  records,
  blocks: [],
  levels: 1,
  complete: true,
  damaged: false,
})

/** Puts the records of a leaf into columns; returns what is wrong with them except their order. */
type TakeLeaf = (view: DataView, at: number, count: number) => string | undefined

function spaceLeaf(records: SpaceRecords): TakeLeaf {
  const { startblock, blockcount } = AllocRec.fields
  return (view, at, count) => {
    for (let i = 0; i < count; i++, at += AllocRec.size) {
      records.start.push(startblock.get(view, at))
      records.count.push(blockcount.get(view, at))
    }
    return undefined
  }
}

/** `start` includes the CoW bit: records sort by both. */
function refcountLeaf(records: SpaceRecords): TakeLeaf {
  const { startblock, blockcount, refcount } = RefcountRec.fields
  return (view, at, count) => {
    for (let i = 0; i < count; i++, at += RefcountRec.size) {
      records.start.push(view.getUint32(at + startblock.offset))
      records.count.push(blockcount.get(view, at))
      records.refcount.push(refcount.get(view, at))
    }
    return undefined
  }
}

function inodeLeaf(records: InodeRecords, sparse: boolean): TakeLeaf {
  const { startino, holemask, count: present, freecount, free } = InobtRec.fields
  const allFree = InobtRecFull.fields.freecount
  return (view, at, count) => {
    let wrong: string | undefined
    let previous = -INODES_PER_CHUNK
    for (let i = 0; i < count; i++, at += InobtRec.size) {
      const start = startino.get(view, at)
      records.startino.push(start)
      records.holemask.push(sparse ? holemask.get(view, at) : 0)
      records.count.push(sparse ? present.get(view, at) : INODES_PER_CHUNK)
      records.freecount.push(sparse ? freecount.get(view, at) : allFree.get(view, at))
      const { hi, lo } = free.get(view, at)
      records.freeHi.push(hi)
      records.freeLo.push(lo)
      if (start < previous + INODES_PER_CHUNK) wrong ??= `record ${i} overlaps the previous one`
      previous = start
    }
    return wrong
  }
}

/**
 * The first half of the word with flags and offset. It is read once, because this is done for every
 * block of an image.
 */
const RMAP_WORD = RmapRec.fields.offset.offset

function rmapLeaf(records: Extents): TakeLeaf {
  const { startblock, blockcount, owner, offset } = RmapRec.fields
  return (view, at, count) => {
    let wrong: string | undefined
    for (let i = 0; i < count; i++, at += RmapRec.size) {
      const word = view.getUint32(at + RMAP_WORD)
      const flags =
        (word & 0x80000000 ? ATTR_FORK : 0) | (word & 0x40000000 ? BMBT_BLOCK : 0) | (word & 0x20000000 ? UNWRITTEN : 0)
      records.push(startblock.get(view, at), blockcount.get(view, at), owner.get(view, at), offset.get(view, at), flags)
      if (RmapRec.nonzero(view, at)) wrong ??= `record ${i} has reserved bits set`
    }
    return wrong
  }
}

/** Read the trees of AG `agno` from the roots in its headers. */
export function observeAgTrees(scene: Scene, agno: number, headers: Headers): ObservedTrees {
  const { features } = scene.geometry
  const sparse = features.has('sparse')
  const read = <R>(name: AgTreeName, records: R, take: (records: R) => TakeLeaf) => {
    const tree = newTree(name, records)
    readTree(scene, agno, headers, tree, take(records))
    return tree
  }
  const space = (name: AgTreeName) => read(name, new SpaceRecords(), spaceLeaf)
  const inodes = (name: AgTreeName) => read(name, new InodeRecords(), (records) => inodeLeaf(records, sparse))
  return {
    bnobt: space('bnobt'),
    cntbt: space('cntbt'),
    inobt: inodes('inobt'),
    ...(features.has('finobt') ? { finobt: inodes('finobt') } : {}),
    ...(features.has('rmapbt') ? { rmapbt: read('rmapbt', new Extents(), rmapLeaf) } : {}),
    ...(features.has('reflink') ? { refcountbt: read('refcountbt', new SpaceRecords(), refcountLeaf) } : {}),
  }
}

function readTree(scene: Scene, agno: number, headers: Headers, tree: ObservedTree, take: TakeLeaf): void {
  const { device, geometry, head, findings } = scene
  const { name } = tree
  const { in: header, block, level } = headerRoot(name)
  const fields = headers[header] as unknown as Readonly<Record<string, number>>
  const levels = fields[level.name] as number
  tree.levels = levels
  const visitor: TreeVisitor = {
    owner: () => agno,
    block: (_, ptr) => void tree.blocks.push(ptr),
    records: (_, view, at, count) => take(view, at, count),
    fault: (_, kind, ptr, level, reason) => {
      tree.damaged = true
      const id = kind === 'sibling' && level === levels - 1 ? 'btree.rootsibling' : (`btree.${kind}` as const)
      findings.add(id, { tree: name, agno, agbno: ptr, level, reason })
    },
    incomplete: () => {
      tree.complete = false
    },
  }
  if (!(header === 'agf' ? headers.agfUsable : headers.agiUsable)) {
    tree.damaged = true
    tree.complete = false
    return
  }
  const walk = new TreeWalk(device, geometry, treeOps[name] as BtreeOps<unknown, unknown>, visitor, {
    head,
    fill: true,
  })
  walk.addRoot(fields[block.name] as number, levels)
  walk.run()
}
