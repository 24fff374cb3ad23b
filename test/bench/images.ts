import { bulkLoad, planBulk } from '../../src/btree/bulkload.ts'
import { bmbt } from '../../src/btree/trees/bmbt.ts'
import { openFile } from '../../src/device/file.ts'
import type { BmbtRec } from '../../src/format/btrecs.ts'
import { DIFLAGS2, FORK_FORMATS } from '../../src/format/dinode.ts'
import { rootMaxRecords } from '../../src/format/treesizes.ts'
import {
  addBlocks,
  editInode,
  forkSize,
  forkStart,
  openInode,
  setExtentCount,
  setForkFormat,
  updateInode,
} from '../../src/inode/inode.ts'
import { allocateRange } from '../../src/mapping/bmap.ts'
import { extents } from '../../src/mapping/extents.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { createFile, mkdir } from '../../src/namespace/namespace.ts'
import { repair } from '../../src/repair/repair.ts'
import { allocExtent } from '../../src/space/alloc.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'

export const GROUPS = 4
const GIB = 2 ** 30

/**
 * Make an image with `count` shared extents. In each AG every second block of a file is cloned into
 * another file, so each block is an extent, a record of refcountbt and a record of rmapbt. The
 * blocks contain zeros, so the image stays sparse.
 *
 * The extents of the clones are written at once, not mapped one by one. Derived metadata (free
 * space, owners, counts) is left to `repair`.
 */
export function makeSharedImage(image: string, count: number): void {
  mkfsFile(image, { imageSize: 16 * GIB })
  const device = openFile(image, 'rw')
  try {
    const volume = Volume.open(device, { write: true })
    for (let i = 0; i < GROUPS; i++) {
      const folder = `/group${i}`
      mkdir(volume, folder, 0o755)
      const source = mappedFile(volume, `${folder}/source`, (count / GROUPS) * 2)
      const clone = createFile(volume, `${folder}/clone`, 0o644).ino
      layExtents(volume, clone, everySecondBlock([...extents(openInode(volume, source), 'data')]))
    }
    volume.sync()
    repair(device)
  } finally {
    device.close()
  }
}

/** A file of `blocks` blocks that are mapped and marked as written, without writing their bytes. */
function mappedFile(volume: Volume, path: string, blocks: number): number {
  const { ino } = createFile(volume, path, 0o644)
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    allocateRange(tx, inode, 'data', 0, blocks)
    updateInode(tx, inode, {
      size: blocks * volume.geometry.blocksize,
      flags2: (inode.flags2 | DIFLAGS2.reflink) >>> 0,
    })
  })
  return ino
}

const everySecondBlock = (of: readonly BmbtRec[]): BmbtRec[] =>
  of.flatMap((rec) =>
    Array.from({ length: Math.ceil(rec.blockcount / 2) }, (_, i) => ({
      extentflag: 0,
      startoff: rec.startoff + 2 * i,
      startblock: rec.startblock + 2 * i,
      blockcount: 1,
    })),
  )

/**
 * Give an empty file these extents, with a bulk-loaded tree. Owners and counts of the blocks are
 * not recorded.
 */
function layExtents(volume: Volume, ino: number, records: readonly BmbtRec[]): void {
  const { geometry, device } = volume
  const { blocksize } = geometry
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    const view = editInode(tx, inode)
    const at = forkStart(inode, 'data')
    const maxrecs = rootMaxRecords(forkSize(inode, 'data'))
    const { blocks } = planBulk(bmbt, geometry, records.length, { rootMaxrecs: maxrecs })
    const claimed: number[] = []
    while (claimed.length < blocks) {
      const maxLength = blocks - claimed.length
      const { fsbno, length } = allocExtent(tx, {
        near: records[0]?.startblock ?? 0,
        minLength: 1,
        maxLength,
        reserve: 'none',
      })
      for (let i = 0; i < length; i++) claimed.push(fsbno + i)
    }
    bulkLoad(bmbt, {
      geometry,
      owner: ino,
      count: records.length,
      records,
      claim: () => claimed.shift() as number,
      write: (fsbno, bytes) => device.write(bytes, geometry.fsbToDaddr(fsbno) * 512),
      inline: { view, at, maxrecs },
    })
    setForkFormat(tx, inode, 'data', FORK_FORMATS.btree)
    setExtentCount(tx, inode, 'data', records.length)
    addBlocks(tx, inode, records.length + blocks)
    const last = records.at(-1) as BmbtRec
    updateInode(tx, inode, {
      size: (last.startoff + last.blockcount) * blocksize,
      flags2: (inode.flags2 | DIFLAGS2.reflink) >>> 0,
    })
  })
}
