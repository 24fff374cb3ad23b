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
import { headerRoot, treesOf } from '../trees.ts'
import { agflSlots, maxLevels } from '../treesizes.ts'
import { type BlockType, type Fault, fault, oneSector, placesOf, type VerifyContext } from './blocktype.ts'

/** AGF, AGI and AGFL. */

function agHeader(seqno: number, length: number, { geometry, daddr }: VerifyContext): Fault | undefined {
  const agno = geometry.daddrToAgno(daddr)
  if (seqno !== agno) return fault('seqno', `AG ${seqno}, expected ${agno}`)
  if (length !== geometry.agLength(agno)) return fault('length', `${length}, expected ${geometry.agLength(agno)}`)
  return undefined
}

/** The fields of those trees of a header that this filesystem has. */
function treeRoots(header: 'agf' | 'agi', view: DataView, { geometry, daddr }: VerifyContext): Fault | undefined {
  const agno = geometry.daddrToAgno(daddr)
  const length = geometry.agLength(agno)
  for (const tree of treesOf(geometry)) {
    const root = headerRoot(tree)
    if (root.in !== header) continue
    const height = root.level.get(view, 0)
    const most = maxLevels(geometry, tree)
    if (height < 1 || height > most) return fault(root.level.name, `height ${height} of ${tree}, expected 1 to ${most}`)
    const agbno = root.block.get(view, 0)
    if (!geometry.validAgbno(agno, agbno))
      return fault(root.block.name, `${tree} root ${agno}/${agbno} is out of range for the AG`)
    // The kernel checks counts here only if every filesystem with the tree keeps them.
    const blocks = root.blocksSince === undefined ? root.blocks : undefined
    const count = blocks?.get(view, 0) ?? 0
    if (blocks && count > length) return fault(blocks.name, `${count} exceeds the ${length} blocks of the AG`)
  }
  return undefined
}

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
  return treeRoots('agf', view, context)
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
  const tree = treeRoots('agi', view, context)
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
