import { NULLAGINO } from '../ag.ts'
import { BmdrBlock } from '../btblock.ts'
import { BmbtRec, MAX_BMBT_EXTLEN } from '../btrecs.ts'
import { DIFLAGS, DIFLAGS2, DINODE_MAGIC, Dinode, FILE_TYPES, FORK_FORMATS, flags2Of, S_IFMT } from '../dinode.ts'
import { fileTypeOfMode } from '../dir.ts'
import { type ForkShape, forkShape } from '../forkshape.ts'
import type { Geometry } from '../geometry.ts'
import { MAX_EXTENTS, maxLevels, rootMaxRecords } from '../treesizes.ts'
import { type BlockType, blocks, type Fault, fault, hex, placesOf } from './blocktype.ts'
import { unitCrc, uuidFault } from './units.ts'

/** Blocks of inodes, and single inodes: their cores and forks. */

const { fields } = Dinode
const { magics, magic, crcOffset } = placesOf(Dinode)

/**
 * A block of inodes: checks only that each is an inode. The inodes are verified one by one, with
 * `verifyInode`, so that a bad inode does not affect the others.
 */
export const inodes: BlockType = {
  name: 'inodes',
  magics,
  magicsV4: magics,
  ...(magic && { magic }),
  ...(crcOffset !== undefined && { crcOffset }),
  fits: blocks,
  unit: (geometry) => geometry.inodesize,
  unitCrc: false,
  rulesV4: true,
  rules: (view, { geometry, daddr }, at) => {
    const version = fields.version.get(view, at)
    if (geometry.features.version === 5 ? version !== 3 : version !== 1 && version !== 2) {
      return fault('core.version', `inode ${at / geometry.inodesize} of the block has version ${version}`)
    }
    const next = fields.next_unlinked.get(view, at)
    if (next !== NULLAGINO && !geometry.validAgbno(geometry.daddrToAgno(daddr), geometry.aginoAgbno(next))) {
      return fault(
        'next_unlinked',
        `inode ${at / geometry.inodesize} of the block points to agino ${next}, out of range for the AG`,
      )
    }
    return undefined
  },
}

/**
 * Verify one inode of a block that passed as `blockTypes.inodes`: magic, checksum, own number,
 * UUID, sizes, formats and counts.
 *
 * @param at       its offset in the view
 * @param inumber  its expected number
 */
export function verifyInode(view: DataView, at: number, inumber: number, geometry: Geometry): Fault | undefined {
  const { inodesize } = geometry
  if (at < 0 || at + inodesize > view.byteLength) return { message: `no inode at ${at} in ${view.byteLength} bytes` }
  const magic = fields.magic.get(view, at)
  if (magic !== DINODE_MAGIC) return fault('core.magic', `magic number ${hex(magic)}, expected ${hex(DINODE_MAGIC)}`)
  if (geometry.features.version === 5) {
    const bad = unitCrc(view, at, inodesize, fields.crc.offset)
    if (bad) return bad
  }
  return verifyInodeFields(view, at, inumber, geometry)
}

/** The checks of `verifyInode` except magic number and checksum. */
export function verifyInodeFields(view: DataView, at: number, inumber: number, geometry: Geometry): Fault | undefined {
  const { features } = geometry
  const v5 = features.version === 5
  const version = fields.version.get(view, at)
  if (v5 ? version !== 3 : version !== 1 && version !== 2) return fault('core.version', `version ${version}`)
  if (v5) {
    const own = fields.inumber.get(view, at)
    if (own !== inumber) return fault('v3.inumber', `inode ${own}, expected ${inumber}`)
    const uuid = uuidFault(view, at + fields.uuid.offset, geometry)
    if (uuid) return { ...uuid, field: 'v3.uuid' }
  }
  const mode = fields.mode.get(view, at)
  const kind = mode & S_IFMT
  const size = fields.size.get(view, at)
  const nblocks = fields.nblocks.get(view, at)
  const shape = forkShape(view, at, geometry)
  if (size < 0) return fault('core.size', `size ${size}`)
  if (mode !== 0 && fileTypeOfMode(mode) === 0) return fault('core.mode', `mode 0${mode.toString(8)} has no file type`)
  if ((kind === FILE_TYPES.lnk || kind === FILE_TYPES.dir) && size === 0)
    return fault('core.size', 'directory or symbolic link of size 0')
  if (v5) {
    const wide = (flags2Of(view, at) & DIFLAGS2.nrext64) !== 0
    if (wide && !features.has('nrext64')) return fault('v3.nrext64', 'set without the feature')
    if (wide && fields.anextents.get(view, at) !== 0) return fault('core.nrext64_pad', 'not zero')
    if (!wide && fields.big_nextents.get(view, at) !== 0) return fault('core.v3_pad', 'not zero')
  }
  const { nextents, anextents } = shape
  if (nextents < 0 || nblocks < 0) return fault('core.nextents', `${nextents} extents in ${nblocks} blocks`)
  if (mode !== 0 && nextents + anextents > nblocks)
    return fault('core.nblocks', `${nextents} + ${anextents} extents in ${nblocks} blocks`)
  if (nextents + anextents === 0 && nblocks !== 0) return fault('core.nblocks', `${nblocks} blocks without an extent`)
  return forkRules(view, at, geometry, kind, size, shape) ?? hintRules(view, at, geometry, mode)
}

function forkRules(
  view: DataView,
  at: number,
  geometry: Geometry,
  kind: number,
  size: number,
  shape: ForkShape,
): Fault | undefined {
  const format = fields.format.get(view, at)
  const aformat = fields.aformat.get(view, at)
  const forkoff = fields.forkoff.get(view, at)
  const space = geometry.inodesize - geometry.coresize
  if (forkoff !== 0) {
    if (format === FORK_FORMATS.dev ? forkoff !== 1 : forkoff * 8 >= space)
      return fault('core.forkoff', `${forkoff} with format ${format}`)
  }
  const metadata = (flags2Of(view, at) & DIFLAGS2.metadata) !== 0 && geometry.features.has('metadir')
  if (kind === FILE_TYPES.reg || kind === FILE_TYPES.dir || kind === FILE_TYPES.lnk) {
    // A target becomes remote when attributes need its space, and stays remote.
    const short = kind === FILE_TYPES.lnk && format === FORK_FORMATS.extents
    if (kind !== FILE_TYPES.reg && !short && (format === FORK_FORMATS.local) !== size <= shape.dataSize) {
      return fault('core.format', `format ${format} with ${size} bytes in a fork of ${shape.dataSize}`)
    }
    if (kind === FILE_TYPES.reg && format === FORK_FORMATS.local)
      return fault('core.format', 'regular file in local format')
    if (!(metadata && format === FORK_FORMATS.metabtree)) {
      const fork = { at: at + geometry.coresize, size: shape.dataSize, format, extents: shape.nextents }
      const bad = oneFork(view, geometry, fork, DATA_FORK)
      if (bad) return bad
    }
  } else if (kind !== 0 && format !== FORK_FORMATS.dev)
    return fault('core.format', `format ${format} of a device, fifo or socket`)
  if (forkoff !== 0) {
    const start = at + geometry.coresize + forkoff * 8
    const fork = { at: start, size: shape.attrSize, format: aformat, extents: shape.anextents }
    return oneFork(view, geometry, fork, ATTR_FORK)
  }
  if (aformat !== 0 && aformat !== FORK_FORMATS.extents)
    return fault('core.aformat', `format ${aformat} without an attribute fork`)
  return shape.anextents === 0
    ? undefined
    : fault('core.naextents', `${shape.anextents} extents without an attribute fork`)
}

/** Names of the fields that describe a fork. */
const DATA_FORK = { formatField: 'core.format', countField: 'core.nextents', rootField: 'u3.bmbt' } as const
const ATTR_FORK = { formatField: 'core.aformat', countField: 'core.naextents', rootField: 'a.bmbt' } as const

/** A fork: its offset in the view, size, format and extent count. */
interface ForkFields {
  readonly at: number
  readonly size: number
  readonly format: number
  readonly extents: number
}

function oneFork(
  view: DataView,
  geometry: Geometry,
  { at, size, format, extents }: ForkFields,
  { formatField, countField, rootField }: typeof DATA_FORK | typeof ATTR_FORK,
): Fault | undefined {
  if (format === FORK_FORMATS.local)
    return extents === 0 ? undefined : fault(countField, `${extents} extents in a local fork`)
  if (format === FORK_FORMATS.extents) {
    return extents <= Math.floor(size / BmbtRec.size)
      ? undefined
      : fault(countField, `${extents} extents in a fork of ${size} bytes`)
  }
  if (format !== FORK_FORMATS.btree) return fault(formatField, `format ${format}`)
  if (extents > MAX_EXTENTS) return fault(countField, `${extents} extents`)
  const most = rootMaxRecords(size)
  const level = size < BmdrBlock.size ? 0 : BmdrBlock.fields.level.get(view, at)
  const numrecs = size < BmdrBlock.size ? 0 : BmdrBlock.fields.numrecs.get(view, at)
  if (numrecs < 1 || numrecs > most)
    return fault(`${rootField}.numrecs`, numrecs < 1 ? 'zero' : `${numrecs} exceeds maximum ${most}`)
  const levels = maxLevels(geometry, 'bmbt')
  return level >= 1 && level < levels
    ? undefined
    : fault(`${rootField}.level`, `level ${level}, expected 1 to ${levels - 1}`)
}

/** Flags and extent size hints that are not allowed for this type of file. */
function hintRules(view: DataView, at: number, geometry: Geometry, mode: number): Fault | undefined {
  const { features } = geometry
  const kind = mode & S_IFMT
  const flags = fields.flags.get(view, at)
  const extsize = fields.extsize.get(view, at)
  const hint = (flags & DIFLAGS.extsize) !== 0
  const inherit = (flags & DIFLAGS.extszinherit) !== 0
  if (hint && kind !== FILE_TYPES.reg) return fault('core.extsz', 'set, but not a regular file')
  if (inherit && kind !== FILE_TYPES.dir) return fault('core.extszinherit', 'set, but not a directory')
  if ((hint || inherit) && extsize === 0) return fault('core.extsize', 'zero, but its flag is set')
  if (mode !== 0 && !hint && !inherit && extsize !== 0)
    return fault('core.extsize', `${extsize}, but its flag is not set`)
  if (extsize > MAX_BMBT_EXTLEN) return fault('core.extsize', `${extsize} exceeds the maximum extent length`)
  if (features.version !== 5) return undefined
  const flags2 = flags2Of(view, at)
  const cowextsize = fields.cowextsize.get(view, at)
  const cowHint = (flags2 & DIFLAGS2.cowextsize) !== 0
  if ((flags2 & (DIFLAGS2.reflink | DIFLAGS2.cowextsize)) !== 0 && !features.has('reflink'))
    return fault('v3.reflink', 'set without the feature')
  if ((flags2 & DIFLAGS2.reflink) !== 0 && kind !== FILE_TYPES.reg)
    return fault('v3.reflink', 'set, but not a regular file')
  if (cowHint && kind !== FILE_TYPES.reg && kind !== FILE_TYPES.dir)
    return fault('v3.cowextsz', 'set, but not a regular file or directory')
  if (cowHint && cowextsize === 0) return fault('v3.cowextsize', 'zero, but its flag is set')
  if (mode !== 0 && !cowHint && cowextsize !== 0 && !features.has('zoned'))
    return fault('v3.cowextsize', `${cowextsize}, but its flag is not set`)
  return (flags2 & DIFLAGS2.bigtime) !== 0 && !features.has('bigtime')
    ? fault('v3.bigtime', 'set without the feature')
    : undefined
}
