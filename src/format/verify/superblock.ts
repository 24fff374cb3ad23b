import { INODES_PER_CHUNK } from '../dinode.ts'
import { SB_MAGIC, Superblock } from '../sb.ts'
import { type BlockType, type Fault, fault, hex, oneSector, placesOf } from './blocktype.ts'

/** Rules that a superblock must obey to open an image with it. */

const MIN_AG_BYTES = 2 ** 24
const MAX_AG_BYTES = 2 ** 40
const MIN_AG_BLOCKS = 64
const MAX_LOG_BLOCKS = 2 ** 20
const isPower = (value: number, log: number, least: number, most: number): boolean =>
  value >= least && value <= most && value === 2 ** log

/** Check the fields that define the geometry. */
export function checkSuperblock(sb: Superblock): Fault | undefined {
  const version = sb.versionnum & 0xf
  if (sb.magicnum !== SB_MAGIC) return fault('magicnum', `magic number ${hex(sb.magicnum)}, expected ${hex(SB_MAGIC)}`)
  if (version !== 4 && version !== 5) return fault('versionnum', `version ${version}, expected 4 or 5`)
  if (!isPower(sb.sectsize, sb.sectlog, 512, 32768)) {
    return fault('sectsize', `sector size ${sb.sectsize} (log2 ${sb.sectlog}) is not a power of two from 512 to 32768`)
  }
  if (!isPower(sb.blocksize, sb.blocklog, version === 5 ? 1024 : 512, 65536)) {
    return fault('blocksize', `block size ${sb.blocksize} (log2 ${sb.blocklog}) is not a power of two up to 65536`)
  }
  if (sb.sectsize > sb.blocksize)
    return fault('sectsize', `sector size ${sb.sectsize} exceeds the block size ${sb.blocksize}`)
  if (sb.blocklog + sb.dirblklog > 16)
    return fault('dirblklog', `directory blocks of 2^${sb.dirblklog} blocks exceed 65536 bytes`)
  if (!isPower(sb.inodesize, sb.inodelog, version === 5 ? 512 : 256, 2048) || sb.inodesize > sb.blocksize) {
    return fault('inodesize', `inode size ${sb.inodesize} (log2 ${sb.inodelog}) is not a power of two up to 2048`)
  }
  if (sb.inopblock !== sb.blocksize / sb.inodesize || sb.inopblog !== sb.blocklog - sb.inodelog) {
    return fault(
      'inopblock',
      `${sb.inopblock} inodes a block (log2 ${sb.inopblog}), expected ${sb.blocksize / sb.inodesize}`,
    )
  }
  const agBytes = sb.agblocks * sb.blocksize
  if (agBytes < MIN_AG_BYTES || agBytes > MAX_AG_BYTES) {
    return fault('agblocks', `AG size of ${sb.agblocks} blocks is not between 16 MiB and 1 TiB`)
  }
  if (sb.agblklog !== Math.ceil(Math.log2(sb.agblocks))) {
    return fault('agblklog', `log2 of the AG size is ${sb.agblklog}, expected ${Math.ceil(Math.log2(sb.agblocks))}`)
  }
  if (sb.agcount < 1) return fault('agcount', '0 AGs')
  if (
    !Number.isSafeInteger(sb.dblocks) ||
    sb.dblocks < MIN_AG_BLOCKS ||
    Math.ceil(sb.dblocks / sb.agblocks) !== sb.agcount
  ) {
    return fault('dblocks', `${sb.dblocks} blocks do not match ${sb.agcount} AGs of ${sb.agblocks} blocks`)
  }
  const last = sb.dblocks - (sb.agcount - 1) * sb.agblocks
  if (last < MIN_AG_BLOCKS) return fault('dblocks', `the last AG has ${last} blocks, minimum ${MIN_AG_BLOCKS}`)
  if (sb.imax_pct > 100) return fault('imax_pct', `${sb.imax_pct} exceeds 100 percent`)
  if (sb.shared_vn !== 0) return fault('shared_vn', `${sb.shared_vn}, expected 0`)
  const sparse = version === 5 && (sb.features_incompat & 2) !== 0
  const chunkBlocks = (INODES_PER_CHUNK * sb.inodesize) / sb.blocksize
  if (sparse && sb.inoalignmt !== Math.floor(chunkBlocks)) {
    return fault(
      'inoalignmt',
      `inode alignment ${sb.inoalignmt}, expected ${Math.floor(chunkBlocks)} with sparse inodes`,
    )
  }
  return checkLogPlace(sb)
}

function checkLogPlace(sb: Superblock): Fault | undefined {
  if (sb.logblocks > MAX_LOG_BLOCKS) return fault('logblocks', `${sb.logblocks} exceeds maximum ${MAX_LOG_BLOCKS}`)
  if (sb.logstart === 0) return undefined // external log
  const agno = Math.floor(sb.logstart / 2 ** sb.agblklog)
  const agbno = sb.logstart % 2 ** sb.agblklog
  const length = agno === sb.agcount - 1 ? sb.dblocks - (sb.agcount - 1) * sb.agblocks : sb.agblocks
  if (sb.logstart < 0 || agno >= sb.agcount || agbno + sb.logblocks > length) {
    return fault('logstart', `log of ${sb.logblocks} blocks at ${agno}/${agbno} is out of range for the AG`)
  }
  return undefined
}

/**
 * The UUID of a superblock is the user-visible one, which can differ from that of the metadata.
 */
const { uuidOffset: _, ...places } = placesOf(Superblock)

export const sb: BlockType = {
  name: 'sb',
  ...places,
  magicsV4: [SB_MAGIC],
  fits: oneSector,
  rules: (view) => checkSuperblock(Superblock.lazy(view)),
  rulesV4: true,
}
