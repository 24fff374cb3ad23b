import { XfsError } from '../errors.ts'
import { MAX_BMBT_EXTLEN } from '../format/btrecs.ts'
import { DIFLAGS, DIFLAGS2, MAX_ID, S_ISGID, S_ISUID } from '../format/dinode.ts'
import type { Timestamp } from '../format/time.ts'
import {
  extentCount,
  type Inode,
  type InodeChanges,
  openInode,
  requireChangeable,
  updateInode,
} from '../inode/inode.ts'
import { type Transaction, withTransaction } from '../tx/transaction.ts'
import type { Volume } from '../volume.ts'
import { aclKeys, aclToDisk, aclWithMode, getAcl } from './acl.ts'
import { dropCapabilities, setAttr } from './attr.ts'

/**
 * Changing the attributes of an inode: permissions, owner, times, flags, project, hints. Permission
 * bits are not enforced; inode flags are. (The size changes with the content: see data.)
 *
 * Source: fs/attr.c (chown removes set-id bits and capabilities, also for root), fs/posix_acl.c
 * (chmod changes the access control list), fs/file_attr.c and fs/xfs/xfs_ioctl.c (FSSETXATTR).
 */
const S_IXGRP = 0o010

/** Flags by the letters of xfs_io's lsattr and chattr, in the same order. */
export const flagLetters: readonly (readonly [letter: string, word: 'flags' | 'flags2', bit: number, name: string])[] = [
  ['r', 'flags', DIFLAGS.realtime, 'realtime'], ['p', 'flags', DIFLAGS.prealloc, 'prealloc'], ['i', 'flags', DIFLAGS.immutable, 'immutable'],
  ['a', 'flags', DIFLAGS.append, 'append-only'], ['s', 'flags', DIFLAGS.sync, 'sync'], ['A', 'flags', DIFLAGS.noatime, 'no-atime'],
  ['d', 'flags', DIFLAGS.nodump, 'no-dump'], ['t', 'flags', DIFLAGS.rtinherit, 'rt-inherit'], ['P', 'flags', DIFLAGS.projinherit, 'proj-inherit'],
  ['n', 'flags', DIFLAGS.nosymlinks, 'nosymlinks'], ['e', 'flags', DIFLAGS.extsize, 'extsize'], ['E', 'flags', DIFLAGS.extszinherit, 'extsz-inherit'],
  ['f', 'flags', DIFLAGS.nodefrag, 'no-defrag'], ['S', 'flags', DIFLAGS.filestream, 'filestream'], ['x', 'flags2', DIFLAGS2.dax, 'dax'],
  ['C', 'flags2', DIFLAGS2.cowextsize, 'cowextsize'],
] // biome-ignore format: a table

/** `----i----------`, from the names of flags. */
export const flagsText = (names: readonly string[]): string =>
  flagLetters.map(([letter, , , name]) => (names.includes(name) ? letter : '-')).join('')

/** Flags, project ID and hints. */
export interface FlagChanges {
  /** Letters of flags to set and to clear. */
  readonly set?: string | undefined
  readonly clear?: string | undefined
  readonly projid?: number | undefined
  /** Hints in bytes, which set their flag; 0: none. For a directory: inherited by new files. */
  readonly extsize?: number | undefined
  readonly cowextsize?: number | undefined
}

/** New values; absent values do not change. */
export interface AttributeChanges extends FlagChanges {
  /** With set-id and sticky bits. An access control list follows. */
  readonly permissions?: number | undefined
  /** A file with a new owner or group loses its capabilities and set-id bits. */
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  readonly atime?: Timestamp | undefined
  readonly mtime?: Timestamp | undefined
}

/**
 * Change an inode in the caller's transaction. As with FSSETXATTR, flags that the inode cannot have
 * are ignored.
 * @throws XfsError PERM (immutable or append-only: permissions, owner and times), INVAL
 *   (permissions of a symbolic link; an invalid ID, flag or hint), NOSPC
 */
export function setAttributesIn(tx: Transaction, inode: Inode, changes: AttributeChanges): void {
  const { permissions, uid, gid, atime, mtime } = changes
  if ([permissions, uid, gid, atime, mtime].some((value) => value !== undefined)) requireChangeable(inode)
  if (permissions !== undefined) refuse(inode, inode.isSymlink, 'it is a symbolic link: its permissions cannot change')
  for (const id of [uid, gid]) refuse(inode, !isId(id), `${String(id)} is not a user or group`)
  updateInode(tx, inode, {
    mode: modeAfter(inode, changes),
    uid,
    gid,
    atime,
    mtime,
    ctime: tx.volume.now(),
    ...flagsAfter(inode, changes),
  })
  if ((uid !== undefined || gid !== undefined) && !inode.isDirectory) dropCapabilities(tx, inode)
  const list = permissions === undefined ? undefined : getAcl(inode, 'access')
  if (list) setAttr(tx, inode, aclKeys.access, aclToDisk(aclWithMode(list, inode.mode)))
}

/**
 * Change the inode `ino`.
 * @throws XfsError as `setAttributesIn`; INVAL also for a flag that it cannot have
 */
export function setAttributes(volume: Volume, ino: number, changes: AttributeChanges): void {
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    setAttributesIn(tx, inode, changes)
    const { set = '', clear = '' } = changes
    for (const [letter, word, bit, name] of flagLetters) {
      const isSet = (inode[word] & bit) !== 0
      const ignored = !isSet && set.includes(letter) && !clear.includes(letter)
      refuse(
        inode,
        ignored,
        `cannot have the flag ${name}${HINTS.includes(letter) ? ' without the size of a hint' : ''}`,
      )
      refuse(inode, isSet && clear.includes(letter), `cannot lose the flag ${name}`)
    }
  })
}

/** Flags that need a hint. */
const HINTS = 'eEC'

const isId = (id: number | undefined): boolean => id === undefined || (Number.isInteger(id) && id >= 0 && id <= MAX_ID)

function refuse({ ino }: Inode, condition: boolean, why: string): void {
  if (condition) throw new XfsError('INVAL', `inode ${ino}: ${why}`, { type: 'inode', ino })
}

function modeAfter({ mode, isDirectory }: Inode, { permissions, uid, gid }: AttributeChanges): number {
  if (permissions !== undefined) return (mode & ~0o7777) | (permissions & 0o7777)
  if ((uid === undefined && gid === undefined) || isDirectory) return mode
  return mode & ~S_ISUID & ~((mode & S_IXGRP) !== 0 ? S_ISGID : 0)
}

/** Flags that can change, of all inodes and of one type. */
const CHANGEABLE =
  DIFLAGS.immutable |
  DIFLAGS.append |
  DIFLAGS.sync |
  DIFLAGS.noatime |
  DIFLAGS.nodump |
  DIFLAGS.nodefrag |
  DIFLAGS.filestream
const OF_DIRECTORIES = DIFLAGS.rtinherit | DIFLAGS.nosymlinks | DIFLAGS.extszinherit | DIFLAGS.projinherit
const OF_FILES = DIFLAGS.realtime | DIFLAGS.extsize
const CHANGEABLE2 = DIFLAGS2.dax | DIFLAGS2.cowextsize
const EXTSIZE = DIFLAGS.extsize | DIFLAGS.extszinherit

function flagsAfter(inode: Inode, { set, clear, projid, extsize, cowextsize }: FlagChanges): InodeChanges {
  if ([set, clear, projid, extsize, cowextsize].every((value) => value === undefined)) return {}
  const { blocksize } = inode.volume.geometry
  const words = { flags: inode.flags, flags2: inode.flags2 }
  for (const letter of set ?? '') flip(words, letter, true)
  for (const letter of clear ?? '') flip(words, letter, false)
  if (extsize !== undefined) flip(words, inode.isDirectory ? 'E' : 'e', true)
  if (cowextsize !== undefined) flip(words, 'C', true)
  const hints = {
    extsize: extsize === undefined ? inode.extsize : extsize / blocksize,
    cowextsize: cowextsize === undefined ? inode.cowextsize : cowextsize / blocksize,
  }
  checkFlags(inode, words, hints)
  const { features } = inode.volume
  refuse(inode, !isId(projid) || ((projid ?? 0) > 0xffff && !features.has('projid32')), `${projid} is not a project ID`)
  const cleared = hints.extsize === 0 ? EXTSIZE : 0
  const cleared2 = hints.cowextsize === 0 ? DIFLAGS2.cowextsize : 0
  const mask = CHANGEABLE | (inode.isDirectory ? OF_DIRECTORIES : inode.isRegular ? OF_FILES : 0)
  const flags = (inode.flags & (DIFLAGS.prealloc | DIFLAGS.newrtbm)) | (words.flags & mask & ~cleared)
  const flags2 = (inode.flags2 & ~CHANGEABLE2) | (words.flags2 & CHANGEABLE2 & ~cleared2)
  return { flags, flags2: flags2 >>> 0, projid, ...hints }
}

interface FlagWords {
  flags: number
  flags2: number
}

function flip(words: FlagWords, letter: string, on: boolean): void {
  const row = flagLetters.find(([name]) => name === letter)
  if (!row) throw new XfsError('INVAL', `no flag "${letter}"; there are ${flagLetters.map(([name]) => name).join('')}`)
  const [, word, bit] = row
  words[word] = on ? words[word] | bit : words[word] & ~bit
}

/** May the inode have these flags, and hints in blocks? @throws XfsError INVAL */
function checkFlags(
  inode: Inode,
  { flags, flags2 }: FlagWords,
  hints: { readonly extsize: number; readonly cowextsize: number },
): void {
  const { isRegular, isDirectory, volume } = inode
  const { blocksize, agblocks, sb } = volume.geometry
  const { extsize, cowextsize } = hints
  const hasExtents = extentCount(inode, 'data') > 0
  const has = (flag: number): boolean => (flags & flag) !== 0
  const has2 = (flag: number): boolean => (flags2 & flag) !== 0
  const either = isRegular || isDirectory
  refuse(inode, has(DIFLAGS.extsize) && !isRegular, 'not a regular file, it has no extent size hint of its own')
  refuse(inode, has(DIFLAGS.extszinherit) && !isDirectory, 'not a directory, it hands down no extent size hint')
  refuse(inode, has2(DIFLAGS2.cowextsize) && !either, 'neither a file nor a directory, it has no CoW extent size hint')
  refuse(inode, has2(DIFLAGS2.dax) && !either, 'neither a file nor a directory, it has no flag dax')
  refuse(
    inode,
    has(DIFLAGS.realtime) !== inode.realtime && (hasExtents || sb.rblocks === 0),
    hasExtents ? 'it has extents: its flag realtime cannot change' : 'there is no realtime device',
  )
  for (const [name, blocks] of Object.entries(hints)) {
    const fits =
      Number.isInteger(blocks) && blocks >= 0 && blocks <= Math.min(MAX_BMBT_EXTLEN, Math.floor(agblocks / 2))
    refuse(inode, !fits, `${name} ${blocks * blocksize}: must be a multiple of ${blocksize}, at most half an AG`)
  }
  refuse(
    inode,
    isRegular && hasExtents && extsize !== inode.extsize,
    'it has extents: its extent size hint cannot change',
  )
  refuse(inode, extsize > 0 && !has(EXTSIZE), 'it has an extent size hint: set that to 0 to clear the flag')
  refuse(
    inode,
    cowextsize > 0 && !has2(DIFLAGS2.cowextsize),
    'it has a CoW extent size hint: set that to 0 to clear the flag',
  )
  refuse(
    inode,
    cowextsize > 0 && !volume.features.has('reflink'),
    'the filesystem cannot share blocks: there is no CoW extent size hint',
  )
}
