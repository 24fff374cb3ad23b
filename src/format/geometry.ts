import { LONG_BLOCK_SIZE_V4, LongBlock, SHORT_BLOCK_SIZE_V4, ShortBlock } from './btblock.ts'
import { DINODE_V2_SIZE, DINODE_V3_SIZE, INODES_PER_CHUNK } from './dinode.ts'
import { type Features, featuresOf } from './features.ts'
import type { Superblock } from './sb.ts'

/**
 * The sizes of a filesystem and the conversions between its addresses:
 *
 *   fsbno = agno << agblklog | agbno          sparse if agblocks is not a power of two
 *   daddr = (agno * agblocks + agbno) * blocksize / 512                           linear
 *   ino   = agno << (agblklog + inopblog) | agbno << inopblog | index
 *
 * Packed addresses are branded types, so that they cannot be confused. They are only created here.
 * No shifts are used: in JS they are limited to 32 bits.
 */
declare const brand: unique symbol
export type Fsbno = number & { readonly [brand]: 'fsbno' }
export type Ino = number & { readonly [brand]: 'ino' }
export type Daddr = number & { readonly [brand]: 'daddr' }

export const BASIC_BLOCK = 512

export interface Geometry {
  readonly sb: Superblock
  readonly features: Features
  readonly blocksize: number
  readonly sectsize: number
  readonly inodesize: number
  readonly inopblock: number
  readonly agblocks: number
  readonly agcount: number
  /** Bytes of a directory block. */
  readonly dirblocksize: number
  /** Blocks of a directory block. */
  readonly dirblocks: number
  /** The UUID in metadata blocks. */
  readonly metaUuid: string
  /** The same as four 32-bit words, for comparing and writing. */
  readonly metaUuidWords: readonly [number, number, number, number]
  /** Bytes of the inode core, which the data fork follows. */
  readonly coresize: number
  /** Bytes of the headers of short and long btree blocks. */
  readonly shortHeader: number
  readonly longHeader: number
  /** Blocks of a full inode chunk (64 inodes), at least 1. */
  readonly chunkBlocks: number
  /** Blocks of AG `agno`: the last may be smaller. */
  agLength(agno: number): number
  fsbno(agno: number, agbno: number): Fsbno
  agnoOf(fsbno: number): number
  agbnoOf(fsbno: number): number
  /** The daddr of a block of an AG. */
  daddr(agno: number, agbno: number): Daddr
  fsbToDaddr(fsbno: number): Daddr
  daddrToAgno(daddr: number): number
  daddrToAgbno(daddr: number): number
  /** The daddr of one of the headers of an AG: sector 0 superblock, 1 AGF, 2 AGI, 3 AGFL. */
  agHeaderDaddr(agno: number, sector: number): Daddr
  ino(agno: number, agino: number): Ino
  inoAgno(ino: number): number
  inoAgino(ino: number): number
  aginoAgbno(agino: number): number
  aginoIndex(agino: number): number
  agbnoToAgino(agbno: number): number
  /** Blocks that hold `bytes`, rounded up. */
  bytesToBlocks(bytes: number): number
  /** True if the block exists, outside of the AG headers. */
  validAgbno(agno: number, agbno: number): boolean
  /** True if the complete range exists, in one AG, outside of its headers. */
  validFsbnoRange(fsbno: number, blockcount: number): boolean
  /** True if this is a possible inode number (in its AG, not in the headers). */
  validIno(ino: number): boolean
  /** Blocks of the four headers of an AG. */
  readonly headerBlocks: number
}

/** @param sb a verified superblock: its values are not checked here. */
export function geometryOf(sb: Superblock): Geometry {
  const features = featuresOf(sb)
  const { blocksize, sectsize, inodesize, agblocks, agcount, inopblock } = sb
  const agScale = 2 ** sb.agblklog
  const inodeScale = 2 ** sb.inopblog
  const aginoScale = agScale * inodeScale
  const perBlock = blocksize / BASIC_BLOCK
  const crc = features.version === 5
  const headerBlocks = Math.ceil((4 * sectsize) / blocksize)
  const agLength = (agno: number): number => (agno === agcount - 1 ? sb.dblocks - agblocks * (agcount - 1) : agblocks)
  const agnoOf = (fsbno: number): number => Math.floor(fsbno / agScale)
  const agbnoOf = (fsbno: number): number => fsbno % agScale
  const daddr = (agno: number, agbno: number): Daddr => ((agno * agblocks + agbno) * perBlock) as Daddr
  const validAgbno = (agno: number, agbno: number): boolean =>
    agno >= 0 && agno < agcount && agbno >= headerBlocks && agbno < agLength(agno)
  const metaUuid = features.has('metauuid') ? sb.meta_uuid : sb.uuid
  const digits = metaUuid.replaceAll('-', '')
  const uuidWord = (i: number): number => Number.parseInt(digits.slice(8 * i, 8 * i + 8), 16)
  return {
    sb, features, blocksize, sectsize, inodesize, inopblock, agblocks, agcount, headerBlocks, agLength, agnoOf, agbnoOf, daddr,
    validAgbno,
    metaUuid,
    metaUuidWords: [uuidWord(0), uuidWord(1), uuidWord(2), uuidWord(3)],
    dirblocksize: blocksize * 2 ** sb.dirblklog,
    dirblocks: 2 ** sb.dirblklog,
    coresize: crc ? DINODE_V3_SIZE : DINODE_V2_SIZE,
    shortHeader: crc ? ShortBlock.size : SHORT_BLOCK_SIZE_V4,
    longHeader: crc ? LongBlock.size : LONG_BLOCK_SIZE_V4,
    chunkBlocks: Math.max(1, INODES_PER_CHUNK / inopblock),
    fsbno: (agno, agbno) => (agno * agScale + agbno) as Fsbno,
    fsbToDaddr: (fsbno) => daddr(agnoOf(fsbno), agbnoOf(fsbno)),
    daddrToAgno: (address) => Math.floor(address / perBlock / agblocks),
    daddrToAgbno: (address) => Math.floor(address / perBlock) % agblocks,
    agHeaderDaddr: (agno, sector) => (agno * agblocks * perBlock + (sector * sectsize) / BASIC_BLOCK) as Daddr,
    ino: (agno, agino) => (agno * aginoScale + agino) as Ino,
    inoAgno: (ino) => Math.floor(ino / aginoScale),
    inoAgino: (ino) => ino % aginoScale,
    aginoAgbno: (agino) => Math.floor(agino / inodeScale),
    aginoIndex: (agino) => agino % inodeScale,
    agbnoToAgino: (agbno) => agbno * inodeScale,
    bytesToBlocks: (bytes) => Math.ceil(bytes / blocksize),
    validFsbnoRange: (fsbno, blockcount) => {
      const agno = agnoOf(fsbno)
      // Not the remainder, which is slow: this runs for every extent.
      const agbno = fsbno - agno * agScale
      return fsbno >= 0 && blockcount > 0 && validAgbno(agno, agbno) && agbno + blockcount <= agLength(agno)
    },
    validIno: (ino) =>
      Number.isSafeInteger(ino) && ino > 0 &&
      validAgbno(Math.floor(ino / aginoScale), Math.floor((ino % aginoScale) / inodeScale)),
  } // biome-ignore format: short where short will do
}
