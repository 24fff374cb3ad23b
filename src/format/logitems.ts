import {
  agbno,
  agino,
  agno,
  array,
  bytes,
  daddr,
  extlen,
  fileoff,
  fsbno,
  i8,
  i32,
  i64,
  ino,
  lsn,
  mask64,
  pad,
  u8,
  u16,
  u32,
  u64,
  uuid,
  x16,
  x32,
  x64,
} from './fields.ts'
import { type ByteOrder, type HostStruct, hostOrder } from './hostorder.ts'
import { type Mask64, type Rec, struct } from './struct.ts'

/**
 * Log items: the changes of a transaction. An item is one or more operations. The first operation
 * holds one of the structures below. Its `type` identifies the structure, and its `size` counts the
 * operations. These structures are in the writer's byte order. In the second and later operations,
 * inode cores are as well; fork data, quota records and the body of an inode creation are
 * big-endian.
 *
 * An intent (EFI, RUI, CUI, BUI, ATTRI, XMI) records work to do. A done item (…D) with the same id
 * records that it is finished.
 */

export const LogItemTypes = {
  efi: 0x1236,
  efd: 0x1237,
  iunlink: 0x1238,
  inode: 0x123b,
  buf: 0x123c,
  dquot: 0x123d,
  quotaoff: 0x123e,
  icreate: 0x123f,
  rui: 0x1240,
  rud: 0x1241,
  cui: 0x1242,
  cud: 0x1243,
  bui: 0x1244,
  bud: 0x1245,
  attri: 0x1246,
  attrd: 0x1247,
  xmi: 0x1248,
  xmd: 0x1249,
  efiRt: 0x124a,
  efdRt: 0x124b,
  ruiRt: 0x124c,
  rudRt: 0x124d,
  cuiRt: 0x124e,
  cudRt: 0x124f,
} as const
export type LogItemType = keyof typeof LogItemTypes

// ----------------------------------------------------------------------------------------- buffers

/** Bytes that one bit of the map stands for. */
export const BLF_CHUNK = 128
export const BLF_MAP_WORDS = 17
/** Low bits of `flags`. */
export const BlfFlags = {
  inode: 1 << 0,
  cancel: 1 << 1,
  userQuota: 1 << 2,
  projectQuota: 1 << 3,
  groupQuota: 1 << 4,
} as const
export const BLF_TYPE_SHIFT = 11

/**
 * The upper five bits of `flags`: the type of the block, from which recovery knows the position of
 * its checksum.
 */
export const BlfTypes = {
  unknown: 0,
  userQuota: 1,
  projectQuota: 2,
  groupQuota: 3,
  btree: 4,
  agf: 5,
  agfl: 6,
  agi: 7,
  inodes: 8,
  symlink: 9,
  dirBlock: 10,
  dirData: 11,
  dirFree: 12,
  dirLeaf1: 13,
  dirLeafN: 14,
  daNode: 15,
  attrLeaf: 16,
  attrRemote: 17,
  sb: 18,
  rtbitmap: 19,
  rtsummary: 20,
} as const

// biome-ignore format: one field a line, columns aligned
export const BufLogFormat = hostOrder(struct('buf_log_format', 88, 'xfs_log_format.h: struct xfs_buf_log_format', {
  type:        x16(0, '0x123c'),
  size:        u16(2, 'operations of this item'),
  flags:       x16(4, 'cancelled, inodes, quota; type of the block'),
  len:         u16(6, 'basic blocks of the buffer'),
  blkno:       { ...i64(8, 'basic block of the buffer'), kind: 'daddr' as const },
  map_size:    u32(16, 'words of the map in use'),
  data_map:    array(20, BLF_MAP_WORDS, x32, 'a bit for every 128 bytes: logged; the least significant of a word first'),
}))
export type BufLogFormat = Rec<typeof BufLogFormat.big>

// ------------------------------------------------------------------------------------------ inodes

/** Bits of `fields`: the parts of an inode. The core is always logged. */
export const ILOG_FIELDS = {
  core: 0x001,
  dataLocal: 0x002,
  dataExtents: 0x004,
  dataRoot: 0x008,
  dev: 0x010,
  /** Not written by Linux. */
  uuid: 0x020,
  attrLocal: 0x040,
  attrExtents: 0x080,
  attrRoot: 0x100,
  /** The owner in the blocks of a fork's bmbt changes. */
  dataOwner: 0x200,
  attrOwner: 0x400,
  /** Any part of a fork. */
  dataFork: 0x00e,
  attrFork: 0x1c0,
} as const

// biome-ignore format: one field a line, columns aligned
export const InodeLogFormat = hostOrder(struct('inode_log_format', 56, 'xfs_log_format.h: struct xfs_inode_log_format', {
  type:        x16(0, '0x123b'),
  size:        u16(2, 'operations of this item'),
  fields:      x32(4, 'logged parts of the inode'),
  asize:       u16(8, 'bytes of the attribute fork, not padded'),
  dsize:       u16(10, 'bytes of the data fork, not padded'),
  pad:         pad(12, 4),
  ino:         ino(16, 'inode number'),
  rdev:        x32(24, 'device number of a device node'),
  rdev_pad:    bytes(28, 12, 'unused'),
  blkno:       daddr(40, 'basic block of the buffer that holds the inode'),
  len:         i32(48, 'basic blocks of that buffer'),
  boffset:     i32(52, 'offset of the inode in the buffer, in bytes'),
}))
export type InodeLogFormat = Rec<typeof InodeLogFormat.big>

/** As written by a 32-bit kernel: packed. */
// biome-ignore format: one field a line, columns aligned
export const InodeLogFormat32 = hostOrder(struct('inode_log_format_32', 52, 'xfs_log_format.h: struct xfs_inode_log_format_32', {
  type:        x16(0, '0x123b'),
  size:        u16(2, 'operations of this item'),
  fields:      x32(4, 'logged parts of the inode'),
  asize:       u16(8, 'bytes of the attribute fork, not padded'),
  dsize:       u16(10, 'bytes of the data fork, not padded'),
  ino:         ino(12, 'inode number'),
  rdev:        x32(20, 'device number of a device node'),
  rdev_pad:    bytes(24, 12, 'unused'),
  blkno:       daddr(36, 'basic block of the buffer that holds the inode'),
  len:         i32(44, 'basic blocks of that buffer'),
  boffset:     i32(48, 'offset of the inode in the buffer, in bytes'),
}))

/**
 * An inode core in the log: laid out as on disk, in the writer's byte order. Timestamps are two
 * 32-bit words, or one of 64 bits with bigtime. The halves of `mask64` are swapped with the byte
 * order, so read an old-form time with `legacyTime`.
 */
// biome-ignore format: one field a line, columns aligned
export const LogDinode = hostOrder(struct('log_dinode', 176, 'xfs_log_format.h: struct xfs_log_dinode', {
  magic:        x16(0, '"IN"'),
  mode:         x16(2, 'file type and permissions'),
  version:      i8(4, '3'),
  format:       i8(5, 'how the data fork is stored'),
  onlink:       u16(6, 'zero; the metadata type of a metadir inode'),
  uid:          u32(8, 'owner'),
  gid:          u32(12, 'group'),
  nlink:        u32(16, 'links'),
  projid_lo:    u16(20, 'project id, low half'),
  projid_hi:    u16(22, 'project id, high half'),
  big_nextents: u64(24, 'extents of the data fork (nrext64)'),
  atime:        mask64(32, 'last access'),
  mtime:        mask64(40, 'last change of content'),
  ctime:        mask64(48, 'last change of the inode'),
  fsize:        i64(56, 'bytes of the file'),
  nblocks:      u64(64, 'blocks of both forks'),
  extsize:      extlen(72, 'extent size hint in blocks'),
  nextents:     u32(76, 'extents of the data fork; of the attribute fork with nrext64'),
  anextents:    u16(80, 'extents of the attribute fork; zero with nrext64'),
  forkoff:      u8(82, 'start of the attribute fork after the core, in 8 bytes'),
  aformat:      i8(83, 'how the attribute fork is stored'),
  dmevmask:     u32(84, 'unused'),
  dmstate:      u16(88, 'unused'),
  flags:        x16(90, 'flags'),
  gen:          u32(92, 'generation'),
  next_unlinked: agino(96, 'next inode of the unlinked list, not used by recovery'),
  crc:          x32(100, 'not valid in the log'),
  changecount:  u64(104, 'changes of the inode'),
  lsn:          lsn(112, 'not valid in the log'),
  flags2:       mask64(120, 'more flags'),
  cowextsize:   extlen(128, 'extent size hint of copy-on-write'),
  pad2:         pad(132, 12),
  crtime:       mask64(144, 'creation'),
  inumber:      ino(152, 'inode number'),
  uuid:         uuid(160, 'UUID of the filesystem'),
}))
export type LogDinode = Rec<typeof LogDinode.big>

/** An old-form time of an inode core in the log, in disk order: seconds, then nanoseconds. */
export const legacyTime = (raw: Mask64, order: ByteOrder): Mask64 =>
  order === 'big' ? raw : { hi: raw.lo, lo: raw.hi }

/**
 * Creation of several inodes. Type and size are in the writer's byte order, the rest is always
 * big-endian.
 */
// biome-ignore format: one field a line, columns aligned
export const IcreateLog = hostOrder(struct('icreate_log', 28, 'xfs_log_format.h: struct xfs_icreate_log', {
  type:        x16(0, '0x123f, in the byte order of the writer'),
  size:        u16(2, 'in the byte order of the writer'),
  ag:          agno(4, 'AG'),
  agbno:       agbno(8, 'first block'),
  count:       u32(12, 'inodes'),
  isize:       u32(16, 'bytes of an inode'),
  length:      extlen(20, 'blocks'),
  gen:         u32(24, 'generation of the inodes'),
}), ['type', 'size'])
export type IcreateLog = Rec<typeof IcreateLog.big>

// ------------------------------------------------------------------------------- intents and dones

/** Extents of EFI and EFD: 12 bytes from 32-bit kernels, 16 from others; see `efiExtentSize`. */
// biome-ignore format: one field a line, columns aligned
export const Extent32 = hostOrder(struct('extent_32', 12, 'xfs_log_format.h: struct xfs_extent_32', {
  start:       fsbno(0, 'first block'),
  len:         extlen(8, 'blocks'),
}))
// biome-ignore format: one field a line, columns aligned
export const Extent64 = hostOrder(struct('extent_64', 16, 'xfs_log_format.h: struct xfs_extent_64', {
  start:       fsbno(0, 'first block'),
  len:         extlen(8, 'blocks'),
  pad:         pad(12, 4),
}))

const intentHeader = (name: string, source: string, type: number): HostStruct<IntentTable> =>
  hostOrder(struct(name, 16, source, intentTable(type)))
type IntentTable = ReturnType<typeof intentTable>
const intentTable = (type: number) => ({
  type: { ...x16(0, 'item type'), magic: type },
  size: u16(2, '1'),
  nextents: u32(4, 'extents that follow'),
  id: x64(8, 'id, the same as in the done item'),
})

const doneHeader = (name: string, source: string, type: number): HostStruct<DoneTable> =>
  hostOrder(struct(name, 16, source, doneTable(type)))
type DoneTable = ReturnType<typeof doneTable>
const doneTable = (type: number) => ({
  type: { ...x16(0, 'item type'), magic: type },
  size: u16(2, '1'),
  pad: pad(4, 4),
  intent_id: x64(8, 'id of the intent that is finished'),
})

/** An intent to free blocks. */
export const EfiLogFormat = intentHeader(
  'efi_log_format',
  'xfs_log_format.h: struct xfs_efi_log_format',
  LogItemTypes.efi,
)
/**
 * Freed blocks. Its extents follow as in the EFI. Other done items have padding in place of
 * `nextents`.
 */
// biome-ignore format: one field a line, columns aligned
export const EfdLogFormat = hostOrder(struct('efd_log_format', 16, 'xfs_log_format.h: struct xfs_efd_log_format', {
  type:        { ...x16(0, 'item type'), magic: LogItemTypes.efd },
  size:        u16(2, '1'),
  nextents:    u32(4, 'extents that follow'),
  intent_id:   x64(8, 'id of the EFI that is finished'),
}))

/**
 * Bytes of an extent in an EFI or EFD of `length` bytes; undefined if the length fits neither form.
 */
export function efiExtentSize(length: number, nextents: number): 12 | 16 | undefined {
  if (length === 16 + 16 * nextents) return 16
  if (length === 16 + 12 * nextents) return 12
  return undefined
}

/** An extent of RUI and BUI. */
// biome-ignore format: one field a line, columns aligned
export const MapExtent = hostOrder(struct('map_extent', 32, 'xfs_log_format.h: struct xfs_map_extent', {
  owner:       i64(0, 'inode, or a special owner'),
  startblock:  fsbno(8, 'first block'),
  startoff:    fileoff(16, 'file offset, in blocks'),
  len:         extlen(24, 'blocks'),
  flags:       x32(28, 'operation; fork, kind and state of the mapping'),
}))
export type MapExtent = Rec<typeof MapExtent.big>

/** Operations of RUI, in the low byte of `flags`. */
export const RmapOps = {
  map: 1,
  mapShared: 2,
  unmap: 3,
  unmapShared: 4,
  convert: 5,
  convertShared: 6,
  alloc: 7,
  free: 8,
} as const
export const RmapFlags = { op: 0xff, unwritten: 1 << 29, bmbtBlock: 1 << 30, attrFork: 1 << 31 } as const

/** `flags` of BUI; `map` and `unmap` are operations. */
export const BmapFlags = {
  op: 0xff,
  map: 1,
  unmap: 2,
  realtime: 1 << 29,
  unwritten: 1 << 30,
  attrFork: 1 << 31,
} as const

export const RuiLogFormat = intentHeader(
  'rui_log_format',
  'xfs_log_format.h: struct xfs_rui_log_format',
  LogItemTypes.rui,
)
export const RudLogFormat = doneHeader(
  'rud_log_format',
  'xfs_log_format.h: struct xfs_rud_log_format',
  LogItemTypes.rud,
)

/** An extent of a CUI. */
// biome-ignore format: one field a line, columns aligned
export const PhysExtent = hostOrder(struct('phys_extent', 16, 'xfs_log_format.h: struct xfs_phys_extent', {
  startblock:  fsbno(0, 'first block'),
  len:         extlen(8, 'blocks'),
  flags:       x32(12, 'operation'),
}))
export type PhysExtent = Rec<typeof PhysExtent.big>

/** Operations of CUI: `flags`. */
export const RefcountOps = { increase: 1, decrease: 2, allocCow: 3, freeCow: 4 } as const

export const CuiLogFormat = intentHeader(
  'cui_log_format',
  'xfs_log_format.h: struct xfs_cui_log_format',
  LogItemTypes.cui,
)
export const CudLogFormat = doneHeader(
  'cud_log_format',
  'xfs_log_format.h: struct xfs_cud_log_format',
  LogItemTypes.cud,
)

export const BuiLogFormat = intentHeader(
  'bui_log_format',
  'xfs_log_format.h: struct xfs_bui_log_format',
  LogItemTypes.bui,
)
export const BudLogFormat = doneHeader(
  'bud_log_format',
  'xfs_log_format.h: struct xfs_bud_log_format',
  LogItemTypes.bud,
)

/** `op_flags` of ATTRI. */
export const AttriOps = { set: 1, remove: 2, replace: 3, parentSet: 4, parentRemove: 5, parentReplace: 6 } as const

/** Names and values follow in separate operations. */
// biome-ignore format: one field a line, columns aligned
export const AttriLogFormat = hostOrder(struct('attri_log_format', 40, 'xfs_log_format.h: struct xfs_attri_log_format', {
  type:        { ...x16(0, 'item type'), magic: LogItemTypes.attri },
  size:        u16(2, 'operations of this item'),
  igen:        u32(4, 'generation of the inode, for parent pointers; else zero'),
  id:          x64(8, 'id, the same as in the done item'),
  ino:         ino(16, 'inode of the attribute'),
  op_flags:    u32(24, 'operation'),
  name_len:    u32(28, 'bytes of the name; of a parent pointer being replaced see AttriLogFormatReplace'),
  value_len:   u32(32, 'bytes of the value'),
  attr_filter: x32(36, 'namespace'),
}))
export type AttriLogFormat = Rec<typeof AttriLogFormat.big>

/** The form for replacing a parent pointer: two names instead of one. */
// biome-ignore format: one field a line, columns aligned
export const AttriLogFormatReplace = hostOrder(struct('attri_log_format_replace', 40, 'xfs_log_format.h: struct xfs_attri_log_format (PPTR_REPLACE)', {
  type:         { ...x16(0, 'item type'), magic: LogItemTypes.attri },
  size:         u16(2, 'operations of this item'),
  igen:         u32(4, 'generation of the inode'),
  id:           x64(8, 'id, the same as in the done item'),
  ino:          ino(16, 'inode of the attribute'),
  op_flags:     u32(24, 'operation'),
  old_name_len: u16(28, 'bytes of the old name'),
  new_name_len: u16(30, 'bytes of the new name'),
  value_len:    u32(32, 'bytes of the value'),
  attr_filter:  x32(36, 'namespace'),
}))
export const AttrdLogFormat = doneHeader(
  'attrd_log_format',
  'xfs_log_format.h: struct xfs_attrd_log_format',
  LogItemTypes.attrd,
)

/** Bits of `flags` of XMI. */
export const XmiFlags = {
  attrFork: 1 << 0,
  setSizes: 1 << 1,
  onlyWritten: 1 << 2,
  clearReflink1: 1 << 3,
  clearReflink2: 1 << 4,
  all: 0x1f,
} as const

/** Exchange the mappings of two files. */
// biome-ignore format: one field a line, columns aligned
export const XmiLogFormat = hostOrder(struct('xmi_log_format', 88, 'xfs_log_format.h: struct xfs_xmi_log_format', {
  type:        { ...x16(0, 'item type'), magic: LogItemTypes.xmi },
  size:        u16(2, '1'),
  pad:         pad(4, 4),
  id:          x64(8, 'id, the same as in the done item'),
  inode1:      ino(16, 'first file'),
  inode2:      ino(24, 'second file'),
  igen1:       u32(32, 'generation of the first'),
  igen2:       u32(36, 'generation of the second'),
  startoff1:   fileoff(40, 'file offset in the first, in blocks'),
  startoff2:   fileoff(48, 'file offset in the second, in blocks'),
  blockcount:  u64(56, 'blocks left to exchange'),
  flags:       x64(64, 'fork and sizes'),
  isize1:      i64(72, 'final size of the first'),
  isize2:      i64(80, 'final size of the second'),
}))
export type XmiLogFormat = Rec<typeof XmiLogFormat.big>
export const XmdLogFormat = doneHeader(
  'xmd_log_format',
  'xfs_log_format.h: struct xfs_xmd_log_format',
  LogItemTypes.xmd,
)

// ------------------------------------------------------------------------------------------ quotas

/** A quota record (disk_dquot, big-endian) follows. */
// biome-ignore format: one field a line, columns aligned
export const DquotLogFormat = hostOrder(struct('dq_logformat', 24, 'xfs_log_format.h: struct xfs_dq_logformat', {
  type:        { ...x16(0, 'item type'), magic: LogItemTypes.dquot },
  size:        u16(2, 'operations of this item'),
  id:          u32(4, 'ID of the user, group or project'),
  blkno:       daddr(8, 'basic block of the buffer that holds the record'),
  len:         i32(16, 'basic blocks of that buffer'),
  boffset:     u32(20, 'offset of the record in the buffer, in bytes'),
}))
export type DquotLogFormat = Rec<typeof DquotLogFormat.big>

/** Quota was switched off: its earlier records are not replayed. */
// biome-ignore format: one field a line, columns aligned
export const QuotaoffLogFormat = hostOrder(struct('qoff_logformat', 20, 'xfs_log_format.h: struct xfs_qoff_logformat', {
  type:        { ...x16(0, 'item type'), magic: LogItemTypes.quotaoff },
  size:        u16(2, '1'),
  flags:       x32(4, 'quota types that were switched off'),
  pad:         pad(8, 12),
}))

// ------------------------------------------------------------------------------------- all of them

interface LogItemRow {
  readonly type: number
  /**
   * The first operation of the item. That of an inode or quotaoff item etc. is in the writer's byte
   * order.
   */
  readonly format: HostStruct
  /** What `format.nextents` counts. */
  readonly extent?: HostStruct
  /** The done item of an intent. */
  readonly done?: LogItemType
}

/** All items by name. EFI and EFD extents may have the 12-byte form: `efiExtentSize`. */
export const logItems: Readonly<Partial<Record<LogItemType, LogItemRow>>> = {
  efi: { type: LogItemTypes.efi, format: EfiLogFormat, extent: Extent64, done: 'efd' },
  efd: { type: LogItemTypes.efd, format: EfdLogFormat, extent: Extent64 },
  inode: { type: LogItemTypes.inode, format: InodeLogFormat },
  buf: { type: LogItemTypes.buf, format: BufLogFormat },
  dquot: { type: LogItemTypes.dquot, format: DquotLogFormat },
  quotaoff: { type: LogItemTypes.quotaoff, format: QuotaoffLogFormat },
  icreate: { type: LogItemTypes.icreate, format: IcreateLog },
  rui: { type: LogItemTypes.rui, format: RuiLogFormat, extent: MapExtent, done: 'rud' },
  rud: { type: LogItemTypes.rud, format: RudLogFormat },
  cui: { type: LogItemTypes.cui, format: CuiLogFormat, extent: PhysExtent, done: 'cud' },
  cud: { type: LogItemTypes.cud, format: CudLogFormat },
  bui: { type: LogItemTypes.bui, format: BuiLogFormat, extent: MapExtent, done: 'bud' },
  bud: { type: LogItemTypes.bud, format: BudLogFormat },
  attri: { type: LogItemTypes.attri, format: AttriLogFormat, done: 'attrd' },
  attrd: { type: LogItemTypes.attrd, format: AttrdLogFormat },
  xmi: { type: LogItemTypes.xmi, format: XmiLogFormat, done: 'xmd' },
  xmd: { type: LogItemTypes.xmd, format: XmdLogFormat },
  efiRt: { type: LogItemTypes.efiRt, format: EfiLogFormat, extent: Extent64, done: 'efdRt' },
  efdRt: { type: LogItemTypes.efdRt, format: EfdLogFormat, extent: Extent64 },
  ruiRt: { type: LogItemTypes.ruiRt, format: RuiLogFormat, extent: MapExtent, done: 'rudRt' },
  rudRt: { type: LogItemTypes.rudRt, format: RudLogFormat },
  cuiRt: { type: LogItemTypes.cuiRt, format: CuiLogFormat, extent: PhysExtent, done: 'cudRt' },
  cudRt: { type: LogItemTypes.cudRt, format: CudLogFormat },
}
