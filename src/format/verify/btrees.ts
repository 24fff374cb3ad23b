import { NULLAGBLOCK } from '../ag.ts'
import { BTREE_MAGICS, BTREE_MAGICS_V4, type TreeName } from '../btrecs.ts'
import type { Geometry } from '../geometry.ts'
import { get64 } from '../struct.ts'
import { treeSizes } from '../treesizes.ts'
import { type BlockType, type Fault, fault, oneBlock } from './blocktype.ts'

/** Blocks of btrees: their headers. Records are for those who read them. */

function treeBlock(tree: TreeName, view: DataView, geometry: Geometry): Fault | undefined {
  const { leafMax, nodeMax, maxLevels: most } = treeSizes(geometry, tree)
  const level = view.getUint16(4)
  const numrecs = view.getUint16(6)
  if (level >= most) return fault('level', `level ${level} in a tree of at most ${most} levels`)
  const max = level === 0 ? leafMax : nodeMax
  if (numrecs > max) return fault('numrecs', `${numrecs} records, but only ${max} fit`)
  if (level > 0 && numrecs === 0) return fault('numrecs', `a node of level ${level} without children`)
  return undefined
}

const SHORT_SIBLINGS = [
  { field: 'leftsib', offset: 8 },
  { field: 'rightsib', offset: 12 },
]
const LONG_SIBLINGS = [
  { field: 'leftsib', offset: 8 },
  { field: 'rightsib', offset: 16 },
]

export const shortTree = (name: string, tree: TreeName, magicsV4: readonly number[]): BlockType => ({
  name,
  magics: [BTREE_MAGICS[tree]],
  magicsV4,
  magic: { offset: 0, size: 4 },
  crcOffset: 52,
  uuidOffset: 32,
  daddrOffset: 16,
  lsnOffset: 24,
  fits: oneBlock,
  rulesV4: true,
  rules: (view, { geometry, daddr }) => {
    const block = treeBlock(tree, view, geometry)
    if (block) return block
    const agno = geometry.daddrToAgno(daddr)
    const own = geometry.daddrToAgbno(daddr)
    for (const { field, offset } of SHORT_SIBLINGS) {
      const sibling = view.getUint32(offset)
      if (sibling === NULLAGBLOCK) continue
      if (sibling === own || !geometry.validAgbno(agno, sibling))
        return fault(field, `sibling ${agno}/${sibling} of block ${agno}/${own}`)
    }
    const owner = view.getUint32(48)
    return geometry.features.version === 5 && owner !== agno
      ? fault('owner', `says group ${owner}, but is in group ${agno}`)
      : undefined
  },
})

export const bmbt: BlockType = {
  name: 'bmbt',
  magics: [BTREE_MAGICS.bmbt],
  magicsV4: [BTREE_MAGICS_V4.bmbt],
  magic: { offset: 0, size: 4 },
  crcOffset: 64,
  uuidOffset: 40,
  daddrOffset: 24,
  ownerOffset: 56,
  lsnOffset: 32,
  fits: oneBlock,
  rulesV4: true,
  rules: (view, { geometry, daddr }) => {
    const block = treeBlock('bmbt', view, geometry)
    if (block) return block
    const own = geometry.fsbno(geometry.daddrToAgno(daddr), geometry.daddrToAgbno(daddr))
    for (const { field, offset } of LONG_SIBLINGS) {
      const sibling = get64(view, offset)
      if (sibling === -1) continue
      if (sibling === own || !geometry.validFsbnoRange(sibling, 1))
        return fault(field, `sibling ${sibling} of block ${own}`)
    }
    return undefined
  },
}
