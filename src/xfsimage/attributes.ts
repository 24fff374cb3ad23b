/** Flags, device numbers and access control lists: their forms as text and numbers. */
export { ACL_TAGS, type AclEntry, aclFromProgram, aclFromText, aclToProgram, aclToText } from '../attr/acl.ts'
export { type FlagChanges, flagLetters, flagsText } from '../attr/setattr.ts'
export { DEVICE_LIMITS } from '../inode/inode.ts'
