import { viewOf } from '../util/view.ts'
import type { Device } from './device.ts'

/**
 * Identify the content of a device by magic numbers: filesystems and their members, partition
 * tables, and files of other formats. The first two kinds have the names that blkid prints.
 *
 * Source: the magic numbers that util-linux documents for libblkid, and the formats' own documents.
 */
interface Signature {
  readonly kind: 'filesystem' | 'partition table' | 'file'
  readonly type: string
}

interface Magic {
  readonly type: string
  /** Byte offsets; negative ones are relative to the end of the last complete sector. */
  readonly at: readonly number[]
  /** Bytes as chars. */
  readonly magic: string
  /** For short magic numbers: true if the rest of the superblock is plausible. */
  readonly sane?: (read: Read, at: number) => boolean
}

/** `length` bytes at `at`, fewer at the end of the device. */
type Read = (at: number, length: number) => DataView

const KIB = 1024
const swapAreas = [4096, 8192, 16384, 32768, 65536].map((page) => page - 10)
const lvmLabels = [0, 512, 1024, 1536].map((sector) => sector + 24)
const ufsPlaces = [0, 8, 64, 256].map((kib) => kib * KIB + 0x55c)
/** Six variants of UFS: 1, with long fast-link areas, long names, security, 4 GB, and 2. */
const ufsMagics = [0x011954, 0x195612, 0x095014, 0x612195, 0x05231994, 0x19540119]
const firstSectors = Array.from({ length: 512 }, (_, sector) => sector * 512)
const promiseSectors = [16, 63, 255, 256, 399, 591, 675, 735, 911, 951, 974, 991, 3087]
const descriptors = Array.from({ length: 16 }, (_, sector) => 32 * KIB + sector * 2048 + 1)

// biome-ignore format: a table
const filesystems: readonly Magic[] = [
  { type: 'xfs', at: [0], magic: 'XFSB' },
  { type: 'btrfs', at: [64 * KIB + 0x40], magic: '_BHRfS_M' },
  { type: 'ntfs', at: [3], magic: 'NTFS    ' },
  { type: 'exfat', at: [3], magic: 'EXFAT   ' },
  { type: 'ReFS', at: [0], magic: '\0\0\0ReFS\0' },
  { type: 'BitLocker', at: [3], magic: '-FVE-FS-' },
  { type: 'BitLocker', at: [3], magic: 'MSWIN4.1', sane: (read) => holds(read(0x1a8, 4), '\x3b\xd6\x67\x49') },
  { type: 'vfat', at: [0x52], magic: 'FAT32   ' },
  { type: 'vfat', at: [0x52], magic: 'MSWIN' },
  { type: 'vfat', at: [0x36], magic: 'FAT16   ' },
  { type: 'vfat', at: [0x36], magic: 'FAT12   ' },
  { type: 'vfat', at: [0x36], magic: 'FAT     ' },
  { type: 'vfat', at: [0x36], magic: 'MSDOS' },
  { type: 'vfat', at: [0x1fe], magic: '\x55\xaa', sane: isFat },
  { type: 'swap', at: swapAreas, magic: 'SWAPSPACE2' },
  { type: 'swap', at: swapAreas, magic: 'SWAP-SPACE' },
  { type: 'swsuspend', at: swapAreas, magic: 'S1SUSPEND' },
  { type: 'swsuspend', at: swapAreas, magic: 'S2SUSPEND' },
  { type: 'swsuspend', at: swapAreas, magic: 'ULSUSPEND' },
  { type: 'swsuspend', at: swapAreas, magic: 'LINHIB0001' },
  { type: 'swsuspend', at: [0], magic: '\xed\xc3\x02\xe9\x98\x56\xe5\x0c' },
  { type: 'crypto_LUKS', at: [0], magic: 'LUKS\xba\xbe' },
  { type: 'crypto_LUKS', at: [16, 32, 64, 128, 256, 512, 1024, 2048, 4096].map((kib) => kib * KIB), magic: 'SKUL\xba\xbe' },
  { type: 'LVM2_member', at: lvmLabels, magic: 'LVM2 001' },
  { type: 'LVM1_member', at: [0], magic: 'HM', sane: (read) => [1, 2].includes(u16(read, 2)) },
  { type: 'DM_snapshot_cow', at: [0], magic: 'SnAp' },
  { type: 'DM_verity_hash', at: [0], magic: 'verity\0\0' },
  { type: 'DM_integrity', at: [0], magic: 'integrt\0' },
  { type: 'stratis', at: [516, 9 * 512 + 4], magic: '!Stra0tis\x86\xff\x02^\x41rh' },
  { type: 'vdo', at: [0], magic: 'dmvdo001' },
  { type: 'linux_raid_member', at: [0, 4096], magic: '\xfc\x4e\x2b\xa9' },
  { type: 'isw_raid_member', at: [-1024, -8192], magic: 'Intel Raid ISM Cfg Sig. ' },
  { type: 'ddf_raid_member', at: [-512, -257 * 512], magic: '\xde\x11\xde\x11' },
  { type: 'lsi_mega_raid_member', at: [-512], magic: '$XIDE$' },
  { type: 'via_raid_member', at: [-512], magic: '\x55\xaa', sane: isVia },
  { type: 'silicon_medley_raid_member', at: [-512 + 0x60], magic: '\0\0\0\x2f', sane: isSilicon },
  { type: 'nvidia_raid_member', at: [-1024], magic: 'NVIDIA  ' },
  { type: 'promise_fasttrack_raid_member', at: promiseSectors.map((sector) => -sector * 512), magic: 'Promise Technology, Inc.' },
  { type: 'hpt45x_raid_member', at: [-11 * 512], magic: '\xf3\x16\x78\x5a' },
  { type: 'hpt45x_raid_member', at: [-11 * 512], magic: '\xfd\x16\x78\x5a' },
  { type: 'hpt37x_raid_member', at: [9 * 512 + 32], magic: '\xf0\x16\x78\x5a' },
  { type: 'hpt37x_raid_member', at: [9 * 512 + 32], magic: '\xfd\x16\x78\x5a' },
  { type: 'adaptec_raid_member', at: [-512], magic: '\x37\xfc\x4d\x1e' },
  { type: 'jmicron_raid_member', at: [-512], magic: 'JM', sane: isJmicron },
  { type: 'drbd', at: [-4096 + 60], magic: '\x83\x74\x02\x6b', sane: isDrbd },
  { type: 'drbd', at: [-4096 + 60], magic: '\x83\x74\x02\x6c', sane: isDrbd },
  { type: 'drbd', at: [-4096 + 60], magic: '\x83\x74\x02\x6d', sane: isDrbd },
  { type: 'drbdmanage_control_volume', at: [0], magic: '$DRBDmgr=q' },
  { type: 'drbdproxy_datalog', at: [0], magic: 'DRBDdlh*' },
  { type: 'bcache', at: [4120], magic: '\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81' },
  { type: 'bcachefs', at: [4120, 2 ** 21 + 24, -(2 ** 20) + 24], magic: '\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef' },
  { type: 'f2fs', at: [1024], magic: '\x10\x20\xf5\xf2' },
  { type: 'erofs', at: [1024], magic: '\xe2\xe1\xf5\xe0' },
  { type: 'squashfs3', at: [0], magic: 'hsqs', sane: (read) => [1, 2, 3].includes(u16(read, 28)) },
  { type: 'squashfs', at: [0], magic: 'hsqs' },
  { type: 'squashfs3', at: [0], magic: 'sqsh' },
  { type: 'cramfs', at: [0], magic: '\x45\x3d\xcd\x28' },
  { type: 'cramfs', at: [0], magic: '\x28\xcd\x3d\x45' },
  { type: 'romfs', at: [0], magic: '-rom1fs-' },
  { type: 'bfs', at: [0], magic: '\xce\xfa\xad\x1b' },
  { type: 'minix', at: [1040], magic: '\x7f\x13', sane: isMinix('LE', 1) },
  { type: 'minix', at: [1040], magic: '\x8f\x13', sane: isMinix('LE', 1) },
  { type: 'minix', at: [1040], magic: '\x68\x24', sane: isMinix('LE', 2) },
  { type: 'minix', at: [1040], magic: '\x78\x24', sane: isMinix('LE', 2) },
  { type: 'minix', at: [1048], magic: '\x5a\x4d', sane: isMinix('LE', 3) },
  { type: 'minix', at: [1040], magic: '\x13\x7f', sane: isMinix('BE', 1) },
  { type: 'minix', at: [1040], magic: '\x13\x8f', sane: isMinix('BE', 1) },
  { type: 'minix', at: [1040], magic: '\x24\x68', sane: isMinix('BE', 2) },
  { type: 'minix', at: [1040], magic: '\x24\x78', sane: isMinix('BE', 2) },
  { type: 'minix', at: [1048], magic: '\x4d\x5a', sane: isMinix('BE', 3) },
  { type: 'iso9660', at: [32 * KIB + 1], magic: 'CD001' },
  { type: 'iso9660', at: [32 * KIB + 9], magic: 'CDROM' },
  { type: 'udf', at: descriptors, magic: 'NSR02' },
  { type: 'udf', at: descriptors, magic: 'NSR03' },
  { type: 'hfsplus', at: [1024], magic: 'H+', sane: isHfsPlus },
  { type: 'hfsplus', at: [1024], magic: 'HX', sane: isHfsPlus },
  { type: 'hfs', at: [1024], magic: 'BD', sane: isHfs },
  { type: 'apfs', at: [32], magic: 'NXSB' },
  { type: 'befs', at: [32, 544], magic: '1SFB' },
  { type: 'befs', at: [32, 544], magic: 'BFS1' },
  { type: 'jfs', at: [32 * KIB], magic: 'JFS1' },
  { type: 'gfs', at: [64 * KIB], magic: '\x01\x16\x19\x70', sane: (read, at) => u16(read, at + 26) === 0x1d05 },
  { type: 'gfs2', at: [64 * KIB], magic: '\x01\x16\x19\x70' },
  { type: 'reiserfs', at: [8 * KIB + 20, 8 * KIB + 0x34, 64 * KIB + 0x34], magic: 'ReIsErFs' },
  { type: 'reiserfs', at: [64 * KIB + 0x34], magic: 'ReIsEr2Fs' },
  { type: 'reiserfs', at: [64 * KIB + 0x34], magic: 'ReIsEr3Fs' },
  { type: 'reiser4', at: [64 * KIB], magic: 'ReIsEr4' },
  { type: 'nilfs2', at: [1030, -4096 + 6], magic: '\x34\x34', sane: isNilfs2 },
  { type: 'ocfs2', at: [1, 2, 4, 8].map((kib) => kib * KIB), magic: 'OCFSV2' },
  { type: 'ocfs', at: [8 * KIB], magic: 'OracleCFS' },
  { type: 'oracleasm', at: [32], magic: 'ORCLDISK' },
  { type: 'hpfs', at: [8 * KIB], magic: '\x49\xe8\x95\xf9' },
  ...ufsMagics.flatMap((magic) => bothOrders(magic).map((bytes) => ({ type: 'ufs', at: ufsPlaces, magic: bytes }))),
  { type: 'sysv', at: [0, 9, 15, 18].map((kib) => kib * KIB + 512 + 504), magic: '\x20\x7e\x18\xfd' },
  { type: 'sysv', at: [0, 9, 15, 18].map((kib) => kib * KIB + 512 + 504), magic: '\xfd\x18\x7e\x20' },
  ...bothOrders(0x2b5544).map((bytes) => ({ type: 'xenix', at: [1024 + 0x3f8], magic: bytes })),
  { type: 'xenix', at: [2048], magic: '\x2b\x55\x44' },
  { type: 'xenix', at: [2048], magic: '\x44\x55\x2b' },
  { type: 'vxfs', at: [1024], magic: '\xf5\xfc\x01\xa5' },
  { type: 'vxfs', at: [8 * KIB], magic: '\xa5\x01\xfc\xf5' },
  { type: 'nss', at: [4096], magic: 'SPB5' },
  { type: 'ubi', at: [0], magic: 'UBI#' },
  { type: 'ubifs', at: [0], magic: '\x31\x18\x10\x06' },
  { type: 'VMFS_volume_member', at: [2 ** 20], magic: '\x0d\xd0\x01\xc0' },
  { type: 'VMFS', at: [2 * 2 ** 20], magic: '\x5e\xf1\xab\x2f' },
  { type: 'zonefs', at: [0], magic: 'SFOZ' },
  { type: 'ceph_bluestore', at: [0], magic: 'bluestore block device' },
  { type: 'exfs', at: [0], magic: 'EXFS' },
  { type: 'mpool', at: [0], magic: 'mpoolDev' },
  { type: 'cs_fvault2', at: [88], magic: 'CS', sane: isCoreStorage },
  { type: 'xfs_external_log', at: firstSectors, magic: '\xfe\xed\xba\xbe', sane: isLogRecord },
]

// biome-ignore format: a table
const files: readonly Magic[] = [
  { type: 'qcow2 disk image', at: [0], magic: 'QFI\xfb' },
  { type: 'VMDK disk image', at: [0], magic: 'KDMV' },
  { type: 'VMDK descriptor', at: [0], magic: '# Disk DescriptorFile' },
  { type: 'VDI disk image', at: [0x40], magic: '\x7f\x10\xda\xbe' },
  { type: 'VHDX disk image', at: [0], magic: 'vhdxfile' },
  { type: 'VHD disk image', at: [0, -512], magic: 'conectix' },
  { type: 'XFS metadump (version 1)', at: [0], magic: 'XFSM' },
  { type: 'XFS metadump (version 2)', at: [0], magic: 'XMD2' },
  { type: 'gzip file', at: [0], magic: '\x1f\x8b' },
  { type: 'zstd file', at: [0], magic: '\x28\xb5\x2f\xfd' },
  { type: 'xz file', at: [0], magic: '\xfd7zXZ\0' },
  { type: 'bzip2 file', at: [0], magic: 'BZh' },
  { type: 'zip file', at: [0], magic: 'PK\x03\x04' },
  { type: 'tar archive', at: [257], magic: 'ustar' },
]

const EXT_MAGIC_AT = 0x438
/** Read at once: it contains most of the signatures. */
const FRONT = 256 * KIB

/** The first signature found, or undefined. */
export function findSignature(device: Device): Signature | undefined {
  if (device.size < 512) return undefined
  const read = reader(device)
  const type =
    match(filesystems, read, device.size) ?? extType(read) ?? raidType(read, device.size) ?? zfsType(read, device.size)
  if (type) return { kind: 'filesystem', type }
  const table = partitionTable(read, device.size)
  if (table) return { kind: 'partition table', type: table }
  const file = match(files, read, device.size)
  return file ? { kind: 'file', type: file } : undefined
}

/** A description: "an ext4 filesystem", "a gpt partition table", "a gzip file". */
export function describeSignature({ kind, type }: Signature): string {
  const article = /^([aeio]|hfs|hpfs|nt|xf|XFS|LVM1|LVM2|VMFS)/.test(type) ? 'an' : 'a'
  return `${article} ${type}${kind === 'file' ? '' : ` ${kind}`}`
}

function reader(device: Device): Read {
  const fill = (at: number, length: number): DataView => {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, device.size - at)))
    if (bytes.length > 0) device.read(bytes, at)
    return viewOf(bytes)
  }
  const front = fill(0, FRONT)
  return (at, length) => {
    if (at < 0) return new DataView(new ArrayBuffer(0))
    return at + length <= front.byteLength ? new DataView(front.buffer, at, length) : fill(at, length)
  }
}

function match(table: readonly Magic[], read: Read, size: number): string | undefined {
  const found = table.find(({ at, magic, sane }) =>
    at.some((place) => {
      const start = place < 0 ? size - (size % 512) + place : place
      if (!holds(read(start, magic.length), magic)) return false
      return sane === undefined || sane(read, start)
    }),
  )
  return found?.type
}

/** Are these the bytes (as chars) that `view` begins with? */
function holds(view: DataView, chars: string): boolean {
  if (view.byteLength < chars.length) return false
  for (let i = 0; i < chars.length; i++) if (view.getUint8(i) !== chars.charCodeAt(i)) return false
  return true
}

/** Bytes as chars. */
function charsOf(view: DataView, from: number, to: number): string {
  return Array.from({ length: to - from }, (_, i) => String.fromCharCode(view.getUint8(from + i))).join('')
}

const u16 = (read: Read, at: number): number => {
  const view = read(at, 2)
  return view.byteLength < 2 ? 0 : view.getUint16(0, true)
}

const isPowerOfTwo = (value: number): boolean => value >= 1 && (value & (value - 1)) === 0

/** The bytes of a 32-bit number, little-endian and big-endian. */
function bothOrders(value: number): readonly string[] {
  const view = new DataView(new ArrayBuffer(4))
  return [true, false].map((little) => {
    view.setUint32(0, value, little)
    return charsOf(view, 0, 4)
  })
}

/** The sum of the 16-bit little-endian words, modulo 2^16. */
function halfwordSum(view: DataView): number {
  let sum = 0
  for (let at = 0; at + 2 <= view.byteLength; at += 2) sum += view.getUint16(at, true)
  return sum & 0xffff
}

/** The checksum covers the first 50 bytes. */
function isVia(read: Read, at: number): boolean {
  const view = read(at, 51)
  if (view.byteLength < 51) return false
  let sum = 0
  for (let i = 0; i < 50; i++) sum += view.getUint8(i)
  return view.getUint8(2) <= 2 && (sum & 0xff) === view.getUint8(50)
}

function isSilicon(read: Read, at: number): boolean {
  const view = read(at - 0x60, 0x140)
  return view.byteLength === 0x140 && view.getUint8(0x116) < 8 && halfwordSum(view) === 0
}

function isJmicron(read: Read, at: number): boolean {
  const view = read(at, 128)
  return view.byteLength === 128 && halfwordSum(view) <= 1 && view.getUint8(48) <= 5
}

/** One bit of the bitmap covers 4096 bytes. */
function isDrbd(read: Read, at: number): boolean {
  return holds(read(at + 20, 4), '\0\0\x10\0')
}

/** The allocation block is a multiple of a sector. */
function isHfs(read: Read): boolean {
  const size = read(1024 + 20, 4)
  return size.byteLength === 4 && size.getUint32(0) > 0 && size.getUint32(0) % 512 === 0
}

/** The allocation block is a power of two. */
function isHfsPlus(read: Read): boolean {
  const size = read(1024 + 40, 4)
  return size.byteLength === 4 && size.getUint32(0) >= 512 && isPowerOfTwo(size.getUint32(0))
}

/** The sizes of the superblock and of a block are within their limits. */
function isNilfs2(read: Read, at: number): boolean {
  const sb = read(at - 6, 24)
  if (sb.byteLength < 24) return false
  const size = sb.getUint16(8, true)
  return size >= 20 && size <= 1024 && sb.getUint32(20, true) <= 6
}

/** Version 1, checksum of kind 1, a header with key data. */
function isCoreStorage(read: Read, at: number): boolean {
  const sb = read(at - 88, 96)
  return (
    sb.byteLength === 96 &&
    sb.getUint16(8, true) === 1 &&
    sb.getUint16(10, true) === 0x10 &&
    sb.getUint32(90, true) === 1
  )
}

/** The header of a log record: version 1 or 2, and one of three formats. */
function isLogRecord(read: Read, at: number): boolean {
  const header = read(at, 304)
  if (header.byteLength < 304) return false
  const version = header.getUint32(8)
  const format = header.getUint32(300)
  return version >= 1 && version <= 3 && format >= 1 && format <= 3
}

/** A FAT without its name in the boot sector: checks that its parameters are plausible. */
function isFat(read: Read): boolean {
  const boot = read(0, 512)
  if (boot.byteLength < 512) return false
  const sector = boot.getUint16(11, true)
  const media = boot.getUint8(21)
  return (
    sector >= 512 && sector <= 4096 && isPowerOfTwo(sector) && isPowerOfTwo(boot.getUint8(13)) &&
    boot.getUint16(14, true) > 0 && boot.getUint8(16) > 0 && (media === 0xf0 || media >= 0xf8)
  ) // biome-ignore format: one condition
}

/**
 * The magic number has two bytes only; the maps must also have a bit for each inode and each zone.
 */
function isMinix(order: 'LE' | 'BE', version: 1 | 2 | 3): (read: Read) => boolean {
  return (read) => {
    const sb = read(1024, 32)
    if (sb.byteLength < 32) return false
    const word = (at: number): number => sb.getUint16(at, order === 'LE')
    const long = (at: number): number => sb.getUint32(at, order === 'LE')
    const third = version === 3
    const inodes = third ? long(0) : word(0)
    const zones = third ? long(20) : version === 2 ? long(20) : word(2)
    const inodeMaps = word(third ? 6 : 4)
    const zoneMaps = word(third ? 8 : 6)
    const firstZone = word(third ? 10 : 8)
    const blocksize = third ? word(28) : 1024
    if (zones === 0 || firstZone > zones || blocksize < 1024) return false
    return inodeMaps * blocksize * 8 >= inodes + 1 && zoneMaps * blocksize * 8 >= zones - firstZone + 1
  }
}

/** ext2, ext3, ext4 or an external journal, by feature words. */
function extType(read: Read): string | undefined {
  const sb = read(1024, 256)
  if (sb.byteLength < 256 || sb.getUint16(EXT_MAGIC_AT - 1024, true) !== 0xef53) return undefined
  const compat = sb.getUint32(0x5c, true)
  const incompat = sb.getUint32(0x60, true)
  const readOnlyCompat = sb.getUint32(0x64, true)
  if ((incompat & 0x08) !== 0) return 'jbd'
  if ((incompat & ~0x16) !== 0 || (readOnlyCompat & ~0x07) !== 0) return 'ext4'
  return (compat & 0x04) !== 0 ? 'ext3' : 'ext2'
}

/** Members of md arrays that keep their superblock at the end (versions 0.90 and 1.0). */
function raidType(read: Read, size: number): string | undefined {
  const places = [Math.floor(size / 65536) * 65536 - 65536, Math.floor((size / 512 - 16) / 8) * 8 * 512]
  const magics = bothOrders(0xa92b4efc)
  return places.some((at) => magics.some((magic) => holds(read(at, 4), magic))) ? 'linux_raid_member' : undefined
}

/** A ZFS label has a ring of uberblocks; several of them must have the magic number. */
function zfsType(read: Read, size: number): string | undefined {
  const label = 256 * KIB
  const last = Math.floor(size / label) * label
  for (const start of [0, label, last - 2 * label, last - label]) {
    const ring = read(start + 128 * KIB, 128 * KIB)
    let found = 0
    for (let at = 0; at + 8 <= ring.byteLength; at += 1024) {
      const [high, low] = [ring.getUint32(at), ring.getUint32(at + 4)]
      if ((high === 0 && low === 0x00bab10c) || (high === 0x0cb1ba00 && low === 0)) found++
    }
    if (found >= 4) return 'zfs_member'
  }
  return undefined
}

function partitionTable(read: Read, size: number): string | undefined {
  const first = read(0, 1024)
  if (first.byteLength < 1024) return undefined
  const isGpt = (at: number): boolean => holds(read(at, 8), 'EFI PART')
  if (isGpt(512) || isGpt(4096) || isGpt(size - 512) || isGpt(size - 4096)) return 'gpt'
  if (holds(first, 'ER') && holds(read(512, 2), 'PM')) return 'mac'
  if (first.getUint32(0) === 0xc9c2d4c1) return 'aix'
  if (first.getUint32(0) === 0x0be5a941 && wordSum(first) === 0) return 'sgi'
  if (first.getUint16(508) === 0xdabe && wordXor(first) === 0) return 'sun'
  const entries = mbrEntries(first)
  if (entries) return entries.some((entry) => first.getUint8(entry + 4) === 0xee) ? 'PMBR' : 'dos'
  if (isAtari(first, size)) return 'atari'
  if (first.getUint32(512, true) === 0x82564557 || first.getUint32(64, true) === 0x82564557) return 'bsd'
  return undefined
}

function wordSum(sector: DataView): number {
  let sum = 0
  for (let at = 0; at < 512; at += 4) sum = (sum + sector.getUint32(at)) >>> 0
  return sum
}

function wordXor(sector: DataView): number {
  let sum = 0
  for (let at = 0; at < 512; at += 2) sum ^= sector.getUint16(at)
  return sum
}

/**
 * The places of the entries of an MBR, if each has a valid boot indicator. Like blkid, this accepts
 * an empty table and does not check sizes.
 */
function mbrEntries(first: DataView): readonly number[] | undefined {
  if (first.getUint16(510, true) !== 0xaa55) return undefined
  const entries = [446, 462, 478, 494]
  return entries.every((entry) => [0, 0x80].includes(first.getUint8(entry))) ? entries : undefined
}

/** An Atari root sector: the disk's size, and an active partition within it. */
function isAtari(first: DataView, size: number): boolean {
  const sectors = first.getUint32(0x1c2)
  if (sectors < 2 || sectors > size / 512) return false
  return [0x1c6, 0x1d2, 0x1de, 0x1ea].some((at) => {
    const start = first.getUint32(at + 4)
    const length = first.getUint32(at + 8)
    const kind = charsOf(first, at + 1, at + 4)
    const active = (first.getUint8(at) & 1) === 1 && /^[0-9A-Za-z]{3}$/.test(kind)
    return active && start > 0 && length > 0 && start + length <= sectors
  })
}
