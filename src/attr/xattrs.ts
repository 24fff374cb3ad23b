import { XfsError } from '../errors.ts'
import { AttrFlags } from '../format/attr.ts'
import { type Inode, openInode, requireChangeable, touchInode } from '../inode/inode.ts'
import { type Transaction, withTransaction } from '../tx/transaction.ts'
import { printable } from '../util/printable.ts'
import { sameBytes } from '../util/samebytes.ts'
import type { Volume } from '../volume.ts'
import { type AclKind, aclFromDisk, aclFromProgram, aclKeys, aclToProgram, setAcl } from './acl.ts'
import { type AttrKey, attributes, getAttr, removeAttr, type SetMode, setAttr } from './attr.ts'

/**
 * Extended attributes by the names that programs use: with the prefix `user.`, `trusted.` or
 * `security.`, and the two access control lists, `system.posix_acl_access` and
 * `system.posix_acl_default`. Names are bytes.
 */
export interface Xattr {
  /** Includes the namespace: `user.mime_type`. */
  readonly name: Uint8Array
  readonly value: Uint8Array
}

const encoder = new TextEncoder()
const prefixes = [
  { prefix: encoder.encode('user.'), space: 0 },
  { prefix: encoder.encode('trusted.'), space: AttrFlags.root as number },
  { prefix: encoder.encode('security.'), space: AttrFlags.secure as number },
]
const aclNames: readonly { readonly name: Uint8Array; readonly kind: AclKind }[] = [
  { name: encoder.encode('system.posix_acl_access'), kind: 'access' },
  { name: encoder.encode('system.posix_acl_default'), kind: 'default' },
]

const startsWith = (bytes: Uint8Array, prefix: Uint8Array): boolean =>
  bytes.length > prefix.length && prefix.every((byte, i) => bytes[i] === byte)

/** The type of access control list if the name is one. */
const aclKindOf = (name: Uint8Array): AclKind | undefined => aclNames.find((acl) => sameBytes(acl.name, name))?.kind

/** The key of an attribute's name. @throws XfsError UNSUPPORTED: no such namespace */
export function attrKey(name: Uint8Array): AttrKey {
  const kind = aclKindOf(name)
  if (kind) return aclKeys[kind]
  const found = prefixes.find(({ prefix }) => startsWith(name, prefix))
  if (!found)
    throw new XfsError(
      'UNSUPPORTED',
      `attribute "${printable(name)}": its name must begin with user. trusted. security. or system.posix_acl_`,
    )
  return { space: found.space, name: name.subarray(found.prefix.length) }
}

/** The name of an attribute's key; undefined for a parent pointer. */
function attrName({ space, name }: AttrKey): Uint8Array | undefined {
  const acl = aclNames.find(({ kind }) => aclKeys[kind].space === space && sameBytes(aclKeys[kind].name, name))
  if (acl) return acl.name
  const found = prefixes.find((row) => row.space === space)
  if (!found) return undefined
  const full = new Uint8Array(found.prefix.length + name.length)
  full.set(found.prefix)
  full.set(name, found.prefix.length)
  return full
}

/**
 * Every attribute that has a name, with its value, in the order in which they are stored. @throws
 * XfsError CORRUPT
 */
export function* xattrs(inode: Inode): Generator<Xattr> {
  for (const attr of attributes(inode)) {
    const name = attrName(attr)
    if (name) yield { name, value: aclKindOf(name) ? aclToProgram(aclFromDisk(attr.read())) : attr.read() }
  }
}

/** @throws XfsError NODATA, UNSUPPORTED, CORRUPT */
export function getXattr(inode: Inode, name: Uint8Array): Uint8Array {
  const value = getAttr(inode, attrKey(name))
  if (!value) throw new XfsError('NODATA', `inode ${inode.ino}: no attribute "${printable(name)}"`, { ino: inode.ino })
  return aclKindOf(name) ? aclToProgram(aclFromDisk(value)) : value
}

/**
 * Set an attribute in the caller's transaction; the caller updates timestamps. @throws XfsError as
 * `setXattr`
 */
function setXattrIn(tx: Transaction, inode: Inode, name: Uint8Array, value: Uint8Array, mode: SetMode = 'any'): void {
  const kind = aclKindOf(name)
  if (kind) setAcl(tx, inode, kind, aclFromProgram(value))
  else setAttr(tx, inode, attrKey(name), value, mode)
}

function requireXattr(inode: Inode, name: Uint8Array): void {
  requireChangeable(inode)
  if (attrKey(name).space === 0 && !inode.isRegular && !inode.isDirectory) {
    throw new XfsError('PERM', `inode ${inode.ino}: only regular files and directories can have user. attributes`, {
      ino: inode.ino,
    })
  }
}

/**
 * Set an attribute.
 * @throws XfsError EXIST, NODATA (see `mode`), INVAL (not an access control list), UNSUPPORTED (no
 *   such namespace), RANGE, PERM, NOSPC
 */
export function setXattr(
  volume: Volume,
  ino: number,
  name: Uint8Array,
  value: Uint8Array,
  mode: SetMode = 'any',
): void {
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    requireXattr(inode, name)
    setXattrIn(tx, inode, name, value, mode)
    touchInode(tx, inode, { ctime: true })
  })
}

/** Remove an attribute. @throws XfsError NODATA, UNSUPPORTED, PERM */
export function removeXattr(volume: Volume, ino: number, name: Uint8Array): void {
  withTransaction(volume, (tx) => {
    const inode = openInode(volume, ino, tx)
    requireXattr(inode, name)
    const kind = aclKindOf(name)
    // As in the kernel, removing a list that does not exist is not an error.
    if (kind) setAcl(tx, inode, kind, [])
    else removeAttr(tx, inode, attrKey(name))
    touchInode(tx, inode, { ctime: true })
  })
}
