import { parentPointers } from '../attr/parent.ts'
import { DOT, DOTDOT, dataBlocks, entries, isShortform, lookup } from '../dir/read.ts'
import { XfsError } from '../errors.ts'
import { FILE_TYPES, S_IFMT, S_ISGID, S_ISUID } from '../format/dinode.ts'
import { DIR_ALIGN, DIR_DATA_START, daHash, dirHash, FileTypes } from '../format/dir.ts'
import { dataEntries, dataEntrySize, isBlockForm, toAddress } from '../format/dirblocks.ts'
import { sfEntries, sfParent } from '../format/dirshortform.ts'
import { forkStart, type Inode, inodeAt } from '../inode/inode.ts'
import { escapeBytes, unescapeBytes } from '../util/escape.ts'
import { getopt } from '../util/getopt.ts'
import { named } from '../util/json.ts'
import type { Volume } from '../volume.ts'
import { parseAddress } from './numbers.ts'
import { type DbSession, Refusal } from './session.ts'

/** Names and paths: `path`, `ls`, `ncheck`, `parent`; and `hash`. */

const TYPES = ['unknown', 'regular', 'directory', 'chardev', 'blkdev', 'fifo', 'socket', 'symlink', 'whiteout']

/** The C library's messages for errors of paths. */
const WORDS: Readonly<Record<string, string>> = {
  NOENT: 'No such file or directory',
  NOTDIR: 'Not a directory',
  CORRUPT: 'Structure needs cleaning',
  BADCRC: 'Bad message',
  INVAL: 'Structure needs cleaning',
}
const wordOf = (error: XfsError): string => WORDS[error.code] ?? error.message

const bytesOf = unescapeBytes
const textOf = escapeBytes

/** The inode at a path; a relative path starts at the current directory. @throws XfsError */
function walk(session: DbSession, volume: Volume, path: string): number {
  const { here } = session
  let ino = session.geometry.sb.rootino
  if (!path.startsWith('/')) {
    if (here.kind?.name !== 'inode' || (here.mode & S_IFMT) !== FILE_TYPES.dir)
      throw new XfsError('NOTDIR', 'not a directory')
    ino = here.ino
  }
  for (const name of path.split('/')) {
    if (name === '') continue
    const inode = inodeAt(volume, ino)
    if (!inode.isDirectory) throw new XfsError('NOTDIR', 'not a directory')
    const entry = lookup(inode, bytesOf(name))
    if (!entry) throw new XfsError('NOENT', 'no such file')
    ino = entry.ino
  }
  return ino
}

/** `path`: go to the inode of a path. */
export function path(session: DbSession, words: readonly string[]): void {
  const { operands, faults } = getopt(words, '')
  const [word] = operands
  if (faults.length > 0 || word === undefined) throw new Refusal(' Navigate to an inode via directory path.')
  attempt(session, word, () => session.goInode(walk(session, session.volume(), word)))
}

/** Errors have the messages of xfs_db, and its exit status 1. */
function attempt(session: DbSession, word: string | undefined, work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    session.exitCode = 1
    throw new Refusal(word === undefined ? wordOf(error) : `${word}: ${wordOf(error)}`)
  }
}

/** `ls`: list directories, or with -i show inode numbers. */
export function ls(session: DbSession, words: readonly string[]): void {
  const { letters, operands, faults } = getopt(words, 'i')
  if (faults.length > 0) throw new Refusal(' List the contents of the currently selected directory inode.')
  const volume = session.volume()
  const show = (tag?: string): void => {
    const { kind, ino, mode } = session.here
    if (letters.has('i')) {
      if (kind?.name !== 'inode') throw new XfsError('NOENT', 'no inode')
      session.result('current', { ino }, String(ino))
      return
    }
    if (kind?.name !== 'inode' || (mode & S_IFMT) !== FILE_TYPES.dir) throw new XfsError('NOTDIR', 'not a directory')
    const inode = inodeAt(volume, ino)
    if (tag !== undefined) session.caption(`${tag}:`)
    list(session, inode)
  }
  if (operands.length === 0) attempt(session, undefined, () => show())
  for (const word of operands) {
    attempt(session, word, () => {
      const ino = walk(session, volume, word)
      session.elsewhere(() => {
        session.goInode(ino)
        show(word)
      })
    })
  }
}

function list(session: DbSession, dir: Inode): void {
  const hash = dirHash(session.geometry.features)
  for (const { name, ino, ftype, address } of cookies(session, dir)) {
    const good = !name.includes(0) && !name.includes(0x2f)
    const fields = [
      String(address).padEnd(10),
      String(ino).padEnd(18),
      (TYPES[ftype] ?? 'unknown').padEnd(14),
      `0x${hash(name).toString(16).padStart(8, '0')}`,
      String(name.length).padStart(3),
      textOf(name),
      good ? '(good)' : '(corrupt)',
    ]
    const values = { directory: dir.ino, address, ino, type: TYPES[ftype] ?? 'unknown', hash: hash(name) >>> 0, good }
    session.result('entry', { ...values, ...named('name', name) }, fields.join(' '))
  }
}

interface Cookie {
  readonly name: Uint8Array
  readonly ino: number
  readonly ftype: number
  readonly address: number
}

/**
 * Entries with their position in the directory, in units of eight bytes. As in xfs_db, in a
 * directory of several blocks it is the position of the next entry.
 */
function* cookies({ geometry }: DbSession, dir: Inode): Generator<Cookie> {
  const typeOf = (ftype: number): number => (geometry.features.has('ftype') ? ftype : 0)
  const { volume, ino } = dir
  if (geometry.features.version !== 5) {
    for (const { name, ino: child, ftype } of entries(dir)) yield { name, ino: child, ftype: typeOf(ftype), address: 0 }
  } else if (isShortform(dir)) {
    const start = forkStart(dir, 'data')
    const [dot, dotdot] = [DIR_DATA_START, DIR_DATA_START + dataEntrySize(1)]
    yield { name: DOT, ino, ftype: typeOf(FileTypes.directory), address: dot / DIR_ALIGN }
    yield {
      name: DOTDOT,
      ino: sfParent(dir.view, start),
      ftype: typeOf(FileTypes.directory),
      address: dotdot / DIR_ALIGN,
    }
    for (const { name, ino: child, ftype, offset } of sfEntries(dir.view, start, dir.roundedSize)) {
      yield { name, ino: child, ftype: typeOf(ftype), address: offset / DIR_ALIGN }
    }
  } else {
    for (const { db, view } of dataBlocks(dir, volume)) {
      const block = isBlockForm(view)
      for (const { name, ino: child, ftype, at, size } of dataEntries(view)) {
        yield {
          name,
          ino: child,
          ftype: typeOf(ftype),
          address: toAddress(db, block ? at : at + size, geometry.dirblocksize),
        }
      }
    }
  }
}

/** `ncheck`: print every inode with a path. */
export function ncheck(session: DbSession, words: readonly string[]): void {
  const { letters, faults } = getopt(words, 'i:s')
  if (faults.length > 0) throw new Refusal(`bad option -${faults[0]?.letter} for ncheck command`)
  const asked = letters.get('i')?.map((text) => parseAddress(text))
  const special = letters.has('s')
  const volume = session.volume()
  const paths = new Map<number, string>()
  const seen = new Set<number>()
  const root = session.geometry.sb.rootino
  const queue: { ino: number; path: string }[] = [{ ino: root, path: '' }]
  for (let next = queue.pop(); next; next = queue.pop()) {
    if (seen.has(next.ino)) continue
    seen.add(next.ino)
    for (const { name, ino, ftype } of entriesOf(session, volume, next.ino)) {
      const text = textOf(name)
      if (text === '.' || text === '..' || paths.has(ino)) continue
      const full = `${next.path}${text}`
      const inode = ignoringErrors(() => inodeAt(volume, ino))
      const directory = inode?.isDirectory ?? ftype === 2
      if (!special || isSpecial(inode)) paths.set(ino, directory ? `${full}/.` : full)
      if (directory) queue.push({ ino, path: `${full}/` })
    }
  }
  for (const [ino, text] of [...paths].sort((a, b) => a[0] - b[0])) {
    if (asked && !asked.includes(ino)) continue
    session.result('path', { ino, path: `/${text}` }, `${String(ino).padStart(11)} ${text}`)
  }
}

/** Devices, and setuid and setgid files. */
const isSpecial = (inode: Inode | undefined): boolean => {
  if (!inode) return false
  const type = inode.mode & S_IFMT
  return (
    type === FILE_TYPES.chr ||
    type === FILE_TYPES.blk ||
    (type === FILE_TYPES.reg && (inode.mode & (S_ISUID | S_ISGID)) !== 0)
  )
}

function entriesOf(session: DbSession, volume: Volume, ino: number): Cookie[] {
  return ignoringErrors(() => [...cookies(session, inodeAt(volume, ino))]) ?? []
}

/** Skip damaged objects. */
function ignoringErrors<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (error instanceof XfsError) return undefined
    throw error
  }
}

/** `parent`: print the parent pointers of the current inode, or of paths. */
export function parent(session: DbSession, words: readonly string[]): void {
  const { operands, faults } = getopt(words, '')
  if (faults.length > 0) throw new Refusal(' List the parents of the current inode.')
  const volume = session.volume()
  const show = (ino: number): void => {
    if (ino < 0) throw new XfsError('NOENT', 'no inode')
    let index = 0
    for (const { ino: dir, gen, name } of parentPointers(inodeAt(volume, ino))) {
      session.result(
        'parent',
        { ino, parent: dir, generation: gen, ...named('name', name) },
        `${index++} ${dir} ${gen} ${name.length} ${textOf(name)}`,
      )
    }
  }
  if (operands.length === 0) attempt(session, undefined, () => show(session.here.ino))
  for (const word of operands) {
    attempt(session, word, () => {
      session.caption(`${word}:`)
      show(walk(session, volume, word))
    })
  }
}

/** `hash`: print the hash of names, as used by directories and attributes. */
export function hash(session: DbSession, words: readonly string[]): void {
  const { letters, operands, faults } = getopt(words, 'd')
  if (faults.length > 0) {
    session.exitCode = 1
    throw new Refusal(' Usage:  "hash <string>"')
  }
  const of = letters.has('d') ? dirHash(session.geometry.features) : daHash
  for (const word of operands) {
    const value = of(bytesOf(word)) >>> 0
    session.result('hash', { hash: value, ...named('name', bytesOf(word)) }, `0x${value.toString(16)}`)
  }
}
