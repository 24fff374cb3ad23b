import {
  AGF_MAGIC,
  AGFL_MAGIC,
  AGI_MAGIC,
  AGI_UNLINKED_BUCKETS,
  Agf,
  Agfl,
  Agi,
  NULLAGBLOCK,
  NULLAGINO,
} from '../ag.ts'
import type { TreeName } from '../btrecs.ts'
import { agflSlots, maxLevels } from '../treesizes.ts'
import { type BlockType, type Fault, fault, oneSector, type VerifyContext } from './blocktype.ts'

/** AGF, AGI and AGFL. */

function groupHeader(seqno: number, length: number, { geometry, daddr }: VerifyContext): Fault | undefined {
  const agno = geometry.daddrToAgno(daddr)
  if (seqno !== agno) return fault('seqno', `says group ${seqno}, but is in group ${agno}`)
  if (length !== geometry.agLength(agno))
    return fault('length', `says ${length} blocks, expected ${geometry.agLength(agno)}`)
  return undefined
}

function treeRoot(
  tree: TreeName,
  root: number,
  level: number,
  rootField: string,
  levelField: string,
  context: VerifyContext,
): Fault | undefined {
  const { geometry, daddr } = context
  const most = maxLevels(geometry, tree)
  if (level < 1 || level > most) return fault(levelField, `${tree} has height ${level}, expected 1 to ${most}`)
  const agno = geometry.daddrToAgno(daddr)
  if (!geometry.validAgbno(agno, root))
    return fault(rootField, `the root of ${tree} is at ${agno}/${root}, outside of the group`)
  return undefined
}

function agfRules(view: DataView, context: VerifyContext): Fault | undefined {
  const { geometry } = context
  const { features } = geometry
  const agf = Agf.lazy(view)
  if (agf.versionnum !== 1) return fault('versionnum', `version ${agf.versionnum}, expected 1`)
  const header = groupHeader(agf.seqno, agf.length, context)
  if (header) return header
  const slots = agflSlots(geometry)
  for (const field of ['flfirst', 'fllast'] as const) {
    if (agf[field] >= slots) return fault(field, `${agf[field]} is no slot of an AGFL of ${slots}`)
  }
  if (agf.flcount > slots) return fault('flcount', `${agf.flcount} blocks do not fit into an AGFL of ${slots}`)
  if (agf.freeblks > agf.length) return fault('freeblks', `${agf.freeblks} free blocks in a group of ${agf.length}`)
  if (agf.longest > agf.freeblks)
    return fault('longest', `a run of ${agf.longest} blocks, but only ${agf.freeblks} are free`)
  if (features.has('lazysbcount') && agf.btreeblks > agf.length)
    return fault('btreeblks', `${agf.btreeblks} blocks in a group of ${agf.length}`)
  return (
    treeRoot('bnobt', agf.bnoroot, agf.bnolevel, 'bnoroot', 'bnolevel', context) ??
    treeRoot('cntbt', agf.cntroot, agf.cntlevel, 'cntroot', 'cntlevel', context) ??
    (features.has('rmapbt')
      ? (treeRoot('rmapbt', agf.rmaproot, agf.rmaplevel, 'rmaproot', 'rmaplevel', context) ??
        (agf.rmapblocks > agf.length
          ? fault('rmapblocks', `${agf.rmapblocks} blocks in a group of ${agf.length}`)
          : undefined))
      : undefined) ??
    (features.has('reflink')
      ? (treeRoot('refcountbt', agf.refcntroot, agf.refcntlevel, 'refcntroot', 'refcntlevel', context) ??
        (agf.refcntblocks > agf.length
          ? fault('refcntblocks', `${agf.refcntblocks} blocks in a group of ${agf.length}`)
          : undefined))
      : undefined)
  )
}

export const agf: BlockType = {
  name: 'agf',
  magics: [AGF_MAGIC],
  magicsV4: [AGF_MAGIC],
  magic: { offset: 0, size: 4 },
  crcOffset: Agf.fields.crc.offset,
  uuidOffset: Agf.fields.uuid.offset,
  lsnOffset: Agf.fields.lsn.offset,
  fits: oneSector,
  rules: agfRules,
  rulesV4: true,
}

function agiRules(view: DataView, context: VerifyContext): Fault | undefined {
  const { geometry, daddr } = context
  const { fields } = Agi
  const version = fields.versionnum.get(view, 0)
  if (version !== 1) return fault('versionnum', `version ${version}, expected 1`)
  const header = groupHeader(fields.seqno.get(view, 0), fields.length.get(view, 0), context)
  if (header) return header
  const tree = treeRoot('inobt', fields.root.get(view, 0), fields.level.get(view, 0), 'root', 'level', context)
  if (tree) return tree
  if (geometry.features.has('finobt')) {
    const free = treeRoot(
      'finobt',
      fields.free_root.get(view, 0),
      fields.free_level.get(view, 0),
      'free_root',
      'free_level',
      context,
    )
    if (free) return free
  }
  const agno = geometry.daddrToAgno(daddr)
  for (let i = 0; i < AGI_UNLINKED_BUCKETS; i++) {
    const agino = view.getUint32(fields.unlinked.offset + 4 * i)
    if (agino !== NULLAGINO && !geometry.validAgbno(agno, geometry.aginoAgbno(agino))) {
      return fault(`unlinked[${i}]`, `inode ${agino} lies outside of group ${agno}`)
    }
  }
  return undefined
}

export const agi: BlockType = {
  name: 'agi',
  magics: [AGI_MAGIC],
  magicsV4: [AGI_MAGIC],
  magic: { offset: 0, size: 4 },
  crcOffset: Agi.fields.crc.offset,
  uuidOffset: Agi.fields.uuid.offset,
  lsnOffset: Agi.fields.lsn.offset,
  fits: oneSector,
  rules: agiRules,
  rulesV4: true,
}

export const agfl: BlockType = {
  name: 'agfl',
  magics: [AGFL_MAGIC],
  magicsV4: [],
  magic: { offset: 0, size: 4 },
  crcOffset: Agfl.fields.crc.offset,
  uuidOffset: Agfl.fields.uuid.offset,
  lsnOffset: Agfl.fields.lsn.offset,
  fits: oneSector,
  rules: (view, { geometry, daddr }) => {
    const agno = geometry.daddrToAgno(daddr)
    const seqno = Agfl.fields.seqno.get(view, 0)
    if (seqno !== agno) return fault('seqno', `says group ${seqno}, but is in group ${agno}`)
    const slots = agflSlots(geometry)
    for (let i = 0; i < slots; i++) {
      const agbno = view.getUint32(Agfl.size + 4 * i)
      if (agbno !== NULLAGBLOCK && agbno >= geometry.agblocks)
        return fault(`bno[${i}]`, `block ${agbno} lies outside of the group`)
    }
    return undefined
  },
}
