import { XfsError } from '../errors.ts'
import { aclFromDisk, aclFromProgram, aclKeys, aclToDisk, modeOfAcl } from '../file/acl.ts'
import { sameBytes } from '../file/dir-read.ts'
import type { NewChildAttr } from '../file/populate.ts'
import { attrKey, type Xattr } from '../file/xattrs.ts'

/** Attributes on their way into an image: from the names that programs use to what is kept. */

const ACL_PREFIX = new TextEncoder().encode('system.posix_acl_')
const isAcl = (name: Uint8Array): boolean =>
  name.length > ACL_PREFIX.length && sameBytes(name.subarray(0, ACL_PREFIX.length), ACL_PREFIX)

/**
 * The attributes of a file as they are kept. An access control list that says no more than the mode goes without saying.
 * @param onProblem  told of attributes that an image cannot hold
 */
export function keptAttributes(list: Iterable<Xattr>, onProblem: (error: XfsError) => void): NewChildAttr[] {
  const kept: NewChildAttr[] = []
  for (const { name, value } of list) {
    try {
      const key = attrKey(name)
      if (kept.some((other) => other.space === key.space && sameBytes(other.name, key.name))) continue
      if (isAcl(name)) {
        const entries = aclFromProgram(value)
        if (entries.length === 0 || (key.name === aclKeys.access.name && modeOfAcl(entries).plain)) continue
        kept.push({ ...key, value: aclToDisk(entries) })
      } else kept.push({ ...key, value })
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      onProblem(error)
    }
  }
  return kept
}

/** The permissions that an access control list among them asks for. */
export function aclPermissions(attrs: readonly NewChildAttr[]): number | undefined {
  const list = attrs.find(({ space, name }) => space === aclKeys.access.space && sameBytes(name, aclKeys.access.name))
  return list && modeOfAcl(aclFromDisk(list.value)).permissions
}
