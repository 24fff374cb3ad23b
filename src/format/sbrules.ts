import { type Feature, featuresOf } from './features.ts'
import { Superblock } from './sb.ts'
import { type Field, isZero } from './struct.ts'

/**
 * Rules for a superblock in addition to those of its geometry (`checkSuperblock`, which is needed
 * to open an image). The table is used for opening and by check, for the primary and for secondary
 * superblocks.
 *
 *   mount   the kernel does not mount: the image is not opened for changes, and check reports it
 *   fault   the kernel mounts, but xfs_repair reports it: so does check
 */
interface SuperblockRule {
  readonly field: keyof Superblock
  readonly weight: 'mount' | 'fault'
  /** The fault, or undefined. */
  readonly wrong: (sb: Superblock) => string | undefined
}

interface SuperblockFault {
  readonly field: string
  readonly weight: 'mount' | 'fault'
  readonly message: string
}

/**
 * Bits that V5 requires, and all that it defines. Source: xfs_sb.c, xfs_sb_validate_v5_features.
 */
const V5_BITS = {
  versionnum: { needed: 0x20 | 0x80 | 0x400 | 0x1000 | 0x2000 | 0x8000, known: 0xfdff },
  features2: { needed: 0x02 | 0x08 | 0x80 | 0x100, known: 0x02 | 0x08 | 0x80 | 0x100 | 0x200 },
} as const
const OLD_QUOTA_BITS = 0x10 | 0x20
const QUOTA_BIT = 0x40
const MAX_LOG_UNIT = 2 ** 18
const MIN_REALTIME_EXTENT = 2 ** 12
const MAX_REALTIME_EXTENT = 2 ** 30
const INODE_CLUSTER = 8192
const SMALLEST_INODE = 256

const hex = (value: number): string => `0x${value.toString(16)}`
const isV5 = (sb: Superblock): boolean => (sb.versionnum & 0xf) === 5
const has = (sb: Superblock, feature: 'dalign' | 'sector' | 'sparse' | 'metadir'): boolean =>
  featuresOf(sb).has(feature)
const when = (wrong: boolean, message: string): string | undefined => (wrong ? message : undefined)

function v5Bits(sb: Superblock, field: keyof typeof V5_BITS): string | undefined {
  const { needed, known } = V5_BITS[field]
  const unknown = (sb[field] & ~known) >>> 0
  const missing = (needed & ~sb[field]) >>> 0
  if (!isV5(sb)) return undefined
  if (unknown !== 0) return `${hex(sb[field])} has unknown bits ${hex(unknown)}`
  return when(missing !== 0, `${hex(sb[field])} lacks bits ${hex(missing)}, which V5 requires`)
}

/** Blocks of an inode cluster, the allocation unit of sparse chunks. */
export const clusterBlocks = (sb: Superblock): number =>
  Math.floor((INODE_CLUSTER * sb.inodesize) / SMALLEST_INODE / sb.blocksize)

/** A field that is zero without a realtime section, and is otherwise derived from its size. */
const realtime =
  (field: 'rextents' | 'rbmblocks' | 'rextslog', follows: (sb: Superblock) => number | undefined) =>
  (sb: Superblock): string | undefined => {
    const expected = sb.rblocks === 0 ? 0 : follows(sb)
    return when(expected !== undefined && sb[field] !== expected, `${sb[field]}, expected ${expected}`)
  }

// biome-ignore format: one rule a line
const RULES: readonly SuperblockRule[] = [
  { field: 'versionnum',   weight: 'mount', wrong: (sb) => v5Bits(sb, 'versionnum') },
  { field: 'features2',    weight: 'mount', wrong: (sb) => v5Bits(sb, 'features2') },
  { field: 'qflags',       weight: 'mount', wrong: (sb) => when(isV5(sb) && (sb.qflags & OLD_QUOTA_BITS) !== 0, `${hex(sb.qflags)} has V4 bits`) },
  { field: 'rextsize',     weight: 'mount', wrong: (sb) => when(sb.rextsize * sb.blocksize < MIN_REALTIME_EXTENT || sb.rextsize * sb.blocksize > MAX_REALTIME_EXTENT, `realtime extents of ${sb.rextsize} blocks are not between 4 KiB and 1 GiB`) },
  { field: 'rextents',     weight: 'mount', wrong: realtime('rextents', (sb) => Math.floor(sb.rblocks / sb.rextsize)) },
  { field: 'rextslog',     weight: 'mount', wrong: realtime('rextslog', (sb) => Math.max(0, Math.floor(Math.log2(sb.rextents)))) },
  { field: 'rbmblocks',    weight: 'mount', wrong: realtime('rbmblocks', (sb) => has(sb, 'metadir') ? undefined : Math.ceil(sb.rextents / (8 * sb.blocksize))) },
  { field: 'frextents',    weight: 'mount', wrong: (sb) => when(sb.rblocks === 0 && sb.frextents !== 0, `${sb.frextents} free realtime extents without a realtime section`) },
  { field: 'unit',         weight: 'mount', wrong: (sb) => when(has(sb, 'dalign') !== (sb.unit !== 0), `stripe unit ${sb.unit} ${has(sb, 'dalign') ? 'with' : 'without'} the dalign bit`) },
  { field: 'width',        weight: 'mount', wrong: (sb) => when(sb.unit === 0 ? sb.width !== 0 : sb.width === 0 || sb.width % sb.unit !== 0, `stripe width ${sb.width} with a stripe unit of ${sb.unit}`) },
  { field: 'logsectsize',  weight: 'mount', wrong: (sb) => when(has(sb, 'sector') ? sb.logsectlog < 9 || sb.logsectlog > 15 || sb.logsectsize !== 2 ** sb.logsectlog : sb.logsectsize !== 0 || sb.logsectlog !== 0, `log sectors of ${sb.logsectsize} bytes (log2 ${sb.logsectlog}) ${has(sb, 'sector') ? 'with' : 'without'} the sector bit`) },
  { field: 'sectsize',     weight: 'fault', wrong: (sb) => when(!has(sb, 'sector') && sb.sectsize !== 512, `sectors of ${sb.sectsize} bytes without the sector bit`) },
  { field: 'logsunit',     weight: 'mount', wrong: (sb) => when(sb.logsunit > 1 && (sb.logsunit % sb.blocksize !== 0 || sb.logsunit > MAX_LOG_UNIT), `log stripe unit of ${sb.logsunit} bytes`) },
  { field: 'logblocks',    weight: 'mount', wrong: (sb) => when(isV5(sb) && sb.logblocks === 0, 'internal log of 0 blocks') },
  { field: 'spino_align',  weight: 'mount', wrong: (sb) => when(isV5(sb) && has(sb, 'sparse') && sb.spino_align !== clusterBlocks(sb), `${sb.spino_align}, expected ${clusterBlocks(sb)}`) },
  { field: 'flags',        weight: 'fault', wrong: (sb) => when(sb.flags !== 0, `${hex(sb.flags)}, expected 0`) },
  { field: 'bad_features2', weight: 'fault', wrong: (sb) => when(isV5(sb) && sb.bad_features2 !== sb.features2, `${hex(sb.bad_features2)}, features2 is ${hex(sb.features2)}`) },
  { field: 'features_compat', weight: 'fault', wrong: (sb) => when(isV5(sb) && sb.features_compat !== 0, `${hex(sb.features_compat)} has unknown bits`) },
  { field: 'features_ro_compat', weight: 'fault', wrong: (sb) => when(isV5(sb) && featuresOf(sb).unknown.features_ro_compat !== 0, `${hex(sb.features_ro_compat)} has unknown bits; the metadata of these features is not checked`) },
]

/**
 * For the primary superblock only: in secondary ones mkfs leaves `inprogress` set and quota clear.
 */
// biome-ignore format: one rule a line
const PRIMARY_RULES: readonly SuperblockRule[] = [
  { field: 'inprogress',   weight: 'mount', wrong: (sb) => when(sb.inprogress !== 0, `${sb.inprogress}: mkfs or growfs did not complete`) },
  { field: 'versionnum',   weight: 'fault', wrong: (sb) => when((sb.versionnum & QUOTA_BIT) !== 0 && !has(sb, 'metadir') && ![sb.uquotino, sb.gquotino, sb.pquotino].some((ino) => ino > 0), 'the quota bit is set, but there is no quota inode') },
]
/**
 * For a secondary superblock that mkfs wrote. growfs copies the primary superblock with its quota
 * and clears `inprogress`.
 */
const quotaOfSecondary = (field: 'uquotino' | 'gquotino' | 'pquotino'): SuperblockRule => ({
  field,
  weight: 'fault',
  wrong: (sb) =>
    when(sb.inprogress !== 0 && !has(sb, 'metadir') && sb[field] !== 0 && sb[field] !== -1, `${sb[field]}`),
})
const SECONDARY_RULES: readonly SuperblockRule[] = [
  quotaOfSecondary('uquotino'),
  quotaOfSecondary('gquotino'),
  quotaOfSecondary('pquotino'),
  {
    field: 'qflags',
    weight: 'fault',
    wrong: (sb) => when(sb.inprogress !== 0 && !has(sb, 'metadir') && sb.qflags !== 0, hex(sb.qflags)),
  },
  { field: 'imax_pct', weight: 'fault', wrong: (sb) => when(sb.imax_pct > 100, `${sb.imax_pct} percent`) },
]

/** All faults of the superblock, in the order of the table. */
export function superblockFaults(sb: Superblock, which: 'primary' | 'secondary'): SuperblockFault[] {
  const faults: SuperblockFault[] = []
  for (const { field, weight, wrong } of [...(which === 'primary' ? PRIMARY_RULES : SECONDARY_RULES), ...RULES]) {
    const message = wrong(sb)
    if (message !== undefined) faults.push({ field, weight, message })
  }
  return faults
}

/**
 * The first field that is not zero although the superblock's features do not define it: padding, or
 * a field of a feature that it does not have.
 */
export function undefinedField(view: DataView, sb: Superblock): string | undefined {
  const features = featuresOf(sb)
  const isUndefined = ({ zero, since }: Field<unknown>): boolean =>
    zero === true || (since !== undefined && !features.has(since as Feature))
  return Superblock.list.find((field) => isUndefined(field) && !isZero(field, view, 0))?.name
}
