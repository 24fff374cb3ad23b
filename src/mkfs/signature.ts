import type { Device } from '../device/device.ts'

/** What an image already holds, told by the magic numbers of filesystems, containers and partition tables. */
export interface Signature {
  readonly kind: 'filesystem' | 'partition table'
  /** As blkid names it. */
  readonly type: string
}

interface Magic {
  readonly type: string
  readonly at: number
  /** Bytes as chars. */
  readonly magic: string
}

// biome-ignore format: a table
const magics: readonly Magic[] = [
  { type: 'xfs', at: 0, magic: 'XFSB' },
  { type: 'btrfs', at: 0x10040, magic: '_BHRfS_M' },
  { type: 'ntfs', at: 3, magic: 'NTFS    ' },
  { type: 'exfat', at: 3, magic: 'EXFAT   ' },
  { type: 'vfat', at: 0x52, magic: 'FAT32   ' },
  { type: 'vfat', at: 0x36, magic: 'FAT16   ' },
  { type: 'vfat', at: 0x36, magic: 'FAT12   ' },
  { type: 'swap', at: 4086, magic: 'SWAPSPACE2' },
  { type: 'swap', at: 65526, magic: 'SWAPSPACE2' },
  { type: 'crypto_LUKS', at: 0, magic: 'LUKS\xba\xbe' },
  { type: 'LVM2_member', at: 536, magic: 'LVM2 001' },
  { type: 'linux_raid_member', at: 0, magic: '\xfc\x4e\x2b\xa9' },
  { type: 'linux_raid_member', at: 4096, magic: '\xfc\x4e\x2b\xa9' },
  { type: 'bcache', at: 4120, magic: '\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81' },
  { type: 'bcachefs', at: 4120, magic: '\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef' },
  { type: 'f2fs', at: 1024, magic: '\x10\x20\xf5\xf2' },
  { type: 'erofs', at: 1024, magic: '\xe2\xe1\xf5\xe0' },
  { type: 'squashfs', at: 0, magic: 'hsqs' },
  { type: 'iso9660', at: 0x8001, magic: 'CD001' },
  { type: 'jfs', at: 0x8000, magic: 'JFS1' },
  { type: 'gfs2', at: 0x10000, magic: '\x01\x16\x19\x70' },
  { type: 'reiserfs', at: 0x10034, magic: 'ReIsEr' },
  { type: 'nilfs2', at: 1030, magic: '\x34\x34' },
]

const PROBED = 0x11000
const EXT_MAGIC_AT = 0x438

/** The first signature found, or undefined. */
export function findSignature(device: Device): Signature | undefined {
  const bytes = Buffer.alloc(Math.min(PROBED, device.size))
  if (bytes.length < 512) return undefined
  device.read(bytes, 0)
  const found = magics.find(({ at, magic }) => bytes.toString('latin1', at, at + magic.length) === magic)
  if (found) return { kind: 'filesystem', type: found.type }
  if (bytes.length > EXT_MAGIC_AT + 64 && bytes.readUInt16LE(EXT_MAGIC_AT) === 0xef53)
    return { kind: 'filesystem', type: extType(bytes) }
  if (bytes.toString('latin1', 512, 520) === 'EFI PART') return { kind: 'partition table', type: 'gpt' }
  if (hasPartitions(bytes)) return { kind: 'partition table', type: 'dos' }
  return undefined
}

/** ext2, ext3 or ext4, by feature words. */
function extType(bytes: Buffer): string {
  const compat = bytes.readUInt32LE(0x45c)
  const incompat = bytes.readUInt32LE(0x460)
  const readOnlyCompat = bytes.readUInt32LE(0x464)
  if ((incompat & ~0x16) !== 0 || (readOnlyCompat & ~0x07) !== 0) return 'ext4'
  return (compat & 0x04) !== 0 ? 'ext3' : 'ext2'
}

/** An MBR with at least one sound entry, and no entry that is not. */
function hasPartitions(bytes: Buffer): boolean {
  if (bytes.readUInt16LE(510) !== 0xaa55) return false
  const entries = [446, 462, 478, 494].map((at) => ({
    boot: bytes[at],
    type: bytes[at + 4],
    sectors: bytes.readUInt32LE(at + 12),
  }))
  return (
    entries.every(({ boot }) => boot === 0 || boot === 0x80) &&
    entries.some(({ type, sectors }) => type !== 0 && sectors > 0)
  )
}
