import { featureBits } from '../../src/format/features.ts'
import { geometryOf } from '../../src/format/geometry.ts'
import { SB_MAGIC, Superblock } from '../../src/format/sb.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { stamp } from '../../src/format/verify/stamp.ts'

/** The first sector of a volume of one AG with all features that have trees. */
export function stampSuperblock(blocksize: number, agblocks: number): Uint8Array {
  const bytes = new Uint8Array(512)
  const view = new DataView(bytes.buffer)
  const log = (value: number): number => Math.ceil(Math.log2(value))
  const bits = featureBits
  const features2 = bits.crc.bit | bits.attr2.bit | bits.lazysbcount.bit | bits.projid32.bit
  Superblock.encode(view, 0, {
    ...Superblock.decode(view, 0),
    magicnum: SB_MAGIC,
    blocksize,
    dblocks: agblocks,
    uuid: '11223344-5566-7788-99aa-bbccddeeff00',
    rootino: 128,
    rextsize: Math.max(1, 4096 / blocksize),
    logblocks: 16,
    logstart: 64,
    agblocks,
    agcount: 1,
    versionnum: 0xb4a5,
    sectsize: 512,
    sectlog: 9,
    inodesize: 512,
    inodelog: 9,
    inopblock: blocksize / 512,
    inopblog: log(blocksize) - 9,
    blocklog: log(blocksize),
    agblklog: log(agblocks),
    inoalignmt: (64 * 512) / blocksize,
    spino_align: Math.max(1, 16384 / blocksize),
    features2,
    bad_features2: features2,
    features_ro_compat: 0xf,
    features_incompat: bits.ftype.bit | bits.sparse.bit | bits.bigtime.bit,
  })
  stamp(blockTypes.sb, view, { geometry: geometryOf(Superblock.decode(view, 0)), daddr: 0 })
  return bytes
}
