import { daBlocks, daError, localError, readDaBlock } from '../da/dablock.ts'
import { type DaTree, findPath, isDaNode, leavesFrom } from '../da/datree.ts'
import { hashAt, lastHashOf, lowerBound } from '../da/hashes.ts'
import { XfsError } from '../errors.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import {
  addressToDb,
  addressToOffset,
  blockLeafSpan,
  DIR_LEAF_OFFSET,
  type DirEntry,
  daHash,
  daHashIgnoringCase,
  dataEnd,
  dataEntries,
  dataFtype,
  dataItemSize,
  isBlockForm,
  isDataFree,
  leafSpan,
  type Span,
  sfEntries,
  sfParent,
} from '../format/dir.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { forkFormat, forkStart, type Inode, inodeError } from '../inode/inode.ts'
import { extents } from '../mapping/extents.ts'
import { sameBytes } from '../util/samebytes.ts'
import type { BlockReader } from '../volume.ts'
import { entryIno, entryName, hasOwnTag, nameIs } from './datablock.ts'
import { leafAddress } from './leafentries.ts'
import { v4Entries, v4Parent } from './v4.ts'

/**
 * Directories of every format, for reading. What changes them begins in dir.ts.
 *
 * Names are bytes. `entries` leaves out "." and ".."; `parentOf` is where ".." leads.
 */
export interface Entry {
  readonly ino: number
  /** One of FileTypes; 0 where the filesystem does not keep types. */
  readonly ftype: number
  readonly name: Uint8Array
}

export const DOT = Uint8Array.of(0x2e)
export const DOTDOT = Uint8Array.of(0x2e, 0x2e)

export const isDots = (name: Uint8Array): boolean =>
  name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e))

/** How a filesystem compares and hashes names. */
interface NameRules {
  hash(name: Uint8Array): number
  /** Is the entry at `at` of a data block of this name? */
  isAt(view: DataView, at: number, name: Uint8Array): boolean
  same(a: Uint8Array, b: Uint8Array): boolean
}

const exactRules: NameRules = { hash: daHash, isAt: nameIs, same: sameBytes }
const foldedRules: NameRules = {
  hash: daHashIgnoringCase,
  isAt: (view, at, name) => foldedRules.same(entryName(view, at), name),
  // The hash folds byte by byte: names of one length are the same where each byte folds to the
  // same.
  same: (a, b) => a.length === b.length && a.every((byte, i) => foldByte(byte) === foldByte(b[i] as number)),
}
const foldByte = (byte: number): number => daHashIgnoringCase(Uint8Array.of(byte))

export const nameRules = (dir: Inode): NameRules => (dir.volume.features.has('asciici') ? foldedRules : exactRules)

/** @throws XfsError NOTDIR; CORRUPT where its size cannot be */
export function requireDirectory(inode: Inode): void {
  if (!inode.isDirectory) throw new XfsError('NOTDIR', `inode ${inode.ino} is not a directory`, { ino: inode.ino })
  if (inode.roundedSize > DIR_LEAF_OFFSET)
    throw inodeError(inode.ino, `a directory of ${inode.roundedSize} bytes`, 'size')
}

export const isShortform = (dir: Inode): boolean => forkFormat(dir, 'data') === FORK_FORMATS.local

/** Where the leaves of a directory begin, as a file block. */
export const leafStart = (dir: Inode): number => DIR_LEAF_OFFSET / dir.volume.geometry.blocksize

/** The hash btree of a node form directory. */
export const dirTree = (dir: Inode): DaTree => ({
  inode: dir,
  fork: 'data',
  root: leafStart(dir),
  end: 2 * leafStart(dir),
})

/** The file block of data block `db`. */
export const dataBlockAt = (dir: Inode, db: number): number => db * daBlocks(dir, 'data')

/**
 * The entries but "." and "..", in disk order. Nothing may change the directory meanwhile. @throws
 * XfsError CORRUPT, NOTDIR
 */
export function* entries(dir: Inode, reader: BlockReader = dir.volume): Generator<Entry> {
  requireDirectory(dir)
  for (const { ino, ftype, name } of allEntries(dir, reader)) {
    if (!isDots(name)) yield { ino, ftype, name: name.slice() }
  }
}

/** Also "." and "..", where they are stored. Names are views on the block. */
function* allEntries(dir: Inode, reader: BlockReader): Generator<Entry> {
  if (dir.volume.features.version !== 5) yield* v4Entries(dir, reader)
  else if (isShortform(dir)) yield* shortformEntries(dir)
  else for (const { view } of dataBlocks(dir, reader)) yield* dataEntries(view)
}

function* shortformEntries(dir: Inode): Generator<DirEntry> {
  try {
    yield* sfEntries(dir.view, forkStart(dir, 'data'), dir.roundedSize)
  } catch (error) {
    throw localError(dir, error)
  }
}

/** The data blocks (or the one of block form) that there are, in order. */
export function* dataBlocks(dir: Inode, reader: BlockReader): Generator<{ db: number; view: DataView }> {
  const blocks = daBlocks(dir, 'data')
  const end = Math.min(leafStart(dir), Math.ceil(dir.roundedSize / dir.volume.geometry.blocksize))
  const seen = new Set<number>()
  let db = 0
  for (const rec of extents(dir, 'data', 0, reader)) {
    if (rec.startoff >= end) return
    db = Math.max(db, Math.floor(rec.startoff / blocks))
    for (; db * blocks < Math.min(end, rec.startoff + rec.blockcount); db++) {
      const buf = readDaBlock(dir, 'data', db * blocks, blockTypes.dir3, reader)
      if (seen.has(buf.daddr)) throw daError(dir, 'data', db * blocks, 'the same block stands in two places')
      seen.add(buf.daddr)
      if (isBlockForm(buf.view) && db > 0) throw daError(dir, 'data', db * blocks, 'of block form, but not the first')
      yield { db, view: buf.view }
    }
  }
}

/** The inode that `..` leads to. @throws XfsError CORRUPT, NOTDIR */
export function parentOf(dir: Inode, reader: BlockReader = dir.volume): number {
  requireDirectory(dir)
  if (dir.volume.features.version !== 5) return v4Parent(dir, reader)
  if (isShortform(dir)) {
    if (dir.roundedSize < 6)
      throw inodeError(dir.ino, `shortform directory: ${dir.roundedSize} bytes do not hold a header`, 'size')
    return sfParent(dir.view, forkStart(dir, 'data'))
  }
  const found = lookupLong(dir, DOTDOT, reader)
  if (!found) throw inodeError(dir.ino, 'a directory without ".."')
  return found.ino
}

/** The entry of this name ("." and ".." too), or undefined. @throws XfsError CORRUPT, NOTDIR */
export function lookup(dir: Inode, name: Uint8Array, reader: BlockReader = dir.volume): Entry | undefined {
  requireDirectory(dir)
  if (isDots(name)) return { ino: name.length === 1 ? dir.ino : parentOf(dir, reader), ftype: 2, name }
  if (dir.volume.features.version !== 5 || isShortform(dir)) {
    const { same } = nameRules(dir)
    for (const entry of allEntries(dir, reader)) {
      if (same(entry.name, name)) return { ino: entry.ino, ftype: entry.ftype, name: entry.name.slice() }
    }
    return undefined
  }
  return lookupLong(dir, name, reader)
}

function lookupLong(dir: Inode, name: Uint8Array, reader: BlockReader): Entry | undefined {
  const place = findEntry(dir, name, reader)
  if (!place) return undefined
  const { view, at } = place
  return { ino: entryIno(view, at), ftype: dataFtype(view, at), name: entryName(view, at).slice() }
}

/** Where an entry is, in a directory of any form but shortform. */
interface EntryPlace {
  readonly db: number
  readonly view: DataView
  readonly at: number
}

/** Find an entry by its hash. */
export function findEntry(dir: Inode, name: Uint8Array, reader: BlockReader): EntryPlace | undefined {
  const rules = nameRules(dir)
  const hash = rules.hash(name)
  for (const address of addressesOf(dir, hash, reader)) {
    const place = entryAt(dir, address, reader)
    if (rules.isAt(place.view, place.at, name)) return place
  }
  return undefined
}

/** The addresses of all entries of a hash. */
function* addressesOf(dir: Inode, hash: number, reader: BlockReader): Generator<number> {
  const first = blockFormBlock(dir, reader)
  if (first) {
    yield* addressesIn(first, blockLeafSpan(first), hash)
    return
  }
  const tree = dirTree(dir)
  const path = findPath(tree, hash, reader)
  for (const { buf } of leavesFrom(tree, path, reader)) {
    const span = dirLeafSpan(dir, buf.view)
    yield* addressesIn(buf.view, span, hash)
    if (lastHashOf(buf.view, span) > hash) return
  }
}

function* addressesIn(view: DataView, span: Span, hash: number): Generator<number> {
  for (let i = lowerBound(view, span, hash); i < span.count && hashAt(view, span.at, i) === hash; i++) {
    const address = leafAddress(view, span, i)
    if (address !== 0) yield address
  }
}

/** The leaf entries of a leaf1 or leafn block. */
export function dirLeafSpan(dir: Inode, view: DataView): Span {
  if (isDaNode(view)) throw inodeError(dir.ino, 'a node where a directory leaf belongs')
  return leafSpan(view)
}

/** The single block of a block form directory; undefined where it has leaves of its own. */
function blockFormBlock(dir: Inode, reader: BlockReader): DataView | undefined {
  if (dir.roundedSize > dir.volume.geometry.dirblocksize) return undefined
  const { view } = readDaBlock(dir, 'data', 0, blockTypes.dir3, reader)
  return isBlockForm(view) ? view : undefined
}

/** The entry that an address points to. @throws XfsError CORRUPT where none is */
function entryAt(dir: Inode, address: number, reader: BlockReader): EntryPlace {
  const { dirblocksize } = dir.volume.geometry
  const db = addressToDb(address, dirblocksize)
  const at = addressToOffset(address, dirblocksize)
  if (dataBlockAt(dir, db) >= leafStart(dir))
    throw inodeError(dir.ino, `a leaf entry leads to data block ${db}, which cannot be`)
  const { view } = readDaBlock(dir, 'data', dataBlockAt(dir, db), blockTypes.dir3, reader)
  const end = dataEnd(view)
  const size = dataItemSize(view, at, end)
  if (size < 0 || isDataFree(view, at) || !hasOwnTag(view, at, size)) {
    throw daError(dir, 'data', dataBlockAt(dir, db), `a leaf entry leads to offset ${at}, where no entry is`)
  }
  return { db, view, at }
}
