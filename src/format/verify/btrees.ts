import { NULLAGBLOCK } from '../ag.ts'
import { LongBlock, ShortBlock } from '../btblock.ts'
import type { Geometry } from '../geometry.ts'
import { type TreeName, treeForms, treeNames, treeRow } from '../trees.ts'
import { treeSizes } from '../treesizes.ts'
import { type BlockType, type Fault, fault, oneBlock, placesOf, type VerifyContext } from './blocktype.ts'

/** Headers of btree blocks. Records are verified by their readers. */

const { level: levelField, numrecs: numrecsField } = ShortBlock.fields
const SHORT_SIBLINGS = [ShortBlock.fields.leftsib, ShortBlock.fields.rightsib]
const LONG_SIBLINGS = [LongBlock.fields.leftsib, LongBlock.fields.rightsib]

function sizeRules(tree: TreeName, view: DataView, geometry: Geometry): Fault | undefined {
  const { leafMax, nodeMax, maxLevels: most } = treeSizes(geometry, tree)
  const level = levelField.get(view, 0)
  const numrecs = numrecsField.get(view, 0)
  if (level >= most) return fault('level', `level ${level} exceeds maximum ${most - 1}`)
  const max = level === 0 ? leafMax : nodeMax
  if (numrecs > max) return fault('numrecs', `${numrecs} exceeds maximum ${max}`)
  if (level > 0 && numrecs === 0) return fault('numrecs', `0 in a node of level ${level}`)
  return undefined
}

/** Pointers inside of the AG, which owns the block. */
function shortRules(view: DataView, { geometry, daddr }: VerifyContext): Fault | undefined {
  const agno = geometry.daddrToAgno(daddr)
  const own = geometry.daddrToAgbno(daddr)
  for (const { name: field, get } of SHORT_SIBLINGS) {
    const sibling = get(view, 0)
    if (sibling === NULLAGBLOCK) continue
    if (sibling === own || !geometry.validAgbno(agno, sibling))
      return fault(field, `sibling ${agno}/${sibling} of block ${agno}/${own}`)
  }
  const owner = ShortBlock.fields.owner.get(view, 0)
  return geometry.features.version === 5 && owner !== agno ? fault('owner', `AG ${owner}, expected ${agno}`) : undefined
}

/** Pointers to anywhere; whether the owner is right, those know who read the inode. */
function longRules(view: DataView, { geometry, daddr }: VerifyContext): Fault | undefined {
  const own = geometry.fsbno(geometry.daddrToAgno(daddr), geometry.daddrToAgbno(daddr))
  for (const { name: field, get } of LONG_SIBLINGS) {
    const sibling = get(view, 0)
    if (sibling === -1) continue
    if (sibling === own || !geometry.validFsbnoRange(sibling, 1))
      return fault(field, `sibling ${sibling} of block ${own}`)
  }
  return undefined
}

function treeBlock(name: TreeName): BlockType {
  const { magic, magicV4 } = treeRow(name)
  const short = treeForms[name].ptrSize === 4
  const pointerRules = short ? shortRules : longRules
  return {
    name,
    ...placesOf(short ? ShortBlock : LongBlock),
    magics: [magic],
    magicsV4: magicV4 === undefined ? [] : [magicV4],
    fits: oneBlock,
    rulesV4: true,
    rules: (view, context) => sizeRules(name, view, context.geometry) ?? pointerRules(view, context),
  }
}

export const treeBlocks = Object.fromEntries(treeNames.map((name) => [name, treeBlock(name)])) as Readonly<
  Record<TreeName, BlockType>
>
