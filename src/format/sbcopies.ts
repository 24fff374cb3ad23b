import { featureBits } from './features.ts'
import type { Superblock } from './sb.ts'

/**
 * Fields that all secondary superblocks share with the primary: the geometry and the features.
 * Counters, quota and labels are only kept in the primary.
 */
export const COPIED_FIELDS = [
  'blocksize', 'dblocks', 'rblocks', 'rextents', 'uuid', 'logstart', 'rextsize', 'agblocks', 'agcount', 'rbmblocks', 'logblocks',
  'sectsize', 'inodesize', 'inopblock', 'blocklog', 'sectlog', 'inodelog', 'inopblog', 'agblklog', 'rextslog', 'inoalignmt', 'dirblklog',
  'logsectlog', 'logsectsize', 'logsunit', 'spino_align', 'versionnum', 'features2', 'features_compat', 'features_ro_compat',
  'features_incompat',
] as const satisfies readonly (keyof Superblock)[] // biome-ignore format: a list

type CopiedField = (typeof COPIED_FIELDS)[number]

/** Bits of `versionnum` that only change in the primary superblock. */
export const PRIMARY_VERSION_BITS = featureBits.attr.bit | featureBits.quota.bit

/** A field as it is compared: without the bits that only change in the primary superblock. */
export function copiedValue(sb: Superblock, field: CopiedField): number | string {
  switch (field) {
    case 'versionnum':
      return sb.versionnum & ~PRIMARY_VERSION_BITS
    case 'features_incompat':
      return (sb.features_incompat & ~featureBits.needsrepair.bit) >>> 0
    case 'logsunit':
      return Math.max(1, sb.logsunit) // 0 and 1 both mean none
    default:
      return sb[field]
  }
}

/** The first field in which a secondary superblock differs from another one. */
export const differingField = (a: Superblock, b: Superblock): CopiedField | undefined =>
  COPIED_FIELDS.find((field) => copiedValue(a, field) !== copiedValue(b, field))
