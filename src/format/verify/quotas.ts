import { DiskDquot, DQUOT_MAGIC, DQUOT_TYPE_MASK, DQUOT_VERSION, Dqblk, DquotTypes } from '../dquot.ts'
import { type BlockType, fault, hex, oneBlock, placesOf } from './blocktype.ts'

/** Blocks of quota records. */

const { fields } = DiskDquot

export const dquot: BlockType = {
  name: 'dquot',
  ...placesOf(Dqblk),
  magicsV4: [DQUOT_MAGIC],
  fits: oneBlock,
  unit: () => Dqblk.size,
  unitCrc: true,
  rulesV4: true,
  rules: (view, { geometry }, at) => {
    const version = fields.version.get(view, at)
    const type = fields.type.get(view, at)
    const id = fields.id.get(view, at)
    if (version !== DQUOT_VERSION) return fault('diskdq.version', `version ${version}, expected ${DQUOT_VERSION}`)
    const kind = type & DQUOT_TYPE_MASK
    if ((type & ~(DQUOT_TYPE_MASK | DquotTypes.bigtime)) !== 0 || kind === 0 || (kind & (kind - 1)) !== 0)
      return fault('diskdq.type', `type ${hex(type)}`)
    if ((type & DquotTypes.bigtime) !== 0 && (id === 0 || !geometry.features.has('bigtime')))
      return fault('diskdq.type', `bigtime for id ${id}`)
    if (at > 0 && id !== fields.id.get(view, 0) + at / Dqblk.size) return fault('diskdq.id', `id ${id} out of order`)
    return undefined
  },
}
