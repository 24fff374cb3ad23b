import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { type Geometry, geometryOf } from '../format/geometry.ts'
import { SB_MAGIC, Superblock } from '../format/sb.ts'
import { checkSuperblock } from '../format/verify/superblock.ts'
import { voteOfCopies } from '../roots/vote.ts'

/**
 * The geometry of an image that may be damaged. `db` is a tool for damaged images, so it uses the
 * primary superblock if its values make a filesystem. Otherwise it uses a secondary superblock.
 */
interface OpenedImage {
  readonly geometry: Geometry
  /** Faults that were found. */
  readonly complaints: readonly string[]
  /** The exit status of xfs_db when it corrected agcount. */
  readonly exitCode: number
}

/** The superblock has no XFS magic number, and -F was not given. */
export class NotXfs extends Error {
  override readonly name = 'NotXfs'
  readonly magic: number
  constructor(magic: number) {
    super('not an XFS filesystem')
    this.magic = magic
  }
}

/** @throws NotXfs (unless `force`), XfsError if no superblock is usable */
export function openImage(device: Device, { force }: { readonly force: boolean }): OpenedImage {
  if (device.size < Superblock.size) throw new XfsError('IO', `only ${device.size} bytes`)
  const primary = readSuperblock(device, 0)
  if (primary.magicnum !== SB_MAGIC && !force) throw new NotXfs(primary.magicnum)
  const own = usable(primary, device.size)
  if (own)
    return {
      geometry: geometryOf(own.sb),
      complaints: own.complaint ? [own.complaint] : [],
      exitCode: own.complaint ? 1 : 0,
    }
  const fault = checkSuperblock(primary)?.message ?? 'damaged'
  const copy = voteOfCopies(device, primary.magicnum === SB_MAGIC ? primary : undefined, true)
  if (!copy)
    throw new XfsError('CORRUPT', `superblock: ${fault}; there is no sound secondary superblock`, { type: 'sb' })
  const at = copy.agno * copy.sb.agblocks * copy.sb.blocksize
  const complaint = `superblock: ${fault}; using the secondary superblock at byte ${at}`
  return { geometry: geometryOf(copy.sb), complaints: [complaint], exitCode: 1 }
}

function readSuperblock(device: Device, position: number): Superblock {
  const bytes = new Uint8Array(Superblock.size)
  device.read(bytes, position)
  return Superblock.decode(new DataView(bytes.buffer))
}

/**
 * The superblock, if its geometry is valid or can be corrected. Rules that do not concern addresses
 * are ignored.
 */
function usable(found: Superblock, size: number): { sb: Superblock; complaint?: string } | undefined {
  const fits = (sb: Superblock): boolean =>
    checkSuperblock({ ...sb, ...HARMLESS, features_incompat: sb.features_incompat & ~2 }) === undefined
  if (found.magicnum !== SB_MAGIC) return undefined
  if (fits(found)) return { sb: found }
  const groups = Math.ceil(found.dblocks / found.agblocks)
  const counted = { ...found, agcount: groups }
  if (groups * found.agblocks * found.blocksize < size + 2 ** 40 && fits(counted)) {
    return { sb: counted, complaint: `superblock: agcount is ${found.agcount}, but dblocks makes ${groups} AGs` }
  }
  const blocks = Math.floor(size / found.blocksize)
  const measured = { ...found, dblocks: blocks }
  if (found.agcount === Math.ceil(blocks / found.agblocks) && fits(measured)) {
    return { sb: measured, complaint: `superblock: dblocks is ${found.dblocks}, but the image has ${blocks} blocks` }
  }
  return undefined
}

/** Fields that do not affect addresses, with harmless values. */
const HARMLESS = { imax_pct: 0, shared_vn: 0, inoalignmt: 0, logstart: 0, logblocks: 0 }
