import { XfsError } from '../errors.ts'
import { AclDiskEntry, AclHdr, POSIX_ACL_VERSION, PosixAclEntry, PosixAclHdr } from '../format/acl.ts'
import { AttrFlags } from '../format/attr.ts'
import { FILE_TYPES, MAX_ID, S_IFMT } from '../format/dinode.ts'
import { type Inode, updateInode } from '../inode/inode.ts'
import type { Transaction } from '../tx/transaction.ts'
import { viewOf } from '../util/view.ts'
import { type AttrKey, getAttr, removeAttr, setAttr } from './attr.ts'

/**
 * Access control lists (POSIX.1e). XFS stores them as attributes of the root namespace, in its own
 * format. Programs see them as `system.posix_acl_access` and `system.posix_acl_default`, in a
 * second format. tar archives contain them as text, the third.
 *
 *   disk     big-endian      count, then tag (32) id (32) perm (16) pad (16)
 *                            in attribute SGI_ACL_FILE or SGI_ACL_DEFAULT
 *   program  little-endian   version 2, then tag (16) perm (16) id (32)
 *   text     user::rwx,user:1000:r-x,group::r-x,mask::rwx,other::r--
 *
 * An access list extends the mode of its file: the permissions of owner, mask (or, without one,
 * group) and others are those of the mode. A list that is equivalent to the mode is not stored.
 *
 * Source: fs/xfs/xfs_acl.c, fs/posix_acl.c.
 */
export interface AclEntry {
  /** One of ACL_TAGS. */
  readonly tag: number
  /** User or group; −1 for the other tags. */
  readonly id: number
  /** rwx */
  readonly perm: number
}

export type AclKind = 'access' | 'default'

export const ACL_TAGS = { userObj: 0x01, user: 0x02, groupObj: 0x04, group: 0x08, mask: 0x10, other: 0x20 } as const

const keyOf = (name: string): AttrKey => ({ space: AttrFlags.root, name: new TextEncoder().encode(name) })
export const aclKeys: Readonly<Record<AclKind, AttrKey>> = {
  access: keyOf('SGI_ACL_FILE'),
  default: keyOf('SGI_ACL_DEFAULT'),
}

const KNOWN_TAGS: readonly number[] = Object.values(ACL_TAGS)
const hasId = (tag: number): boolean => tag === ACL_TAGS.user || tag === ACL_TAGS.group

const bad = (what: string): XfsError => new XfsError('INVAL', `not an access control list: ${what}`)

/** From the disk format. @throws XfsError CORRUPT */
export function aclFromDisk(bytes: Uint8Array): AclEntry[] {
  const view = viewOf(bytes)
  const count = bytes.length >= AclHdr.size ? AclHdr.fields.cnt.get(view, 0) : -1
  if (count < 0 || bytes.length !== AclHdr.size + count * AclDiskEntry.size)
    throw new XfsError('CORRUPT', `access control list of ${bytes.length} bytes with ${count} entries`)
  return Array.from({ length: count }, (_, i) => {
    const { tag, id, perm } = AclDiskEntry.decode(view, AclHdr.size + i * AclDiskEntry.size)
    if (!KNOWN_TAGS.includes(tag))
      throw new XfsError('CORRUPT', `access control list with invalid tag 0x${tag.toString(16)}`)
    return { tag, id: hasId(tag) ? id : -1, perm }
  })
}

export function aclToDisk(entries: readonly AclEntry[]): Uint8Array {
  const bytes = new Uint8Array(AclHdr.size + entries.length * AclDiskEntry.size)
  const view = viewOf(bytes)
  AclHdr.fields.cnt.set(view, 0, entries.length)
  entries.forEach(({ tag, id, perm }, i) => {
    AclDiskEntry.encode(view, AclHdr.size + i * AclDiskEntry.size, { tag, id: id >>> 0, perm })
  })
  return bytes
}

/** From the value of `system.posix_acl_…`. @throws XfsError INVAL */
export function aclFromProgram(bytes: Uint8Array): AclEntry[] {
  const view = viewOf(bytes)
  const count = (bytes.length - PosixAclHdr.size) / PosixAclEntry.size
  if (!Number.isInteger(count) || count < 0 || PosixAclHdr.fields.version.get(view, 0) !== POSIX_ACL_VERSION)
    throw bad(`${bytes.length} bytes`)
  const entries = Array.from({ length: count }, (_, i) => {
    const { tag, id, perm } = PosixAclEntry.decode(view, PosixAclHdr.size + i * PosixAclEntry.size)
    return { tag, perm, id: hasId(tag) ? id : -1 }
  })
  return checkAcl(entries)
}

export function aclToProgram(entries: readonly AclEntry[]): Uint8Array {
  const bytes = new Uint8Array(PosixAclHdr.size + entries.length * PosixAclEntry.size)
  const view = viewOf(bytes)
  PosixAclHdr.fields.version.set(view, 0, POSIX_ACL_VERSION)
  entries.forEach(({ tag, id, perm }, i) => {
    PosixAclEntry.encode(view, PosixAclHdr.size + i * PosixAclEntry.size, { tag, perm, id: id >>> 0 })
  })
  return bytes
}

const words: readonly (readonly [word: string, withoutId: number, withId: number])[] = [
  ['user', ACL_TAGS.userObj, ACL_TAGS.user],
  ['group', ACL_TAGS.groupObj, ACL_TAGS.group],
  ['mask', ACL_TAGS.mask, ACL_TAGS.mask],
  ['other', ACL_TAGS.other, ACL_TAGS.other],
]

const permText = (perm: number): string => `${perm & 4 ? 'r' : '-'}${perm & 2 ? 'w' : '-'}${perm & 1 ? 'x' : '-'}`

/** Text, with numbers for users and groups. */
export function aclToText(entries: readonly AclEntry[]): string {
  return entries
    .map(({ tag, id, perm }) => {
      const word = words.find(([, without, withId]) => tag === without || tag === withId)?.[0] ?? 'other'
      return `${word}:${hasId(tag) ? id : ''}:${permText(perm)}`
    })
    .join(',')
}

/** The ID of a user or group with this name, if known. */
export type IdOf = (kind: 'user' | 'group', name: string) => number | undefined

/**
 * From text: entries separated by commas or lines; users and groups as numbers, or as names (star
 * appends the number after another colon).
 * @param idOf  maps names to IDs (default: none are known)
 * @throws XfsError INVAL
 */
export function aclFromText(text: string, idOf: IdOf = () => undefined): AclEntry[] {
  const entries: AclEntry[] = []
  for (const line of text.split(/[,\n]/)) {
    const entry = line.replace(/#.*/, '').trim()
    if (entry === '') continue
    const [word = '', qualifier = '', perms = '', number] = entry.split(':').map((part) => part.trim())
    const row = words.find(([name]) => name === word || name[0] === word)
    if (!row || !/^[rwx-]{1,3}$|^[0-7]$/.test(perms)) throw bad(entry)
    const [name, withoutId, withId] = row
    const perm = /^[0-7]$/.test(perms)
      ? Number(perms)
      : (perms.includes('r') ? 4 : 0) | (perms.includes('w') ? 2 : 0) | (perms.includes('x') ? 1 : 0)
    if (qualifier === '') {
      entries.push({ tag: withoutId, id: -1, perm })
      continue
    }
    if (!hasId(withId)) throw bad(entry)
    const digits = [qualifier, number ?? ''].find((part) => /^\d+$/.test(part))
    const id = digits === undefined ? idOf(name as 'user' | 'group', qualifier) : Number(digits)
    if (id === undefined) throw bad(`${entry}: unknown ${word} ${qualifier}`)
    entries.push({ tag: withId, id, perm })
  }
  return checkAcl(entries.sort((a, b) => a.tag - b.tag || a.id - b.id))
}

/**
 * Check a list: it has one entry each for owner, group and others, a mask if it has named users or
 * groups, and is in the order of the tags. @throws XfsError INVAL
 */
export function checkAcl(entries: readonly AclEntry[]): AclEntry[] {
  const count = (tag: number): number => entries.filter((entry) => entry.tag === tag).length
  const named = count(ACL_TAGS.user) + count(ACL_TAGS.group)
  if (entries.length === 0) return []
  for (const { tag, id, perm } of entries) {
    if (hasId(tag) && !(id >= 0 && id <= MAX_ID)) throw bad(`invalid user or group ${id}`)
    if (perm > 7 || !KNOWN_TAGS.includes(tag)) throw bad(`tag ${tag}, permissions ${perm}`)
  }
  if (count(ACL_TAGS.userObj) !== 1 || count(ACL_TAGS.groupObj) !== 1 || count(ACL_TAGS.other) !== 1)
    throw bad('owner, group and others are required exactly once')
  if (entries.some(({ tag }, i) => tag < (entries[i - 1]?.tag ?? 0))) throw bad('its entries are out of order')
  if (count(ACL_TAGS.mask) > 1 || (named > 0 && count(ACL_TAGS.mask) === 0)) throw bad('a mask is required')
  return [...entries]
}

/** The list of a file; undefined if it has none. @throws XfsError CORRUPT */
export function getAcl(inode: Inode, kind: AclKind): AclEntry[] | undefined {
  const value = getAttr(inode, aclKeys[kind])
  return value && aclFromDisk(value)
}

/** The permissions that an access list gives a file, and whether the list is equivalent to them. */
export function modeOfAcl(entries: readonly AclEntry[]): { readonly permissions: number; readonly plain: boolean } {
  const perm = (tag: number): number | undefined => entries.find((entry) => entry.tag === tag)?.perm
  const middle = perm(ACL_TAGS.mask) ?? perm(ACL_TAGS.groupObj) ?? 0
  return {
    permissions: ((perm(ACL_TAGS.userObj) ?? 0) << 6) | (middle << 3) | (perm(ACL_TAGS.other) ?? 0),
    plain: entries.every(({ tag }) => tag === ACL_TAGS.userObj || tag === ACL_TAGS.groupObj || tag === ACL_TAGS.other),
  }
}

/** The list with the permissions of a mode. */
export function aclWithMode(entries: readonly AclEntry[], mode: number): AclEntry[] {
  const middle = entries.some(({ tag }) => tag === ACL_TAGS.mask) ? ACL_TAGS.mask : ACL_TAGS.groupObj
  return entries.map((entry) => {
    if (entry.tag === ACL_TAGS.userObj) return { ...entry, perm: (mode >> 6) & 7 }
    if (entry.tag === middle) return { ...entry, perm: (mode >> 3) & 7 }
    if (entry.tag === ACL_TAGS.other) return { ...entry, perm: mode & 7 }
    return entry
  })
}

/**
 * Set the list of a file (an empty one removes it). An access list also changes the mode. The
 * caller updates timestamps.
 * @throws XfsError INVAL, PERM (a default list for a file that is not a directory, any list for a
 *   symbolic link), NOSPC
 */
export function setAcl(tx: Transaction, inode: Inode, kind: AclKind, entries: readonly AclEntry[]): void {
  if (inode.isSymlink)
    throw new XfsError('PERM', `inode ${inode.ino} is a symbolic link: it cannot have an access control list`, {
      ino: inode.ino,
    })
  if (kind === 'default' && !inode.isDirectory && entries.length > 0) {
    throw new XfsError('PERM', `inode ${inode.ino} is not a directory: it cannot have a default access control list`, {
      ino: inode.ino,
    })
  }
  let kept = entries
  if (kind === 'access' && entries.length > 0) {
    const { permissions, plain } = modeOfAcl(entries)
    updateInode(tx, inode, { mode: (inode.mode & ~0o777) | permissions })
    if (plain) kept = []
  }
  if (kept.length > 0) setAttr(tx, inode, aclKeys[kind], aclToDisk(kept))
  else if (getAttr(inode, aclKeys[kind])) removeAttr(tx, inode, aclKeys[kind])
}

/** Mode and lists (as attributes) of a new file, from the default list of its directory. */
export function inheritedAcls(
  list: readonly AclEntry[],
  mode: number,
): { readonly mode: number; readonly attrs: readonly (AttrKey & { readonly value: Uint8Array })[] } {
  const own = aclWithMode(list, mode & modeOfAcl(list).permissions)
  const { permissions, plain } = modeOfAcl(own)
  const isDirectory = (mode & S_IFMT) === FILE_TYPES.dir
  return {
    mode: (mode & ~0o777) | permissions,
    attrs: [
      ...(isDirectory ? [{ ...aclKeys.default, value: aclToDisk(list) }] : []),
      ...(plain ? [] : [{ ...aclKeys.access, value: aclToDisk(own) }]),
    ],
  }
}
