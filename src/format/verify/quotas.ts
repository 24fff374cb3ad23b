import { DQUOT_MAGIC, DQUOT_TYPE_MASK, DQUOT_VERSION, Dqblk, DquotTypes } from '../dquot.ts'
import { type BlockType, fault, hex, oneBlock } from './blocktype.ts'

/** Blocks of quota records. */

export const dquot: BlockType = {
  name: 'dquot',
  magics: [DQUOT_MAGIC],
  magicsV4: [DQUOT_MAGIC],
  magic: { offset: 0, size: 2 },
  crcOffset: Dqblk.fields.crc.offset,
  uuidOffset: Dqblk.fields.uuid.offset,
  lsnOffset: Dqblk.fields.lsn.offset,
  fits: oneBlock,
  unit: () => Dqblk.size,
  unitCrc: true,
  rulesV4: true,
  rules: (view, { geometry }, at) => {
    const version = view.getUint8(at + 2)
    const type = view.getUint8(at + 3)
    const id = view.getUint32(at + 4)
    if (version !== DQUOT_VERSION) return fault('diskdq.version', `version ${version}, expected ${DQUOT_VERSION}`)
    const kind = type & DQUOT_TYPE_MASK
    if ((type & ~(DQUOT_TYPE_MASK | DquotTypes.bigtime)) !== 0 || kind === 0 || (kind & (kind - 1)) !== 0)
      return fault('diskdq.type', `type ${hex(type)}`)
    if ((type & DquotTypes.bigtime) !== 0 && (id === 0 || !geometry.features.has('bigtime')))
      return fault('diskdq.type', `bigtime for id ${id}`)
    if (at > 0 && id !== view.getUint32(4) + at / Dqblk.size) return fault('diskdq.id', `id ${id} out of order`)
    return undefined
  },
}
