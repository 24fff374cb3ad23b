import { type AgTreeName, headerRoot } from '../format/trees.ts'
import type { BlockReader, Volume } from '../volume.ts'
import type { BlockRoot, Space } from './ops.ts'
import { type AgTree, treeOps } from './treeops.ts'

/** The root of an AG btree: fields of its AGF or AGI. */
export function agRoot(volume: Volume, name: AgTreeName, agno: number, reader: BlockReader = volume): BlockRoot {
  const { in: header, block, level } = headerRoot(name)
  return {
    origin: header === 'agf' ? 'the AGF' : 'the AGI',
    get: () => {
      const { view } = volume[header](agno, reader)
      // `levels` first: other objects begin with a `ptr` that may be large, and V8 would convert
      // each of these to their form.
      return { levels: level.get(view, 0), ptr: block.get(view, 0) }
    },
    set: (tx, ptr, levels) => {
      const view = tx.edit(volume[header](agno, tx))
      block.set(view, 0, ptr)
      level.set(view, 0, levels)
    },
  }
}

/** An AG btree for reading. To change it, pass the running transaction as `reader`, and `space`. */
export function openTree<N extends AgTreeName>(
  volume: Volume,
  name: N,
  agno: number,
  reader: BlockReader = volume,
  space?: Space,
): AgTree<N> {
  return {
    ops: treeOps[name],
    geometry: volume.geometry,
    agno,
    owner: agno,
    root: agRoot(volume, name, agno, reader),
    reader,
    ...(space ? { space } : {}),
  }
}
