import { assert } from '../errors.ts'
import { Agf, Agi } from '../format/ag.ts'
import type { AllocRec, InobtRec, RefcountRec, RmapRec } from '../format/btrecs.ts'
import type { Field } from '../format/struct.ts'
import type { BlockReader, Volume } from '../volume.ts'
import type { BlockRoot, Btree, BtreeOps, InlineRoot, Space } from './ops.ts'
import { bnobt } from './trees/bnobt.ts'
import { cntbt } from './trees/cntbt.ts'
import { finobt } from './trees/finobt.ts'
import { inobt } from './trees/inobt.ts'
import { refcountbt } from './trees/refcountbt.ts'
import { type RmapKey, rmapbt } from './trees/rmapbt.ts'

/** The trees of a group, by name: their records and search keys. */
export interface AgTrees {
  bnobt: { rec: AllocRec; key: number }
  cntbt: { rec: AllocRec; key: AllocRec }
  inobt: { rec: InobtRec; key: number }
  finobt: { rec: InobtRec; key: number }
  rmapbt: { rec: RmapRec; key: RmapKey }
  refcountbt: { rec: RefcountRec; key: number }
}
export type AgTreeName = keyof AgTrees
export type AgTree<N extends AgTreeName> = Btree<AgTrees[N]['rec'], AgTrees[N]['key']>
export type AgTreeOps<N extends AgTreeName> = BtreeOps<AgTrees[N]['rec'], AgTrees[N]['key']>

export const agTrees: { readonly [N in AgTreeName]: AgTreeOps<N> } = { bnobt, cntbt, inobt, finobt, rmapbt, refcountbt }

interface RootFields {
  readonly header: 'agf' | 'agi'
  readonly root: Field<number>
  readonly level: Field<number>
}

const rootFields: Readonly<Record<AgTreeName, RootFields>> = {
  bnobt: { header: 'agf', root: Agf.fields.bnoroot, level: Agf.fields.bnolevel },
  cntbt: { header: 'agf', root: Agf.fields.cntroot, level: Agf.fields.cntlevel },
  rmapbt: { header: 'agf', root: Agf.fields.rmaproot, level: Agf.fields.rmaplevel },
  refcountbt: { header: 'agf', root: Agf.fields.refcntroot, level: Agf.fields.refcntlevel },
  inobt: { header: 'agi', root: Agi.fields.root, level: Agi.fields.level },
  finobt: { header: 'agi', root: Agi.fields.free_root, level: Agi.fields.free_level },
}

/** The trees that a volume's groups have, by its features. */
export function treesOf(volume: Pick<Volume, 'features'>): AgTreeName[] {
  const { features } = volume
  const names: AgTreeName[] = ['bnobt', 'cntbt', 'inobt']
  if (features.has('finobt')) names.push('finobt')
  if (features.has('rmapbt')) names.push('rmapbt')
  if (features.has('reflink')) names.push('refcountbt')
  return names
}

/** The root of one of a group's trees: a field of its AGF or AGI. */
export function agRoot(volume: Volume, name: AgTreeName, agno: number, reader: BlockReader = volume): BlockRoot {
  const { header, root, level } = rootFields[name]
  return {
    origin: header === 'agf' ? 'the AGF' : 'the AGI',
    get: () => {
      const { view } = volume[header](agno, reader)
      // `levels` first: other objects begin with a `ptr` that may be large, and V8 would convert each of these anew to their form.
      return { levels: level.get(view, 0), ptr: root.get(view, 0) }
    },
    set: (tx, ptr, levels) => {
      const view = tx.edit(volume[header](agno, tx))
      root.set(view, 0, ptr)
      level.set(view, 0, levels)
    },
  }
}

/** One of a group's trees, to read; with `reader` the running transaction and `space`, to change. */
export function openTree<N extends AgTreeName>(
  volume: Volume,
  name: N,
  agno: number,
  reader: BlockReader = volume,
  space?: Space,
): AgTree<N> {
  return {
    ops: agTrees[name],
    geometry: volume.geometry,
    agno,
    owner: agno,
    root: agRoot(volume, name, agno, reader),
    reader,
    ...(space ? { space } : {}),
  }
}

/** A root in memory: of a tree that is being built, or that only a test knows. */
export function stagedRoot(ptr: number, levels: number): BlockRoot {
  let now = { levels, ptr }
  return {
    origin: 'the staged root',
    get: () => now,
    set: (_tx, ptr, levels) => {
      now = { levels, ptr }
    },
  }
}

/** An inline root in memory, with room for `maxrecs` keys and no content: the caller fills it, or `bulkLoad` does. */
export function stagedInlineRoot(maxrecs: number, keySize = 8, ptrSize = 8): InlineRoot {
  assert(maxrecs > 0, 'an inline root without room')
  const view = new DataView(new ArrayBuffer(4 + maxrecs * (keySize + ptrSize)))
  const block = { view, at: 0, maxrecs }
  return { inline: true, origin: 'the staged root', block: () => block, edit: () => {} }
}
