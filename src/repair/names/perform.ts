import { removeAttr, setAttr } from '../../attr/attr.ts'
import { emptyAttrFork } from '../../attr/shortform.ts'
import { insertEntry, lookup, replaceEntry } from '../../dir/dir.ts'
import { DOTDOT } from '../../dir/read.ts'
import { writeShort } from '../../dir/shortform.ts'
import { XfsError } from '../../errors.ts'
import { AttrFlags, buildParentRec } from '../../format/attr.ts'
import { MAX_FILE_BLOCKS } from '../../format/btrecs.ts'
import { FILE_TYPES, FORK_FORMATS } from '../../format/dinode.ts'
import { FileTypes, fileTypeOfMode } from '../../format/dir.ts'
import {
  editInode,
  forkBytes,
  forkFormat,
  hasAttrFork,
  type Inode,
  openInode,
  setForkFormat,
  updateInode,
} from '../../inode/inode.ts'
import { removeUnlinked } from '../../inode/unlinked.ts'
import { unmapRange } from '../../mapping/bmap.ts'
import { extents } from '../../mapping/extents.ts'
import { createIn } from '../../namespace/namespace.ts'
import { dropInode, finishRemoval } from '../../namespace/remove.ts'
import { writeSymlink } from '../../symlink.ts'
import { type Transaction, withTransaction } from '../../tx/transaction.ts'
import type { Volume } from '../../volume.ts'
import type { FoundAttr } from '../salvage/attributes.ts'
import type { FoundEntry } from '../salvage/found.ts'
import type { NameStep, Pointer } from './step.ts'

/**
 * Carry out a step. Each is one transaction, or several where a directory or an attribute fork is
 * larger than the log permits.
 * @throws XfsError NOSPC, CORRUPT
 */
export function perform(volume: Volume, step: NameStep): void {
  const inode = (tx: Transaction): Inode => openInode(volume, step.ino, tx)
  switch (step.step) {
    case 'directory':
      writeDirectory(volume, step)
      break
    case 'attributes':
      writeAttributes(volume, step.ino, step.attrs)
      break
    case 'symlink':
      withTransaction(volume, (tx) => rewriteSymlink(tx, inode(tx), step.target))
      break
    case 'discard':
      discard(volume, step.ino)
      break
    case 'connect':
      withTransaction(volume, (tx) => connect(tx, inode(tx), step))
      break
    case 'parent':
      withTransaction(volume, (tx) => void replaceEntry(tx, inode(tx), DOTDOT, step.parent, FileTypes.directory))
      break
    case 'links':
      withTransaction(volume, (tx) => setLinks(tx, inode(tx), step.nlink))
      break
    case 'pointers':
      withTransaction(volume, (tx) => setPointers(tx, inode(tx), step.remove, step.add))
      break
  }
}

function writeDirectory(volume: Volume, { ino, parent, entries }: NameStep & { readonly step: 'directory' }): void {
  inParts(volume, ino, entries, {
    first: (tx, dir) => {
      emptyDataFork(tx, dir)
      setForkFormat(tx, dir, 'data', FORK_FORMATS.local)
      writeShort(tx, dir, { parent, entries: [] })
    },
    each: (tx, dir, { name, ino: target, ftype }: FoundEntry) => insertEntry(tx, dir, name, target, ftype),
  })
}

function writeAttributes(volume: Volume, ino: number, attrs: readonly FoundAttr[]): void {
  inParts(volume, ino, attrs, {
    first: (tx, inode) => {
      if (!hasAttrFork(inode)) return
      invalidate(tx, inode, 'attr')
      unmapRange(tx, inode, 'attr', 0, MAX_FILE_BLOCKS)
      emptyAttrFork(tx, inode)
    },
    each: (tx, inode, { value, ...key }: FoundAttr) => {
      const isParent = key.space === AttrFlags.parent
      setAttr(tx, inode, isParent ? { ...key, value } : key, value, 'create')
    },
  })
}

interface Parts<Item> {
  first(tx: Transaction, inode: Inode): void
  each(tx: Transaction, inode: Inode, item: Item): void
}

/** Write the parts of an inode, in as few transactions as possible. */
function inParts<Item>(volume: Volume, ino: number, items: readonly Item[], { first, each }: Parts<Item>): void {
  for (let next = 0, begun = false; !begun || next < items.length; begun = true) {
    withTransaction(volume, (tx) => {
      if (!begun) first(tx, openInode(volume, ino, tx))
      while (next < items.length && !tx.full) each(tx, openInode(volume, ino, tx), items[next++] as Item)
    })
  }
}

/** Free all blocks of the data fork; its content in the inode is erased. */
function emptyDataFork(tx: Transaction, inode: Inode): void {
  if (forkFormat(inode, 'data') !== FORK_FORMATS.local) {
    invalidate(tx, inode, 'data')
    unmapRange(tx, inode, 'data', 0, MAX_FILE_BLOCKS)
  }
  editInode(tx, inode)
  forkBytes(inode, 'data').fill(0)
}

/** Blocks that are freed must not be written from the cache. */
function invalidate(tx: Transaction, inode: Inode, fork: 'data' | 'attr'): void {
  const { geometry } = inode.volume
  for (const { startblock, blockcount } of extents(inode, fork, 0, tx))
    for (let i = 0; i < blockcount; i++) tx.invalidate(geometry.fsbToDaddr(startblock + i))
}

function rewriteSymlink(tx: Transaction, inode: Inode, target: Uint8Array): void {
  emptyDataFork(tx, inode)
  setForkFormat(tx, inode, 'data', FORK_FORMATS.extents)
  writeSymlink(tx, inode, target)
}

function discard(volume: Volume, ino: number): void {
  const more = withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    updateInode(tx, inode, { nlink: 0 })
    return dropInode(tx, inode)
  })
  if (more) finishRemoval(volume, ino)
}

/** Links, ".." aside, and parent pointers are set afterwards. */
function connect(
  tx: Transaction,
  inode: Inode,
  { dir: into, name, replace }: NameStep & { readonly step: 'connect' },
): void {
  const dir = into === undefined ? lostAndFound(tx) : openInode(tx.volume, into, tx)
  const type = fileTypeOfMode(inode.mode)
  if (replace) replaceEntry(tx, dir, name, inode.ino, type)
  else insertEntry(tx, dir, freeName(tx, dir, name), inode.ino, type)
  if (inode.isDirectory) replaceEntry(tx, inode, DOTDOT, dir.ino, FileTypes.directory)
}

/** The directory for disconnected files, in the root directory; made if it does not exist. */
function lostAndFound(tx: Transaction): Inode {
  const { volume } = tx
  const root = openInode(volume, volume.geometry.sb.rootino, tx)
  for (let i = 0; ; i++) {
    const name = encoder.encode(i === 0 ? 'lost+found' : `lost+found.${i}`)
    const found = lookup(root, name, tx)
    if (!found) return createIn(tx, root, name, FILE_TYPES.dir | 0o755)
    const inode = openInode(volume, found.ino, tx)
    if (inode.isDirectory) return inode
  }
}
const encoder = new TextEncoder()

/** The name, or if it exists, the name with a number. */
function freeName(tx: Transaction, dir: Inode, name: Uint8Array): Uint8Array {
  for (let i = 0; ; i++) {
    const tried = i === 0 ? name : Uint8Array.of(...name, ...encoder.encode(`.${i}`))
    if (!lookup(dir, tried, tx)) return tried
  }
}

function setLinks(tx: Transaction, inode: Inode, nlink: number): void {
  if (inode.nlink === 0) {
    try {
      removeUnlinked(tx, inode)
    } catch (error) {
      // It is on no list.
      if (!(error instanceof XfsError) || error.code !== 'CORRUPT') throw error
    }
  }
  updateInode(tx, inode, { nlink })
}

function setPointers(tx: Transaction, inode: Inode, remove: readonly Pointer[], add: readonly Pointer[]): void {
  const keyOf = ({ ino, gen, name }: Pointer) => {
    const value = buildParentRec({ inumber: ino, gen })
    return { space: AttrFlags.parent, name, value }
  }
  for (const pointer of remove) removeAttr(tx, inode, keyOf(pointer))
  for (const pointer of add) setAttr(tx, inode, keyOf(pointer), keyOf(pointer).value, 'create')
}
