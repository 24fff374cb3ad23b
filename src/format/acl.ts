import { pad, u16, u32 } from './fields.ts'
import { littleEndian } from './hostorder.ts'
import { struct } from './struct.ts'

/**
 * Access control lists: a header, then entries. On disk they are the value of an attribute
 * (big-endian). Programs see the values of `system.posix_acl_…` (little-endian).
 */

// biome-ignore format: one field a line, columns aligned
export const AclHdr = struct('acl', 4, 'xfs_format.h: struct xfs_acl', {
  cnt:     u32(0, 'entries'),
})

// biome-ignore format: one field a line, columns aligned
export const AclDiskEntry = struct('acl_entry', 12, 'xfs_format.h: struct xfs_acl_entry', {
  tag:     u32(0, 'type of the entry'),
  id:      u32(4, 'user or group'),
  perm:    u16(8, 'permissions'),
  pad:     pad(10, 2),
})

export const POSIX_ACL_VERSION = 2

// biome-ignore format: one field a line, columns aligned
export const PosixAclHdr = littleEndian(struct('posix_acl_xattr_header', 4, 'posix_acl_xattr.h', {
  version: u32(0, 'POSIX_ACL_VERSION'),
}))

// biome-ignore format: one field a line, columns aligned
export const PosixAclEntry = littleEndian(struct('posix_acl_xattr_entry', 8, 'posix_acl_xattr.h', {
  tag:     u16(0, 'type of the entry'),
  perm:    u16(2, 'permissions'),
  id:      u32(4, 'user or group'),
}))
