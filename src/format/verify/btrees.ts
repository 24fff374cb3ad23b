import { NULLAGBLOCK } from '../ag.ts'
import { LongBlock, ShortBlock } from '../btblock.ts'
import { BTREE_MAGICS, BTREE_MAGICS_V4, type TreeName } from '../btrecs.ts'
import type { Geometry } from '../geometry.ts'
import { treeSizes } from '../treesizes.ts'
import { type BlockType, type Fault, fault, oneBlock, placesOf } from './blocktype.ts'

/** Headers of btree blocks. Records are verified by their readers. */

const { level: levelField, numrecs: numrecsField } = ShortBlock.fields
const SHORT_SIBLINGS = [ShortBlock.fields.leftsib, ShortBlock.fields.rightsib]
const LONG_SIBLINGS = [LongBlock.fields.leftsib, LongBlock.fields.rightsib]

function treeBlock(tree: TreeName, view: DataView, geometry: Geometry): Fault | undefined {
  const { leafMax, nodeMax, maxLevels: most } = treeSizes(geometry, tree)
  const level = levelField.get(view, 0)
  const numrecs = numrecsField.get(view, 0)
  if (level >= most) return fault('level', `level ${level} exceeds maximum ${most - 1}`)
  const max = level === 0 ? leafMax : nodeMax
  if (numrecs > max) return fault('numrecs', `${numrecs} exceeds maximum ${max}`)
  if (level > 0 && numrecs === 0) return fault('numrecs', `0 in a node of level ${level}`)
  return undefined
}

export const shortTree = (name: string, tree: TreeName, magicsV4: readonly number[]): BlockType => ({
  name,
  ...placesOf(ShortBlock),
  magics: [BTREE_MAGICS[tree]],
  magicsV4,
  fits: oneBlock,
  rulesV4: true,
  rules: (view, { geometry, daddr }) => {
    const block = treeBlock(tree, view, geometry)
    if (block) return block
    const agno = geometry.daddrToAgno(daddr)
    const own = geometry.daddrToAgbno(daddr)
    for (const { name: field, get } of SHORT_SIBLINGS) {
      const sibling = get(view, 0)
      if (sibling === NULLAGBLOCK) continue
      if (sibling === own || !geometry.validAgbno(agno, sibling))
        return fault(field, `sibling ${agno}/${sibling} of block ${agno}/${own}`)
    }
    const owner = ShortBlock.fields.owner.get(view, 0)
    return geometry.features.version === 5 && owner !== agno
      ? fault('owner', `AG ${owner}, expected ${agno}`)
      : undefined
  },
})

export const bmbt: BlockType = {
  name: 'bmbt',
  ...placesOf(LongBlock),
  magics: [BTREE_MAGICS.bmbt],
  magicsV4: [BTREE_MAGICS_V4.bmbt],
  fits: oneBlock,
  rulesV4: true,
  rules: (view, { geometry, daddr }) => {
    const block = treeBlock('bmbt', view, geometry)
    if (block) return block
    const own = geometry.fsbno(geometry.daddrToAgno(daddr), geometry.daddrToAgbno(daddr))
    for (const { name: field, get } of LONG_SIBLINGS) {
      const sibling = get(view, 0)
      if (sibling === -1) continue
      if (sibling === own || !geometry.validFsbnoRange(sibling, 1))
        return fault(field, `sibling ${sibling} of block ${own}`)
    }
    return undefined
  },
}
