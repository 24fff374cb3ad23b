import { xattrs } from '../attr/xattrs.ts'
import { isEmpty } from '../dir/dir.ts'
import type { XfsError } from '../errors.ts'
import { FILE_TYPES } from '../format/dinode.ts'
import type { Timestamp } from '../format/time.ts'
import type { Inode } from '../inode/inode.ts'
import { type Bytes, unitsFor } from '../util/bytes.ts'
import { type Visit, walkTree } from './tree.ts'

/** Searching for files in a tree. A test is a function; those of find(1) are defined here. */
export type Test = (visit: Visit, name: Uint8Array) => boolean

export interface FindOptions {
  readonly minDepth?: number
  readonly maxDepth?: number
  readonly onError?: (path: Uint8Array, error: XfsError) => void
}

/**
 * The files below `top` (including itself) that pass every test, in the order of their names.
 * `topName` is the name of the top for the tests.
 */
export function* find(
  top: Inode,
  topName: Uint8Array,
  tests: readonly Test[],
  options: FindOptions = {},
): Generator<Visit> {
  const { minDepth = 0, maxDepth, onError } = options
  for (const visit of walkTree(top, {
    sorted: true,
    ...(maxDepth === undefined ? {} : { maxDepth }),
    ...(onError ? { onError } : {}),
  })) {
    if (visit.depth < minDepth) continue
    const name = visit.depth === 0 ? topName : visit.path.subarray(visit.path.lastIndexOf(0x2f) + 1)
    if (tests.every((test) => test(visit, name))) yield visit
  }
}

/** A shell pattern for one name, or (`whole`) for a path, in which `*` matches slashes. */
function globPattern(glob: string, whole: boolean, ignoreCase = false): RegExp {
  let text = ''
  for (let at = 0; at < glob.length; at++) {
    const char = glob[at] as string
    const end = char === '[' ? glob.indexOf(']', at + 2) : -1
    if (char === '*') text += whole ? '.*' : '[^/]*'
    else if (char === '?') text += whole ? '.' : '[^/]'
    else if (end > 0) {
      text += `[${glob
        .slice(at + 1, end)
        .replace(/^!/, '^')
        .replace(/[\\[]/g, '\\$&')}]`
      at = end
    } else {
      if (char === '\\' && at + 1 < glob.length) at++
      text += (glob[at] as string).replace(/[\\^$.|+(){}[\]*?]/g, '\\$&')
    }
  }
  return new RegExp(`^${text}$`, `su${ignoreCase ? 'i' : ''}`)
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const textOf = (bytes: Uint8Array): string => decoder.decode(bytes)

const typesByLetter: Readonly<Record<string, number>> = {
  f: FILE_TYPES.reg, d: FILE_TYPES.dir, l: FILE_TYPES.lnk, b: FILE_TYPES.blk, c: FILE_TYPES.chr, p: FILE_TYPES.fifo, s: FILE_TYPES.sock,
} // biome-ignore format: a table

/** A number after `+` (more than) or `-` (less than). */
export interface Amount {
  readonly sign: '+' | '-' | ''
  readonly value: Bytes
}

const matchesAmount = ({ sign, value }: Amount, found: Bytes): boolean =>
  sign === '+' ? found > value : sign === '-' ? found < value : found === value

const after = (a: Timestamp, b: Timestamp): boolean =>
  a.seconds - b.seconds > 0 || (a.seconds === b.seconds && a.nanoseconds > b.nanoseconds)

export const tests = {
  name: (glob: string, ignoreCase = false): Test => {
    const pattern = globPattern(glob, false, ignoreCase)
    return (_, name) => pattern.test(textOf(name))
  },
  path: (glob: string, start: string): Test => {
    const pattern = globPattern(glob, true)
    const top = start.replace(/\/+$/, '')
    return ({ path }) => pattern.test(path.length === 0 ? start : `${top}/${textOf(path)}`)
  },
  /** Letters as in find(1). */
  type: (letters: string): Test => {
    const wanted = [...letters.replaceAll(',', '')].map((letter) => typesByLetter[letter])
    return ({ inode }) => wanted.includes(inode.type)
  },
  /** In units of `unit` bytes, rounded up. */
  size:
    (amount: Amount, unit: number): Test =>
    ({ inode }) =>
      matchesAmount(amount, unit === 1 ? inode.size : unitsFor(inode.size, unit)),
  newer:
    (time: Timestamp): Test =>
    ({ inode }) =>
      after(inode.mtime, time),
  /** Days before `now`, rounded down. */
  days:
    (which: 'mtime' | 'atime' | 'ctime', amount: Amount, now: Timestamp): Test =>
    ({ inode }) =>
      matchesAmount(amount, Math.floor((now.seconds - inode[which].seconds) / 86400)),
  uid:
    (amount: Amount): Test =>
    ({ inode }) =>
      matchesAmount(amount, inode.uid),
  gid:
    (amount: Amount): Test =>
    ({ inode }) =>
      matchesAmount(amount, inode.gid),
  projid:
    (amount: Amount): Test =>
    ({ inode }) =>
      matchesAmount(amount, inode.projid),
  links:
    (amount: Amount): Test =>
    ({ inode }) =>
      matchesAmount(amount, inode.nlink),
  inum:
    (amount: Amount): Test =>
    ({ inode }) =>
      matchesAmount(amount, inode.ino),
  /** Exactly these bits, all of them (`-`), or any of them (`/`). */
  perm:
    (bits: number, how: '' | '-' | '/'): Test =>
    ({ inode }) => {
      const mode = inode.mode & 0o7777
      return how === '' ? mode === bits : how === '-' ? (mode & bits) === bits : bits === 0 || (mode & bits) !== 0
    },
  empty:
    (): Test =>
    ({ inode }) =>
      inode.isDirectory ? isEmpty(inode) : inode.isRegular && inode.size === 0,
  /** True for files that may have shared blocks. */
  reflinked:
    (): Test =>
    ({ inode }) =>
      inode.reflink,
  /** True for files with an attribute whose name matches. */
  xattr: (glob: string): Test => {
    const pattern = globPattern(glob, true)
    return ({ inode }) => [...xattrs(inode)].some(({ name }) => pattern.test(textOf(name)))
  },
  not:
    (test: Test): Test =>
    (visit, name) =>
      !test(visit, name),
} as const
