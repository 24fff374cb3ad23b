import { aclFromDisk, aclFromProgram, aclKeys, aclToDisk, aclWithMode, checkAcl, modeOfAcl } from '../attr/acl.ts'
import { type AttrKey, checkAttr } from '../attr/attr.ts'
import { attrKey, type Xattr } from '../attr/xattrs.ts'
import { XfsError } from '../errors.ts'
import type { NewChildAttr } from '../namespace/newinodes.ts'
import { sameBytes } from '../util/samebytes.ts'
import { latin1 } from './pax.ts'

/** Attributes on their way into an image: from the names that programs use to what is kept. */

const ACL_PREFIX = new TextEncoder().encode('system.posix_acl_')
const isAcl = (name: Uint8Array): boolean =>
  name.length > ACL_PREFIX.length && sameBytes(name.subarray(0, ACL_PREFIX.length), ACL_PREFIX)

const keyText = ({ space, name }: AttrKey): string => `${space} ${latin1(name)}`
/** Where access control lists are kept. */
const aclPlaces: ReadonlySet<string> = new Set(Object.values(aclKeys).map(keyText))

/**
 * The attributes of a file as they are kept. An access control list that says no more than the mode goes without saying; one that says something else follows
 * the mode, as it does with chmod.
 * @param permissions  those that the file gets
 * @param onProblem    told of attributes that an image cannot hold
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
