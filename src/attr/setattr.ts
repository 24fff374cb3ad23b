import { XfsError } from '../errors.ts'
import { DIFLAGS, DIFLAGS2, S_ISGID, S_ISUID } from '../format/dinode.ts'
import type { Timestamp } from '../format/time.ts'
import { extentCount, type Inode, type InodeChanges, openInode, touchInode, updateInode } from '../inode/inode.ts'
import { type Transaction, withTransaction } from '../tx/transaction.ts'
import type { Volume } from '../volume.ts'
import { aclKeys, aclToDisk, aclWithMode, getAcl } from './acl.ts'
import { dropCapabilities, setAttr } from './attr.ts'

/**
 * Changing the attributes of an inode: permissions, owner, times, flags, project, hints. Permission
 * bits are not enforced; inode flags are.
 *
 * Source: fs/attr.c (chown removes set-id bits and capabilities, also for root), fs/posix_acl.c
 * (chmod changes the access control list), fs/xfs/xfs_ioctl.c (FSSETXATTR).
 */
const S_IXGRP = 0o010

function change(volume: Volume, ino: number, action: (tx: Transaction, inode: Inode) => void): void {
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    if ((inode.flags & (DIFLAGS.immutable | DIFLAGS.append)) !== 0)
      throw new XfsError('PERM', `inode ${ino} is immutable or append-only`, { type: 'inode', ino })
    action(tx, inode)
    touchInode(tx, inode, { ctime: true })
  })
}

/**
 * Set the permissions, with set-id and sticky bits, and update the access control list. @throws
 * XfsError PERM, INVAL (a symbolic link)
 */
export function chmod(volume: Volume, ino: number, permissions: number): void {
  change(volume, ino, (tx, inode) => {
    if (inode.isSymlink)
      throw new XfsError('INVAL', `inode ${ino} is a symbolic link: its permissions cannot change`, {
        type: 'inode',
        ino,
      })
    updateInode(tx, inode, { mode: (inode.mode & ~0o7777) | (permissions & 0o7777) })
    const list = getAcl(inode, 'access')
    if (list) setAttr(tx, inode, aclKeys.access, aclToDisk(aclWithMode(list, permissions)))
  })
}

interface NewOwner {
  readonly uid?: number
  readonly gid?: number
}

/** Set the owner; a file loses its set-id bits and capabilities. @throws XfsError PERM */
export function chown(volume: Volume, ino: number, { uid, gid }: NewOwner): void {
  change(volume, ino, (tx, inode) => {
    let { mode } = inode
    if (!inode.isDirectory) {
      mode &= ~S_ISUID
      if ((mode & S_IXGRP) !== 0) mode &= ~S_ISGID
      dropCapabilities(tx, inode)
    }
    updateInode(tx, inode, { mode, ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) })
  })
}

interface Times {
  readonly atime?: Timestamp
  readonly mtime?: Timestamp
}

/** Set times. @throws XfsError PERM */
export function setTimes(volume: Volume, ino: number, { atime, mtime }: Times): void {
  change(volume, ino, (tx, inode) => {
    updateInode(tx, inode, { ...(atime ? { atime } : {}), ...(mtime ? { mtime } : {}) })
  })
}

/** Flags by the letters of xfs_io's lsattr and chattr, in the same order. */
export const flagLetters: readonly (readonly [letter: string, word: 'flags' | 'flags2', bit: number, name: string])[] = [
  ['r', 'flags', DIFLAGS.realtime, 'realtime'], ['p', 'flags', DIFLAGS.prealloc, 'prealloc'], ['i', 'flags', DIFLAGS.immutable, 'immutable'],
  ['a', 'flags', DIFLAGS.append, 'append-only'], ['s', 'flags', DIFLAGS.sync, 'sync'], ['A', 'flags', DIFLAGS.noatime, 'no-atime'],
  ['d', 'flags', DIFLAGS.nodump, 'no-dump'], ['t', 'flags', DIFLAGS.rtinherit, 'rt-inherit'], ['P', 'flags', DIFLAGS.projinherit, 'proj-inherit'],
  ['n', 'flags', DIFLAGS.nosymlinks, 'nosymlinks'], ['e', 'flags', DIFLAGS.extsize, 'extsize'], ['E', 'flags', DIFLAGS.extszinherit, 'extszinherit'],
  ['f', 'flags', DIFLAGS.nodefrag, 'no-defrag'], ['S', 'flags', DIFLAGS.filestream, 'filestream'], ['x', 'flags2', DIFLAGS2.dax, 'dax'],
  ['C', 'flags2', DIFLAGS2.cowextsize, 'cowextsize'],
] // biome-ignore format: a table

/** `----i----------` */
export const flagsText = (inode: Inode): string =>
  flagLetters.map(([letter, word, bit]) => ((inode[word] & bit) !== 0 ? letter : '-')).join('')

export interface AttributeChanges {
  /** Letters of flags to set and to clear. */
  readonly set?: string
  readonly clear?: string
  readonly projid?: number
  /** Hints in bytes; 0: none. For a directory: inherited by new files. */
  readonly extsize?: number
  readonly cowextsize?: number
}

/** Flags for directories only. */
const FOR_DIRECTORIES = 'tPE'

/**
 * Set flags, project and hints, as FSSETXATTR does.
 * @throws XfsError INVAL (no such flag, or not for this type of file; a hint that is not a multiple
 *   of the block size, or for a file that has extents)
 */
export function setAttributes(volume: Volume, ino: number, changes: AttributeChanges): void {
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    const words = { flags: inode.flags, flags2: inode.flags2 }
    for (const [letters, on] of [
      [changes.set ?? '', true],
      [changes.clear ?? '', false],
    ] as const) {
      for (const letter of letters) flip(inode, words, letter, on)
    }
    if (changes.extsize !== undefined) setHint(inode, words, 'extsize', changes.extsize)
    if (changes.cowextsize !== undefined) setHint(inode, words, 'cowextsize', changes.cowextsize)
    const { blocksize } = volume.geometry
    const update: InodeChanges = {
      ...words,
      ...(changes.projid === undefined ? {} : { projid: changes.projid }),
      ...(changes.extsize === undefined ? {} : { extsize: changes.extsize / blocksize }),
      ...(changes.cowextsize === undefined ? {} : { cowextsize: changes.cowextsize / blocksize }),
    }
    updateInode(tx, inode, update)
    touchInode(tx, inode, { ctime: true })
  })
}

type FlagWords = { flags: number; flags2: number }

function flip(inode: Inode, words: FlagWords, letter: string, on: boolean): void {
  const row = flagLetters.find(([name]) => name === letter)
  const where = { type: 'inode', ino: inode.ino }
  if (!row)
    throw new XfsError('INVAL', `unknown flag "${letter}"; the flags are ${flagLetters.map(([name]) => name).join('')}`)
  const [, word, bit, name] = row
  const hint = letter === 'e' || letter === 'E' ? inode.extsize : letter === 'C' ? inode.cowextsize : 1
  if (on && letter === 'r') throw new XfsError('UNSUPPORTED', 'files on the realtime device are not supported', where)
  if (on && FOR_DIRECTORIES.includes(letter) && !inode.isDirectory)
    throw new XfsError('INVAL', `inode ${inode.ino} is not a directory: it cannot have ${name}`, where)
  if (on && hint === 0)
    throw new XfsError('INVAL', `inode ${inode.ino} has no extent size hint, which the flag ${name} requires`, where)
  if (letter === 'e' && on && !inode.isRegular)
    throw new XfsError('INVAL', `inode ${inode.ino} is not a regular file: it cannot have ${name}`, where)
  words[word] = (on ? words[word] | bit : words[word] & ~bit) >>> 0
}

function setHint(inode: Inode, words: FlagWords, name: 'extsize' | 'cowextsize', bytes: number): void {
  const { blocksize, agblocks } = inode.volume.geometry
  const where = { type: 'inode', ino: inode.ino }
  const blocks = bytes / blocksize
  if (!Number.isInteger(blocks) || blocks < 0 || blocks >= 2 ** 21 || blocks > agblocks / 2) {
    throw new XfsError('INVAL', `${name} ${bytes} is not a multiple of ${blocksize}, or exceeds half an AG`, where)
  }
  if (!inode.isRegular && !inode.isDirectory)
    throw new XfsError('INVAL', `inode ${inode.ino} is not a regular file or directory`, where)
  if (name === 'cowextsize') {
    if (!inode.volume.features.has('reflink'))
      throw new XfsError('UNSUPPORTED', 'cowextsize requires the reflink feature')
    words.flags2 = (bytes > 0 ? words.flags2 | DIFLAGS2.cowextsize : words.flags2 & ~DIFLAGS2.cowextsize) >>> 0
    return
  }
  if (inode.isRegular && blocks !== inode.extsize && extentCount(inode, 'data') > 0) {
    throw new XfsError('INVAL', `inode ${inode.ino} already has extents: its extent size hint cannot change`, where)
  }
  const bit = inode.isDirectory ? DIFLAGS.extszinherit : DIFLAGS.extsize
  words.flags = (bytes > 0 ? words.flags | bit : words.flags & ~bit) >>> 0
}
