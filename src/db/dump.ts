import type { Btree } from '../btree/ops.ts'
import { openTree } from '../btree/roots.ts'
import { walkTree } from '../btree/walk.ts'
import { XfsError } from '../errors.ts'
import { BmbtRec, InobtRec, InobtRecFull, OWNERS, RefcountRec, RmapRec } from '../format/btrecs.ts'
import { FORK_FORMATS, INODES_PER_CHUNK } from '../format/dinode.ts'
import type { Geometry } from '../format/geometry.ts'
import type { Field, Mask64, Struct } from '../format/struct.ts'
import {
  type AgTreeName,
  btrees,
  type ForkTreeName,
  isAgTree,
  type TreeName,
  treeRow,
  treesOf,
} from '../format/trees.ts'
import { bitSet } from '../inode/chunks.ts'
import { extentCount, type ForkName, forkFormat, forkStart, type Inode, inodeAt } from '../inode/inode.ts'
import { openForkTree } from '../mapping/fork.ts'
import type { Volume } from '../volume.ts'
import { type RowColumn, type RowForm, RowWriter } from './rows.ts'

export interface DumpOptions {
  /** One AG; undefined for all. */
  readonly agno?: number
  /** One file, for bmbt; undefined for all files. */
  readonly ino?: number
  readonly fork?: ForkName
  readonly form: RowForm
  /** The first line of JSON. */
  readonly head?: string
  /** Writes lines, many at once; the bytes are valid during the call. */
  readonly emit: (bytes: Uint8Array) => void
  readonly fault: (message: string) => void
  /** The reader closed the output. */
  readonly stop?: () => boolean
}

/**
 * Dump the records of a tree, of one AG or all, or of a file. All readable records of a damaged
 * tree are dumped, and its faults are reported.
 * @throws XfsError INVAL for an AG, a tree or an inode that does not exist
 */
export function dump(volume: Volume, tree: TreeName, options: DumpOptions): void {
  const { agcount } = volume.geometry
  const { agno } = options
  if (agno !== undefined && !(agno < agcount))
    throw new XfsError('INVAL', `AG ${agno} does not exist: there are ${agcount}`)
  const groups = agno === undefined ? Array.from({ length: agcount }, (_, i) => i) : [agno]
  if (isAgTree(tree)) dumpAgs(volume, tree, groups, options)
  else dumpFiles(volume, tree, groups, options)
}

function dumpAgs(volume: Volume, name: AgTreeName, groups: readonly number[], options: DumpOptions): void {
  if (!treesOf(volume).includes(name)) throw new XfsError('UNSUPPORTED', `the filesystem has no ${name}`)
  const place = { agno: 0, ino: 0 }
  const rows = new RowWriter(options.form, columnsOf(name, volume.geometry, place), options.emit, options.head)
  for (const agno of groups) {
    if (options.stop?.()) return
    place.agno = agno
    guarded(options.fault, () => dumpLeaves(volume, openTree(volume, name, agno), rows, options))
  }
  rows.flush()
}

/** Dump every leaf that can be reached, and report every fault found on the way. */
function dumpLeaves<Rec, Key>(
  volume: Volume,
  tree: Btree<Rec, Key>,
  rows: RowWriter,
  { fault, stop }: DumpOptions,
): void {
  const { recSize } = tree.ops
  const visitor = {
    leaf: (view: DataView, at: number, count: number) => {
      for (let i = 0; i < count; i++) rows.row(view, at + i * recSize)
    },
    fault: (message: string) => {
      rows.flush()
      fault(message)
    },
  }
  walkTree(volume.device, tree, visitor, stop ? { stop } : {})
}

function guarded(fault: (message: string) => void, work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    fault(error.message)
  }
}

// ---------------------------------------------------------------------------------- files' extents

function dumpFiles(volume: Volume, name: ForkTreeName, groups: readonly number[], options: DumpOptions): void {
  const place = { agno: 0, ino: 0 }
  const rows = new RowWriter(options.form, columnsOf(name, volume.geometry, place), options.emit, options.head)
  const fork = options.fork ?? 'data'
  if (options.ino !== undefined) {
    place.ino = options.ino
    const inode = inodeAt(volume, options.ino)
    if (inode.mode === 0) throw new XfsError('NOENT', `inode ${options.ino} is free`)
    dumpFork(name, inode, fork, rows, options)
  } else {
    for (const ino of inodesOf(volume, groups, options.fault)) {
      if (options.stop?.()) return
      guarded(options.fault, () => {
        place.ino = ino
        dumpFork(name, inodeAt(volume, ino), fork, rows, options)
      })
    }
  }
  rows.flush()
}

function dumpFork(name: ForkTreeName, inode: Inode, fork: ForkName, rows: RowWriter, options: DumpOptions): void {
  if (inode.mode === 0 || (fork === 'attr' && inode.forkoff === 0)) return
  const { rec, root } = btrees[name]
  const format = forkFormat(inode, fork)
  if (format === root.format) dumpLeaves(inode.volume, openForkTree(name, inode, fork), rows, options)
  else if (format === FORK_FORMATS.extents) {
    const start = forkStart(inode, fork)
    const count = extentCount(inode, fork)
    for (let i = 0; i < count; i++) rows.row(inode.view, start + i * rec.size)
  }
}

/** The inodes in use according to inobt. */
export const usedInodes = (volume: Volume, fault: (message: string) => void): Generator<number> =>
  inodesOf(
    volume,
    Array.from({ length: volume.geometry.agcount }, (_, i) => i),
    (message) => fault(`${message}\n`),
  )

function* inodesOf(volume: Volume, groups: readonly number[], fault: (message: string) => void): Generator<number> {
  const { geometry } = volume
  for (const agno of groups) {
    const chunks: { agino: number; free: Mask64 }[] = []
    const { startino, free } = InobtRec.fields
    const leaf = (view: DataView, at: number, count: number): void => {
      for (let i = 0; i < count; i++, at += InobtRec.size)
        chunks.push({ agino: startino.get(view, at), free: free.get(view, at) })
    }
    guarded(fault, () => walkTree(volume.device, openTree(volume, 'inobt', agno), { leaf, fault }))
    for (const { agino, free } of chunks) {
      for (let i = 0; i < INODES_PER_CHUNK; i++) {
        if (!bitSet(free, i)) yield geometry.ino(agno, agino + i)
      }
    }
  }
}

// ----------------------------------------------------------------------------------------- columns

const number = (field: Field<number>, width = 10): RowColumn => ({
  name: field.name,
  width: Math.max(width, field.name.length),
  get: field.get,
  exact: field.text,
})

/** The place of a printed record: in a tree of an AG or of an inode. */
interface Place {
  readonly agno: number
  readonly ino: number
}

function inodeColumns(geometry: Geometry, place: Place): RowColumn[] {
  const sparse = geometry.features.has('sparse')
  const { startino, holemask, count, freecount, free: mask } = InobtRec.fields
  const hex = (field: { text(view: DataView, at: number): string }) => (view: DataView, at: number) => {
    const text = field.text(view, at)
    return text === '0' ? '0x0' : text
  }
  return [
    number(startino),
    { name: 'ino', width: 12, get: (view, at) => geometry.ino(place.agno, startino.get(view, at)) },
    { name: 'holemask', width: 8, word: sparse ? hex(holemask) : () => '0x0' },
    { name: 'count', width: 5, get: sparse ? count.get : () => INODES_PER_CHUNK },
    { name: 'freecount', width: 9, get: sparse ? freecount.get : InobtRecFull.fields.freecount.get },
    { name: 'free', width: 18, word: hex(mask) },
  ]
}

/** Special owners by name. */
const ownerNames: ReadonlyMap<number, string> = new Map(Object.entries(OWNERS).map(([name, owner]) => [owner, name]))

const { owner } = RmapRec.fields
const ownerName = (view: DataView, at: number): string | undefined => ownerNames.get(owner.get(view, at))
const rmapColumns: readonly RowColumn[] = [
  number(RmapRec.fields.startblock),
  number(RmapRec.fields.blockcount),
  { ...number(owner, 12), word: ownerName, only: 'text' },
  { ...number(owner), only: 'programs' },
  { name: 'ownerName', width: 0, word: ownerName, only: 'programs' },
  number(RmapRec.fields.offset),
  number(RmapRec.fields.extentflag),
  number(RmapRec.fields.attrfork, 8),
  number(RmapRec.fields.bmbtblock, 9),
]
const refcountColumns: readonly RowColumn[] = [
  number(RefcountRec.fields.startblock),
  number(RefcountRec.fields.blockcount),
  number(RefcountRec.fields.refcount),
  number(RefcountRec.fields.cowflag, 7),
]

function extentColumns(geometry: Geometry): RowColumn[] {
  const { startoff, startblock, blockcount, extentflag } = BmbtRec.fields
  return [
    number(startoff),
    number(startblock),
    { name: 'agno', width: 4, get: (view, at) => geometry.agnoOf(startblock.get(view, at)) },
    { name: 'agbno', width: 10, get: (view, at) => geometry.agbnoOf(startblock.get(view, at)) },
    number(blockcount),
    number(extentflag),
  ]
}

/** Columns that differ from the fields of the record. */
const columns: ReadonlyMap<Struct, (geometry: Geometry, place: Place) => readonly RowColumn[]> = new Map<
  Struct,
  (geometry: Geometry, place: Place) => readonly RowColumn[]
>([
  [InobtRec, inodeColumns],
  [RmapRec, () => rmapColumns],
  [RefcountRec, () => refcountColumns],
  [BmbtRec, extentColumns],
])

function columnsOf(name: TreeName, geometry: Geometry, place: Place): readonly RowColumn[] {
  const { rec } = treeRow(name)
  const where: RowColumn = isAgTree(name)
    ? { name: 'agno', width: 4, get: () => place.agno }
    : { name: 'ino', width: 10, get: () => place.ino }
  return [where, ...(columns.get(rec)?.(geometry, place) ?? rec.list.map((field) => number(field as Field<number>)))]
}
