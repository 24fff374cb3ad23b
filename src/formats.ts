/**
 * xfskit/format: what the bytes mean. Every structure of XFS as a declaration of its fields, which
 * decodes and encodes it.
 *
 * @packageDocumentation
 */
export { describeStruct, type FieldDescription, type StructDescription } from './db/describe.ts'
export { structures } from './db/types.ts'
export type { Feature, Features } from './format/features.ts'
export type { Geometry } from './format/geometry.ts'
export type { Field, FieldKind, FieldTable, Lsn, Mask64, Rec, Struct, Unnamed } from './format/struct.ts'
