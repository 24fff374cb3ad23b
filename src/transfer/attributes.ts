import { aclFromDisk, aclFromProgram, aclKeys, aclToDisk, aclWithMode, checkAcl, modeOfAcl } from '../attr/acl.ts'
import { type AttrKey, checkAttr } from '../attr/attr.ts'
import { attrKey, type Xattr } from '../attr/xattrs.ts'
import { XfsError } from '../errors.ts'
import type { NewChildAttr } from '../namespace/newinodes.ts'
import { sameBytes } from '../util/samebytes.ts'
import { latin1 } from './pax.ts'

/**
 * Convert attributes that are copied into an image from the names that programs use to those on
 * disk.
 */

const ACL_PREFIX = new TextEncoder().encode('system.posix_acl_')
const isAcl = (name: Uint8Array): boolean =>
  name.length > ACL_PREFIX.length && sameBytes(name.subarray(0, ACL_PREFIX.length), ACL_PREFIX)

const keyText = ({ space, name }: AttrKey): string => `${space} ${latin1(name)}`
/** Names of ACLs on disk. */
const aclPlaces: ReadonlySet<string> = new Set(Object.values(aclKeys).map(keyText))

/**
 * The attributes of a file as stored on disk. An ACL that is equivalent to the mode is omitted; any
 * other is adapted to the mode, as with chmod.
 * @param permissions  the permissions of the new file
 * @param onProblem    called for attributes that an image cannot store
 */
export function keptAttributes(
  list: Iterable<Xattr>,
  permissions: number,
  onProblem: (error: XfsError) => void,
): NewChildAttr[] {
  const kept = new Map<string, NewChildAttr>()
  for (const { name, value } of list) {
    try {
      const key = attrKey(name)
      const known = keyText(key)
      if (kept.has(known)) continue
      checkAttr(key, value)
      if (aclPlaces.has(known)) {
        // Programs also see them as trusted attributes, as they are on disk.
        const entries = isAcl(name) ? aclFromProgram(value) : checkAcl(aclFromDisk(value))
        const isAccess = known === keyText(aclKeys.access)
        if (entries.length === 0 || (isAccess && modeOfAcl(entries).plain)) continue
        kept.set(known, { ...key, value: aclToDisk(isAccess ? aclWithMode(entries, permissions) : entries) })
      } else kept.set(known, { ...key, value })
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      onProblem(error)
    }
  }
  return [...kept.values()]
}
