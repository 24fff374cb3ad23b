import { emptyAgi, encodeAgf, encodeAgfl, encodeAgi } from '../ag/ag.ts'
import type { BtreeOps } from '../btree/ops.ts'
import { initBlock } from '../btree/path.ts'
import { type TreeRecord, treeOps } from '../btree/treeops.ts'
import type { Device } from '../device/device.ts'
import { AG_SECTORS, Agf, Agfl, Agi } from '../format/ag.ts'
import { AttrFlags } from '../format/attr.ts'
import { buildAttrSf } from '../format/attrentries.ts'
import { ShortBlock } from '../format/btblock.ts'
import type { InobtRec } from '../format/btrecs.ts'
import { DIFLAGS, Dinode, FILE_TYPES, FORK_FORMATS, INODES_PER_CHUNK } from '../format/dinode.ts'
import { buildSf } from '../format/dirshortform.ts'
import { featureBits } from '../format/features.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import {
  LOG_CYCLE_SIZE,
  LOG_RECORD_MAGIC,
  LogClients,
  LogFormats,
  LogOp,
  LogOpFlags,
  LogRecord,
  logHeaderBlocks,
  UNMOUNT_MAGIC,
  UnmountRecord,
} from '../format/log.ts'
import { encodeFreeInode, encodeNewInode, type InodeValues } from '../format/newinode.ts'
import { SB_MAGIC, Superblock } from '../format/sb.ts'
import type { FieldTable, Struct } from '../format/struct.ts'
import { encodeTime, type Timestamp } from '../format/time.ts'
import type { AgTreeName } from '../format/trees.ts'
import { crc32cExcept } from '../util/crc32c.ts'
import { viewOf } from '../util/view.ts'
import { FIRST_INODES, type MkfsPlan, type NewAg, planAg } from './geometry.ts'

/**
 * Write a planned filesystem to a device: one write per AG, the first inodes, the first record of
 * the log, and at the end the primary superblock. So an interrupted run does not leave anything
 * that looks like a filesystem.
 *
 * Ranges that mkfs.xfs fills with zeros (both ends of the device, the log) are passed to
 * `device.zero`: in a new file they stay holes.
 */
interface Identity {
  readonly time: Timestamp
  /** Those of the realtime bitmap and summary; that of the root directory is 0. */
  readonly generations: readonly [number, number]
  /** That of the unused inodes in the same chunk. */
  readonly unusedGeneration: number
}

/** Signatures of other filesystems and of RAID members are in this many bytes at both ends. */
const WIPED = 128 * 1024
/** Identifies a log record as written by mkfs. */
const MKFS_TRANSACTION = 0xb0c0d0d0

export function writeFilesystem(device: Device, plan: MkfsPlan, identity: Identity): void {
  const { geometry } = plan
  const { agcount, blocksize, agblocks, sectsize } = geometry
  wipe(device, plan)
  // The old superblock is overwritten before anything else is written, and the new one after
  // everything else.
  device.flush()

  const copies = { plain: superblockCopy(plan, -1), rooted: superblockCopy(plan, geometry.sb.rootino) }
  // The first AG that most others are equal to: not AG 0, and not the one with the log.
  const usual = plan.logAgno === 1 ? 2 : 1
  const ordinary = agcount > usual ? agBytes(plan, usual, planAg(plan, usual)) : undefined
  for (let agno = 0; agno < agcount; agno++) {
    const special = agno === 0 || agno === plan.logAgno || agno === agcount - 1
    const ag = special ? planAg(plan, agno) : undefined
    const bytes = ag ? agBytes(plan, agno, ag) : (ordinary as Uint8Array)
    if (agno > 0) bytes.set(hasRoot(agno, agcount) ? copies.rooted : copies.plain)
    address(bytes, plan, agno)
    const start = agno * agblocks * blocksize
    device.write(agno > 0 ? bytes : bytes.subarray(sectsize), agno > 0 ? start : sectsize)
    if (ag?.chunk) device.write(firstInodes(plan, identity), start + ag.chunk.startblock * blocksize)
  }
  const logStart = (plan.logAgno * agblocks + plan.logAgbno) * blocksize
  device.write(logRecord(geometry), logStart)
  device.flush()
  device.write(sealed(Superblock, geometry.sb, sectsize), 0)
  device.flush()
}

/** The secondary superblocks that have the root inode: the last and the middle one. */
const hasRoot = (agno: number, agcount: number): boolean =>
  agno === agcount - 1 || (agcount > 2 && agno === Math.floor((agcount - 1) / 2))

/** Zero everything that old content could be mistaken for, beginning with the superblock. */
function wipe(device: Device, plan: MkfsPlan): void {
  const { geometry, logAgno, logAgbno } = plan
  const { blocksize, agblocks, sectsize } = geometry
  const old = oldSuperblocks(device)
  device.zero(0, Math.min(WIPED, device.size))
  device.zero(Math.max(0, device.size - WIPED), Math.min(WIPED, device.size))
  for (const position of old) device.zero(position, Math.min(sectsize, device.size - position))
  device.zero((logAgno * agblocks + logAgbno) * blocksize, geometry.sb.logblocks * blocksize)
}

const MAX_OLD_COPIES = 65536

/** The superblocks of an earlier XFS filesystem: xfs_repair would find them. */
function oldSuperblocks(device: Device): number[] {
  const bytes = new Uint8Array(BASIC_BLOCK)
  device.read(bytes, 0)
  const { magicnum, blocksize, agblocks, agcount, blocklog, dblocks } = Superblock.decode(new DataView(bytes.buffer))
  if (magicnum !== SB_MAGIC || blocksize !== 2 ** blocklog || blocklog < 9 || blocklog > 16) return []
  if (agblocks === 0 || Math.ceil(dblocks / agblocks) !== agcount) return []
  const positions: number[] = []
  for (let agno = 1; agno < Math.min(agcount, MAX_OLD_COPIES); agno++) {
    const position = agno * agblocks * blocksize
    if (position < device.size) positions.push(position)
  }
  return positions
}

/** Write the checksum of the structure `type` in `size` bytes at `at`. */
function seal(type: Struct<FieldTable>, bytes: Uint8Array, at: number, size: number): void {
  const crc = type.fields['crc']
  if (!crc) throw new Error(`${type.name} has no checksum`)
  crc.set(viewOf(bytes), at, crc32cExcept(bytes.subarray(at, at + size), crc.offset))
}

function sealed(type: typeof Superblock, record: Superblock, size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  type.encode(viewOf(bytes), 0, record)
  seal(type, bytes, 0, size)
  return bytes
}

/**
 * A secondary superblock: the superblock before the first inodes were created, permanently marked
 * as unfinished.
 */
function superblockCopy({ geometry, firstFreeBlocks }: MkfsPlan, rootino: number): Uint8Array {
  const { sb, features } = geometry
  const copy: Superblock = {
    ...sb,
    versionnum: features.has('parent') ? sb.versionnum : sb.versionnum & ~featureBits.attr.bit,
    rootino,
    rbmino: -1,
    rsumino: -1,
    inprogress: 1,
    icount: 0,
    ifree: 0,
    fdblocks: firstFreeBlocks,
  }
  return sealed(Superblock, copy, geometry.sectsize)
}

/**
 * Headers and roots of an AG, without checksums. Those of another AG of the same length only differ
 * in the fields that `address` sets.
 */
function agBytes(plan: MkfsPlan, agno: number, ag: NewAg): Uint8Array {
  const { geometry, roots } = plan
  const { sb, sectsize, blocksize } = geometry
  const bytes = new Uint8Array(plan.fixedBlocks * blocksize)
  const view = viewOf(bytes)
  const inodes = ag.chunk ? ag.chunk.blockcount * sb.inopblock : 0
  const trees = (Object.keys(roots) as AgTreeName[]).map((name) => ({
    name,
    root: roots[name] as number,
    levels: 1,
    blocks: 1,
  }))
  encodeAgf(view, AG_SECTORS.agf * sectsize, geometry, agno, {
    trees,
    freeblks: ag.free.reduce((sum, { blockcount }) => sum + blockcount, 0),
    longest: Math.max(0, ...ag.free.map(({ blockcount }) => blockcount)),
    // The first slot stays empty: an empty list has first 1, last 0.
    agfl: { first: 1, last: ag.agfl.length, count: ag.agfl.length },
  })
  const agi = AG_SECTORS.agi * sectsize
  emptyAgi(view, agi)
  encodeAgi(view, agi, geometry, agno, {
    trees,
    inodes,
    freeInodes: ag.chunk ? inodes - FIRST_INODES : 0,
    ...(ag.chunk && { newino: ag.chunk.startblock * sb.inopblock }),
  })
  encodeAgfl(view, AG_SECTORS.agfl * sectsize, geometry, agno, ag.agfl, 1)

  const chunks = chunkRecords(geometry, ag)
  const records: { readonly [N in AgTreeName]: readonly TreeRecord<N>[] } = {
    bnobt: ag.free,
    cntbt: [...ag.free].sort((a, b) => a.blockcount - b.blockcount || a.startblock - b.startblock),
    inobt: chunks,
    finobt: chunks,
    rmapbt: ag.rmaps.map((rmap) => ({ ...NO_FORK, ...rmap })),
    refcountbt: [],
  }
  for (const { name, root } of trees) {
    const block = viewOf(bytes.subarray(root * blocksize, (root + 1) * blocksize))
    writeLeaf(block, treeOps[name] as BtreeOps<unknown, unknown>, geometry, agno, root, records[name])
  }
  return bytes
}

/** For blocks that do not belong to a file. */
const NO_FORK = { attrfork: 0, bmbtblock: 0, extentflag: 0, offset: 0 }

/** Write a tree that is a single leaf. */
function writeLeaf(
  view: DataView,
  ops: BtreeOps<unknown, unknown>,
  geometry: Geometry,
  agno: number,
  agbno: number,
  records: readonly unknown[],
): void {
  initBlock(view, { ops, geometry, owner: agno }, 0, records.length, geometry.daddr(agno, agbno))
  records.forEach((record, i) => {
    ops.writeRec(view, geometry.shortHeader + i * ops.recSize, record)
  })
}

/** The inode records of the first chunk, 64 inodes each. */
function chunkRecords({ sb, features }: Geometry, { chunk }: NewAg): InobtRec[] {
  if (!chunk) return []
  const first = chunk.startblock * sb.inopblock
  return Array.from({ length: (chunk.blockcount * sb.inopblock) / INODES_PER_CHUNK }, (_, i) => ({
    startino: first + i * INODES_PER_CHUNK,
    holemask: 0,
    count: features.has('sparse') ? INODES_PER_CHUNK : 0,
    freecount: INODES_PER_CHUNK - (i === 0 ? FIRST_INODES : 0),
    free: { hi: 0xffffffff, lo: (i === 0 ? 0xffffffff - (2 ** FIRST_INODES - 1) : 0xffffffff) >>> 0 },
  }))
}

/** Set the number of this AG in headers and roots, and write their checksums. */
function address(bytes: Uint8Array, { geometry, roots }: MkfsPlan, agno: number): void {
  const { sectsize, blocksize } = geometry
  const view = viewOf(bytes)
  const headers = [Agf, Agi, Agfl] as const
  headers.forEach((type, i) => {
    const at = (i + 1) * sectsize
    type.fields.seqno.set(view, at, agno)
    seal(type, bytes, at, sectsize)
  })
  for (const agbno of Object.values(roots)) {
    const at = agbno * blocksize
    ShortBlock.fields.bno.set(view, at, geometry.daddr(agno, agbno))
    ShortBlock.fields.owner.set(view, at, agno)
    seal(ShortBlock, bytes, at, blocksize)
  }
}

const MODE_DIRECTORY = 0o040755
const AUTOFSCK = 'xfs:autofsck'
const MIN_ATTR_FORK = 4 + 2 * 16

/** The first chunk: root directory, realtime bitmap and summary, and unused inodes. */
function firstInodes({ geometry, autofsck }: MkfsPlan, identity: Identity): Uint8Array {
  const { sb, features, inodesize, coresize } = geometry
  const bytes = new Uint8Array(sb.icount * inodesize)
  const view = viewOf(bytes)
  const bigtime = features.has('bigtime')
  const now = encodeTime(identity.time, bigtime)
  const attrs = autofsck
    ? buildAttrSf([{ flags: AttrFlags.root, name: latin1(AUTOFSCK), value: latin1(autofsck) }])
    : undefined
  // The attribute fork has the minimum size, the data fork the rest.
  const forkoff = attrs ? Math.floor((inodesize - coresize - MIN_ATTR_FORK) / 8) : 0
  const directory = buildSf(sb.rootino, [])
  const used = { atime: now, mtime: now, ctime: now, crtime: now, change_count: 2 }
  const file = { ...used, mode: FILE_TYPES.reg }
  const first: InodeValues[] = [
    {
      ...used,
      mode: MODE_DIRECTORY,
      format: FORK_FORMATS.local,
      nlink: 2,
      size: directory.length,
      ...(attrs && { forkoff, aformat: FORK_FORMATS.local, change_count: 4 }),
    },
    // Its access time is the number of the next extent to allocate.
    {
      ...file,
      gen: identity.generations[0],
      flags: DIFLAGS.newrtbm,
      atime: encodeTime({ seconds: 0, nanoseconds: 0 }, bigtime),
    },
    { ...file, gen: identity.generations[1] },
  ]
  for (let i = 0; i < sb.icount; i++) {
    const at = i * inodesize
    const values = first[i]
    if (values) encodeNewInode(view, at, geometry, { inumber: sb.rootino + i, ...values })
    else encodeFreeInode(view, at, geometry, sb.rootino + i, identity.unusedGeneration)
    if (i === 0) {
      bytes.set(directory, coresize)
      if (attrs) bytes.set(attrs, coresize + forkoff * 8)
    }
    seal(Dinode, bytes, at, inodesize)
  }
  return bytes
}

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0))

/**
 * The single record of a clean new log: an unmount operation in cycle 1. The record is as long as
 * the log's stripe unit. The first word of each block after the headers is the cycle; the header
 * has the replaced words.
 */
function logRecord({ sb }: Geometry): Uint8Array {
  const stripe = sb.logsunit > 1 ? sb.logsunit : 0
  const size = Math.max(stripe, LOG_CYCLE_SIZE)
  const headers = logHeaderBlocks(size)
  const length = Math.max(2 * BASIC_BLOCK, stripe)
  const bytes = new Uint8Array(length)
  const view = viewOf(bytes)
  const start = { cycle: 1, block: 0 }
  for (let at = BASIC_BLOCK; at < length; at += BASIC_BLOCK) view.setUint32(at, start.cycle)
  LogRecord.encode(view, 0, {
    magicno: LOG_RECORD_MAGIC,
    cycle: start.cycle,
    version: 2,
    len: length - headers * BASIC_BLOCK,
    lsn: start,
    tail_lsn: start,
    prev_block: 0xffffffff,
    num_logops: 1,
    cycle_data: [MKFS_TRANSACTION],
    fmt: LogFormats.little,
    fs_uuid: sb.uuid,
    size,
  })
  // The transaction ID is the first word of its block, so it is in the header.
  const operation = headers * BASIC_BLOCK
  LogOp.encode(view, operation, { len: UnmountRecord.little.size, clientid: LogClients.log, flags: LogOpFlags.unmount })
  UnmountRecord.little.encode(view, operation + LogOp.size, { magic: UNMOUNT_MAGIC })
  return bytes
}
