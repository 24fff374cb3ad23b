import { daBlocks, daError, localError, readDaBlock } from '../da/dablock.ts'
import { type DaTree, findPath, isDaNode, leavesFrom } from '../da/datree.ts'
import { hashAt, lastHashOf, lowerBound } from '../da/hashes.ts'
import { XfsError } from '../errors.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import { DIR_LEAF_OFFSET, type DirEntry, daHash, daHashIgnoringCase } from '../format/dir.ts'
import {
  addressToDb,
  addressToOffset,
  blockLeafSpan,
  dataEnd,
  dataEntries,
  dataFtype,
  dataItemSize,
  isBlockForm,
  isDataFree,
  leafSpan,
  type Span,
} from '../format/dirblocks.ts'
import { sfEntries, sfParent } from '../format/dirshortform.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { forkFormat, forkStart, type Inode, inodeError } from '../inode/inode.ts'
import { extents } from '../mapping/extents.ts'
import { sameBytes } from '../util/samebytes.ts'
import type { BlockReader } from '../volume.ts'
import { entryIno, entryName, hasOwnTag, nameIs } from './datablock.ts'
import { leafAddress } from './leafentries.ts'
import { v4Entries, v4Parent } from './v4.ts'

/**
 * Reading directories of every format. For changing them see dir.ts.
 *
 * Names are bytes. `entries` excludes "." and ".."; `parentOf` returns the target of "..".
 */
export interface Entry {
  readonly ino: number
  /** One of FileTypes; 0 if the filesystem does not store types. */
  readonly ftype: number
  readonly name: Uint8Array
}

export const DOT = Uint8Array.of(0x2e)
export const DOTDOT = Uint8Array.of(0x2e, 0x2e)

export const isDots = (name: Uint8Array): boolean =>
  name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e))

/** Comparison and hashing of names in a filesystem. */
interface NameRules {
  hash(name: Uint8Array): number
  /** True if the entry at `at` of a data block has this name. */
  isAt(view: DataView, at: number, name: Uint8Array): boolean
  same(a: Uint8Array, b: Uint8Array): boolean
}

const exactRules: NameRules = { hash: daHash, isAt: nameIs, same: sameBytes }
const foldedRules: NameRules = {
  hash: daHashIgnoringCase,
  isAt: (view, at, name) => foldedRules.same(entryName(view, at), name),
  // The hash folds byte by byte: names of the same length are equal if each byte folds to the same
  // value.
  same: (a, b) => a.length === b.length && a.every((byte, i) => foldByte(byte) === foldByte(b[i] as number)),
}
const foldByte = (byte: number): number => daHashIgnoringCase(Uint8Array.of(byte))

export const nameRules = (dir: Inode): NameRules => (dir.volume.features.has('asciici') ? foldedRules : exactRules)

/** @throws XfsError NOTDIR; CORRUPT if its size is invalid */
export function requireDirectory(inode: Inode): void {
  if (!inode.isDirectory) throw new XfsError('NOTDIR', `inode ${inode.ino} is not a directory`, { ino: inode.ino })
  if (inode.roundedSize > DIR_LEAF_OFFSET)
    throw inodeError(inode.ino, `directory of ${inode.roundedSize} bytes`, 'size')
}

export const isShortform = (dir: Inode): boolean => forkFormat(dir, 'data') === FORK_FORMATS.local

/** The file block of the first leaf of a directory. */
export const leafStart = (dir: Inode): number => DIR_LEAF_OFFSET / dir.volume.geometry.blocksize

/** The hash btree of a directory in node format. */
export const dirTree = (dir: Inode): DaTree => ({
  inode: dir,
  fork: 'data',
  root: leafStart(dir),
  end: 2 * leafStart(dir),
})

/** The file block of data block `db`. */
export const dataBlockAt = (dir: Inode, db: number): number => db * daBlocks(dir, 'data')

/**
 * The entries except "." and "..", in disk order. The directory must not change meanwhile. @throws
 * XfsError CORRUPT, NOTDIR
 */
export function* entries(dir: Inode, reader: BlockReader = dir.volume): Generator<Entry> {
  requireDirectory(dir)
  for (const { ino, ftype, name } of allEntries(dir, reader)) {
    if (!isDots(name)) yield { ino, ftype, name: name.slice() }
  }
}

/** Includes "." and ".." if they are stored. Names are views on the block. */
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

/** The existing data blocks (or the one in block format), in order. */
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
      if (seen.has(buf.daddr)) throw daError(dir, 'data', db * blocks, 'the block is mapped twice')
      seen.add(buf.daddr)
      if (isBlockForm(buf.view) && db > 0) throw daError(dir, 'data', db * blocks, 'in block format, but not the first')
      yield { db, view: buf.view }
    }
  }
}

/** The inode that `..` points to. @throws XfsError CORRUPT, NOTDIR */
export function parentOf(dir: Inode, reader: BlockReader = dir.volume): number {
  requireDirectory(dir)
  if (dir.volume.features.version !== 5) return v4Parent(dir, reader)
  if (isShortform(dir)) {
    if (dir.roundedSize < 6)
      throw inodeError(dir.ino, `shortform directory: ${dir.roundedSize} bytes are too small for a header`, 'size')
    return sfParent(dir.view, forkStart(dir, 'data'))
  }
  const found = lookupLong(dir, DOTDOT, reader)
  if (!found) throw inodeError(dir.ino, 'directory without ".."')
  return found.ino
}

/** The entry with this name (also "." and ".."), or undefined. @throws XfsError CORRUPT, NOTDIR */
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

/** The position of an entry, in a directory of any format except shortform. */
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

/** The addresses of all entries with a hash. */
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
  if (isDaNode(view)) throw inodeError(dir.ino, 'found a node, expected a directory leaf')
  return leafSpan(view)
}

/** The only block of a directory in block format; undefined if it has separate leaves. */
function blockFormBlock(dir: Inode, reader: BlockReader): DataView | undefined {
  if (dir.roundedSize > dir.volume.geometry.dirblocksize) return undefined
  const { view } = readDaBlock(dir, 'data', 0, blockTypes.dir3, reader)
  return isBlockForm(view) ? view : undefined
}

/** The entry that an address points to. @throws XfsError CORRUPT if there is none */
function entryAt(dir: Inode, address: number, reader: BlockReader): EntryPlace {
  const { dirblocksize } = dir.volume.geometry
  const db = addressToDb(address, dirblocksize)
  const at = addressToOffset(address, dirblocksize)
  if (dataBlockAt(dir, db) >= leafStart(dir))
    throw inodeError(dir.ino, `a leaf entry refers to data block ${db}, which is out of range`)
  const { view } = readDaBlock(dir, 'data', dataBlockAt(dir, db), blockTypes.dir3, reader)
  const end = dataEnd(view)
  const size = dataItemSize(view, at, end)
  if (size < 0 || isDataFree(view, at) || !hasOwnTag(view, at, size)) {
    throw daError(dir, 'data', dataBlockAt(dir, db), `a leaf entry refers to offset ${at}, where there is no entry`)
  }
  return { db, view, at }
}
