import {
  AGF_MAGIC,
  AGI_MAGIC,
  AGI_UNLINKED_BUCKETS,
  Agf,
  Agfl,
  AgflSlot,
  Agi,
  BUCKET_SIZE,
  NULLAGBLOCK,
  NULLAGINO,
} from '../ag.ts'
import type { TreeName } from '../btrecs.ts'
import type { Feature } from '../features.ts'
import type { Field } from '../struct.ts'
import { agflSlots, maxLevels } from '../treesizes.ts'
import { type BlockType, type Fault, fault, oneSector, placesOf, type VerifyContext } from './blocktype.ts'

/** AGF, AGI and AGFL. */

function agHeader(seqno: number, length: number, { geometry, daddr }: VerifyContext): Fault | undefined {
  const agno = geometry.daddrToAgno(daddr)
  if (seqno !== agno) return fault('seqno', `AG ${seqno}, expected ${agno}`)
  if (length !== geometry.agLength(agno)) return fault('length', `${length}, expected ${geometry.agLength(agno)}`)
  return undefined
}

/** Fields of a tree in a header: root, height and (for some trees) blocks. */
interface TreeFields {
  readonly tree: TreeName
  readonly root: Field<number>
  readonly level: Field<number>
  readonly blocks?: Field<number>
}

/**
 * The trees of a header that this filesystem has. The declarations of their roots name the required
 * feature.
 */
function treeRoots(
  trees: readonly TreeFields[],
  view: DataView,
  { geometry, daddr }: VerifyContext,
): Fault | undefined {
  const agno = geometry.daddrToAgno(daddr)
  const length = geometry.agLength(agno)
  for (const { tree, root, level, blocks } of trees) {
    if (root.since !== undefined && !geometry.features.has(root.since as Feature)) continue
    const height = level.get(view, 0)
    const most = maxLevels(geometry, tree)
    if (height < 1 || height > most) return fault(level.name, `height ${height} of ${tree}, expected 1 to ${most}`)
    const agbno = root.get(view, 0)
    if (!geometry.validAgbno(agno, agbno))
      return fault(root.name, `${tree} root ${agno}/${agbno} is out of range for the AG`)
    const count = blocks?.get(view, 0) ?? 0
    if (blocks && count > length) return fault(blocks.name, `${count} exceeds the ${length} blocks of the AG`)
  }
  return undefined
}

const AGF_TREES: readonly TreeFields[] = [
  { tree: 'bnobt', root: Agf.fields.bnoroot, level: Agf.fields.bnolevel },
  { tree: 'cntbt', root: Agf.fields.cntroot, level: Agf.fields.cntlevel },
  { tree: 'rmapbt', root: Agf.fields.rmaproot, level: Agf.fields.rmaplevel, blocks: Agf.fields.rmapblocks },
  { tree: 'refcountbt', root: Agf.fields.refcntroot, level: Agf.fields.refcntlevel, blocks: Agf.fields.refcntblocks },
]
const AGI_TREES: readonly TreeFields[] = [
  { tree: 'inobt', root: Agi.fields.root, level: Agi.fields.level },
  { tree: 'finobt', root: Agi.fields.free_root, level: Agi.fields.free_level },
]

function agfRules(view: DataView, context: VerifyContext): Fault | undefined {
  const { geometry } = context
  const { features } = geometry
  const agf = Agf.lazy(view)
  if (agf.versionnum !== 1) return fault('versionnum', `version ${agf.versionnum}, expected 1`)
  const header = agHeader(agf.seqno, agf.length, context)
  if (header) return header
  const slots = agflSlots(geometry)
  for (const field of ['flfirst', 'fllast'] as const) {
    if (agf[field] >= slots) return fault(field, `slot ${agf[field]} exceeds the ${slots} slots of the AGFL`)
  }
  if (agf.flcount > slots) return fault('flcount', `${agf.flcount} exceeds the ${slots} slots of the AGFL`)
  if (agf.freeblks > agf.length) return fault('freeblks', `${agf.freeblks} exceeds the ${agf.length} blocks of the AG`)
  if (agf.longest > agf.freeblks)
    return fault('longest', `free extent of ${agf.longest} blocks exceeds the ${agf.freeblks} free blocks`)
  if (features.has('lazysbcount') && agf.btreeblks > agf.length)
    return fault('btreeblks', `${agf.btreeblks} exceeds the ${agf.length} blocks of the AG`)
  return treeRoots(AGF_TREES, view, context)
}

export const agf: BlockType = {
  name: 'agf',
  ...placesOf(Agf),
  magicsV4: [AGF_MAGIC],
  fits: oneSector,
  rules: agfRules,
  rulesV4: true,
}

function agiRules(view: DataView, context: VerifyContext): Fault | undefined {
  const { geometry, daddr } = context
  const { fields } = Agi
  const version = fields.versionnum.get(view, 0)
  if (version !== 1) return fault('versionnum', `version ${version}, expected 1`)
  const header = agHeader(fields.seqno.get(view, 0), fields.length.get(view, 0), context)
  if (header) return header
  const tree = treeRoots(AGI_TREES, view, context)
  if (tree) return tree
  const agno = geometry.daddrToAgno(daddr)
  for (let i = 0; i < AGI_UNLINKED_BUCKETS; i++) {
    const agino = view.getUint32(fields.unlinked.offset + i * BUCKET_SIZE)
    if (agino !== NULLAGINO && !geometry.validAgbno(agno, geometry.aginoAgbno(agino))) {
      return fault(`unlinked[${i}]`, `agino ${agino} is out of range for AG ${agno}`)
    }
  }
  return undefined
}

export const agi: BlockType = {
  name: 'agi',
  ...placesOf(Agi),
  magicsV4: [AGI_MAGIC],
  fits: oneSector,
  rules: agiRules,
  rulesV4: true,
}

export const agfl: BlockType = {
  name: 'agfl',
  ...placesOf(Agfl),
  magicsV4: [],
  fits: oneSector,
  rules: (view, { geometry, daddr }) => {
    const agno = geometry.daddrToAgno(daddr)
    const seqno = Agfl.fields.seqno.get(view, 0)
    if (seqno !== agno) return fault('seqno', `AG ${seqno}, expected ${agno}`)
    const slots = agflSlots(geometry)
    for (let i = 0; i < slots; i++) {
      const agbno = AgflSlot.fields.bno.get(view, Agfl.size + i * AgflSlot.size)
      if (agbno !== NULLAGBLOCK && agbno >= geometry.agblocks)
        return fault(`bno[${i}]`, `block ${agbno} is out of range for the AG`)
    }
    return undefined
  },
}
