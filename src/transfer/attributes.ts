import { XfsError } from '../errors.ts'
import { aclFromProgram, aclKeys, aclToDisk, aclWithMode, modeOfAcl } from '../file/acl.ts'
import { sameBytes } from '../file/dir-read.ts'
import type { NewChildAttr } from '../file/populate.ts'
import { attrKey, type Xattr } from '../file/xattrs.ts'
import { latin1 } from './pax.ts'

/** Attributes on their way into an image: from the names that programs use to what is kept. */

const ACL_PREFIX = new TextEncoder().encode('system.posix_acl_')
const isAcl = (name: Uint8Array): boolean =>
  name.length > ACL_PREFIX.length && sameBytes(name.subarray(0, ACL_PREFIX.length), ACL_PREFIX)

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
      const known = `${key.space} ${latin1(key.name)}`
      if (kept.has(known)) continue
      if (isAcl(name)) {
        const entries = aclFromProgram(value)
        const isAccess = key.name === aclKeys.access.name
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
