import { AttrLeafMap } from './attr.ts'
import { DaBlkinfo, DIR_BESTFREE_COUNT, DirDataFree } from './dir.ts'
import { array, nested, pad, u8, u16, x32 } from './fields.ts'
import { struct } from './struct.ts'

/**
 * Headers of directory and attribute blocks of V4 filesystems, which have no checksum, owner or
 * address. They are only read. The content after a header is as in V5.
 */

export const DIR2_BLOCK_MAGIC = 0x58443242 // XD2B
export const DIR2_DATA_MAGIC = 0x58443244 // XD2D
export const DIR2_FREE_MAGIC = 0x58443246 // XD2F
export const DIR2_LEAF1_MAGIC = 0xd2f1
export const DIR2_LEAFN_MAGIC = 0xd2ff
export const ATTR_LEAF_MAGIC = 0xfbee
export const DA_NODE_MAGIC = 0xfebe

// biome-ignore format: one field a line, columns aligned
export const Dir2DataHdr = struct('dir2_data_hdr', 16, 'xfs_da_format.h: struct xfs_dir2_data_hdr', {
  magic:     x32(0, 'magic number of the block type'),
  bestfree:  array(4, DIR_BESTFREE_COUNT, (offset, doc) => nested(offset, DirDataFree, doc), 'the three longest free spaces'),
})

// biome-ignore format: one field a line, columns aligned
export const DaNodeHdr = struct('da_node_hdr', 16, 'xfs_da_format.h: struct xfs_da_node_hdr', {
  info:      nested(0, DaBlkinfo, 'siblings and magic'),
  count:     u16(12, 'entries in use'),
  level:     u16(14, 'height above the leaves'),
})

// biome-ignore format: one field a line, columns aligned
export const AttrLeafHdr = struct('attr_leaf_hdr', 32, 'xfs_da_format.h: struct xfs_attr_leaf_hdr', {
  info:      nested(0, DaBlkinfo, 'siblings and magic'),
  count:     u16(12, 'entries'),
  usedbytes: u16(14, 'bytes of names and values'),
  firstused: u16(16, 'offset of the first name; zero for the end of a 64 KiB block'),
  holes:     u8(18, '1 if there are gaps that the free map does not list'),
  pad1:      pad(19, 1),
  freemap:   array(20, 3, (offset, doc) => nested(offset, AttrLeafMap, doc), 'free spaces'),
})
