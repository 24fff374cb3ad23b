import { Superblock } from '../format/sb.ts'
import { SCHEMA_VERSION } from './output.ts'

/**
 * JSON Schemas of everything that commands print with `--json`, by name. `xfskit schema` prints
 * them, and tests validate the output of every command.
 *
 * A command prints either one document, or a stream: a line with `schema` and `version`, and then a
 * record per line. Within one version properties are only added. Keys are in camelCase; fields of
 * structures on disk keep their names in XFS. Integers above 2^53 are strings of digits. Times are
 * ISO 8601 in UTC with nanoseconds, permissions octal strings. A name or path that is not UTF-8 has
 * `\xHH` for its bytes, and a second property, with `Base64` after its name, has the bytes.
 */

/** A JSON Schema (draft 2020-12), or a part of one. */
export type Schema = Readonly<Record<string, unknown>>

const text: Schema = { type: 'string' }
const boolean: Schema = { type: 'boolean' }
const integer: Schema = { type: 'integer' }
/** An integer of up to 64 bits. */
const bytes: Schema = { oneOf: [{ type: 'integer' }, { type: 'string', pattern: '^-?[0-9]+$' }] }
const mode: Schema = { type: 'string', pattern: '^0[0-7]{3,4}$' }
const time: Schema = {
  type: 'string',
  pattern: '^[+-]?[0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{9}Z$',
}
const path: Schema = { type: 'string', pattern: '^/' }
const base64: Schema = { type: 'string', contentEncoding: 'base64' }
const list = (items: Schema): Schema => ({ type: 'array', items })
const oneOf = (...values: readonly (string | number | null)[]): Schema => ({ enum: values })

/** Properties; those whose name ends in `?` may be absent. */
function object(properties: Readonly<Record<string, Schema>>): Schema {
  const entries = Object.entries(properties)
  return {
    type: 'object',
    properties: Object.fromEntries(entries.map(([name, schema]) => [name.replace('?', ''), schema])),
    required: entries.filter(([name]) => !name.endsWith('?')).map(([name]) => name),
    additionalProperties: false,
  }
}

const typeNames = [
  'regular file', 'directory', 'symbolic link', 'character device', 'block device', 'fifo', 'socket',
] // biome-ignore format: pairs
const types = oneOf(...typeNames)
const device = object({ major: integer, minor: integer })
const located = { path, 'pathBase64?': base64 }
const target = { 'target?': text, 'targetBase64?': base64 }

const listing = {
  ...located, ino: integer, type: types, mode, nlink: integer, uid: integer, gid: integer, size: bytes, mtime: time, 'device?': device, ...target,
} // biome-ignore format: pairs

/** Fields of an AG's records. */
const freeSpace = { agno: integer, startblock: integer, blockcount: integer }
const mask: Schema = { type: 'string', pattern: '^0x[0-9a-f]+$' }
const inodeChunk = {
  agno: integer, startino: integer, ino: integer, holemask: mask, count: integer, freecount: integer, free: mask,
} // biome-ignore format: pairs
const extentFlags = list(oneOf('unwritten', 'shared'))
const bit = oneOf(0, 1)

const fieldSchema = (kind: string): Schema =>
  kind === 'uuid' || kind === 'text' ? text : kind === 'lsn' ? object({ cycle: integer, block: integer }) : bytes
const superblock = object(
  Object.fromEntries(
    Superblock.list.filter(({ kind }) => kind !== 'pad').map(({ name, kind }) => [`${name}?`, fieldSchema(kind)]),
  ),
)

interface Declared {
  /**
   * A stream of such records, one document, or a part of documents and of the first lines of
   * streams.
   */
  readonly kind: 'records' | 'document' | 'part'
  readonly schema: Schema
}

const records = (properties: Readonly<Record<string, Schema>>): Declared => ({
  kind: 'records',
  schema: object(properties),
})

const document = (properties: Readonly<Record<string, Schema>>): Declared => ({
  kind: 'document',
  schema: object({ schema: text, version: { const: SCHEMA_VERSION }, ...properties }),
})

const failed = { code: text, message: text }
/** Set if the changes went to memory only. */
const dryRun = { 'dryRun?': { const: true } }

const stamp: Schema = { type: 'string', pattern: '^-?[0-9]+$' }
const checksum: Schema = { type: 'string', pattern: '^[0-9a-f]{8}$' }
/**
 * What `--apply` needs: the command line of the dry run, and the states of the image and of the
 * host's files that it has read. Times are nanoseconds since 1970.
 */
const plan = object({
  program: text,
  command: text,
  arguments: list(text),
  'argumentsBase64?': { type: 'object', additionalProperties: base64 },
  image: object({ uuid: text, size: integer, log: text, superblock: checksum, groups: checksum, 'modified?': stamp }),
  sources: list({
    oneOf: [
      object({ path: text, 'pathBase64?': base64, size: stamp, ino: stamp, modified: stamp, changed: stamp }),
      object({ path: text, 'pathBase64?': base64, size: stamp, sha256: { type: 'string', pattern: '^[0-9a-f]{64}$' } }),
    ],
  }),
})
const planned = { ...dryRun, 'plan?': plan }

/** What a command did to each of its paths. @param more  properties of each path */
const changed = (more: Readonly<Record<string, Schema>> = {}): Declared =>
  document({
    done: list(object({ ...located, ...more })),
    failed: list(object({ ...located, ...failed })),
    ...planned,
  })

/** Fields of a structure on disk. */
const fieldValues: Schema = {
  type: 'object',
  additionalProperties: { oneOf: [text, integer, list({ oneOf: [text, integer] })] },
}
const inLog = { cycle: integer, block: integer }
/** What the log has: a record, a transaction, or an item of the transaction before it. */
const logEntries = [
  object({
    kind: { const: 'record' }, ...inLog, tailCycle: integer, tailBlock: integer, length: integer, operations: integer, byteOrder: oneOf('little', 'big'),
  }),
  object({ kind: { const: 'transaction' }, tid: mask, ...inLog, items: integer }),
  object({
    kind: { const: 'item' }, tid: mask, type: text, regions: list(integer), fields: fieldValues, 'block?': text, 'cancelled?': { const: true },
    'core?': fieldValues, 'extents?': list(fieldValues), 'attribute?': { type: 'object', additionalProperties: text },
  }),
] // biome-ignore format: an entry an object

/** A pair of files, and a range of them. */
const pair = {
  src: path, 'srcBase64?': base64, dst: path, 'dstBase64?': base64, srcOffset: bytes, dstOffset: bytes, 'length?': bytes,
} // biome-ignore format: pairs
/** `bytes` that are shared now, in `mapped` extents. `ok` is false if nothing was. */
const reflinked = { ok: { const: true }, bytes, mapped: integer }
const deduped = { ok: boolean, same: boolean, bytes, mapped: integer }
/** A stream with the result of each pair. */
const batch = (result: Readonly<Record<string, Schema>>): Declared => ({
  kind: 'records',
  schema: {
    oneOf: [object({ ...pair, ...result, ...dryRun }), object({ ...pair, ok: { const: false }, ...failed, ...dryRun })],
  },
})

const xattrName = { name: text, 'nameBase64?': base64 }
const aclEntry = object({
  tag: oneOf('userObj', 'user', 'groupObj', 'group', 'mask', 'other'),
  'id?': integer,
  perm: { type: 'integer', minimum: 0, maximum: 7 },
})

const flags = { flags: list(text), projid: integer, extsize: bytes, cowextsize: bytes }
/** The values that the text of a finding's kind names. */
const facts: Schema = { type: 'object', additionalProperties: { oneOf: [{ type: 'string' }, { type: 'number' }] } }
const finding = object({
  id: text,
  fix: oneOf('patch', 'clear', 'rebuild', 'restore', null),
  note: boolean,
  message: text,
  facts,
  'path?': path,
  'pathBase64?': base64,
})
const findings = { findings: list(finding), omitted: list(object({ id: text, count: integer })), total: integer }

/** Files that could not be copied: of the host, or of the image. */
const copyProblems = list(object({ path, 'pathBase64?': base64, message: text, 'code?': text }))

/** The layout of a structure on disk, in bytes. */
const structure = object({
  name: text,
  size: integer,
  source: text,
  fields: list(
    object({
      name: text,
      offset: integer,
      size: integer,
      'bits?': object({ first: integer, width: integer }),
      kind: text,
      'count?': integer,
      'struct?': text,
      'magic?': integer,
      'since?': text,
      'to?': text,
      doc: text,
    }),
  ),
})

const extent = {
  ino: integer,
  offset: integer,
  length: integer,
  block: { oneOf: [object({ agno: integer, agbno: integer }), object({ fsbno: integer })] },
}
const action = (name: string, properties: Readonly<Record<string, Schema>>): Schema =>
  object({ action: { const: name }, ...properties, text })
/** What a repair does. */
const repairAction: Schema = {
  oneOf: [
    action('formatLog', { cycle: integer }),
    action('restoreExtent', { from: oneOf('rmapbt', 'bnobt'), ...extent }),
    action('cutExtent', extent),
    action('setCounts', { ino: integer }),
    action('setInode', { ino: integer, fields: list(text) }),
    action('clearInode', { ino: integer }),
    action('makeRoot', { ino: integer }),
    action('writeDirectory', { ino: integer, entries: integer, dropped: integer }),
    action('writeAttributes', { ino: integer, attributes: integer }),
    action('writeSymlink', { ino: integer }),
    action('discardInode', { ino: integer }),
    action('connect', { ino: integer, directory: integer, name: text }),
    action('moveToLostFound', { ino: integer }),
    action('setParent', { ino: integer, parent: integer }),
    action('setLinks', { ino: integer, nlink: integer }),
    action('setParentPointers', { ino: integer, removed: integer, added: integer }),
    action('rebuildBtree', { agno: integer, tree: text, records: integer, blocks: integer }),
    action('writeHeaders', { agno: integer, headers: list(oneOf('AGF', 'AGI', 'AGFL')) }),
    action('setReflinkFlag', { ino: integer }),
    action('writeSuperblock', { agno: integer }),
    action('freeUnlinked', { inodes: integer }),
    action('freeCow', { blocks: integer }),
  ],
}

/** Values by the names that xfs_io prints. */
const statFields: Schema = { type: 'object', additionalProperties: { oneOf: [text, { type: 'number' }] } }

/** A result of a command of xfs_db or xfs_io. */
const record = (kind: string, properties: Readonly<Record<string, Schema>>): Schema =>
  object({ kind: { const: kind }, 'file?': text, ...properties })

const orNull = (schema: Schema): Schema => ({ oneOf: [schema, { type: 'null' }] })
const place = { type: orNull(text), daddr: integer, fsbno: bytes, ino: orNull(bytes) }
const rawName = { name: text, 'nameBase64?': base64 }

/** Results of commands of xfs_db. Places and lengths are in blocks, unless they say otherwise. */
const dbRecord: Schema = {
  oneOf: [
    record('address', { unit: text, value: bytes }),
    record('block', { type: orNull(text), level: integer, number: integer, daddr: integer }),
    record('current', { 'ino?': bytes, 'fsbno?': bytes, 'daddr?': bytes }),
    record('entry', { directory: bytes, address: integer, ino: bytes, type: text, hash: integer, good: boolean, ...rawName }),
    record('extent', {
      fork: oneOf('data', 'attr'), startoff: bytes, startblock: bytes, agno: integer, agbno: integer, blockcount: integer, extentflag: bit,
    }),
    record('field', { name: text, value: {}, 'correct?': boolean }),
    record('fileExtents', { ino: bytes, actual: integer, ideal: integer }),
    record('fragmentation', { actual: integer, ideal: integer }),
    record('freeExtent', { agno: integer, agbno: integer, blocks: integer }),
    record('freeSizes', { from: integer, to: integer, extents: integer, blocks: integer }),
    record('freeTotal', { extents: integer, blocks: integer }),
    record('hash', { hash: integer, ...rawName }),
    record('info', { features: list(text), superblock }),
    record('label', { label: text }),
    record('limit', { name: text, value: integer }),
    record('parent', { ino: bytes, parent: bytes, generation: integer, ...rawName }),
    record('path', { ino: bytes, path }),
    record('place', {
      ...place, offset: bytes, length: integer, blocks: list(object({ bb: integer, blen: integer })), directory: orNull(bytes),
    }),
    record('reservation', { agno: integer, length: integer, free: integer, reserved: integer, used: integer }),
    record('ringEntry', { ...place, index: integer, current: boolean, length: integer }),
    record('rmap', {
      agno: integer, startblock: integer, blockcount: integer, owner: bytes, offset: bytes, bmbtblock: bit, attrfork: bit, extentflag: bit,
    }),
    record('types', { type: orNull(text), types: list(text) }),
    record('unlinked', { agno: integer, bucket: integer, agino: integer, ino: bytes, blocks: integer }),
    record('uuid', { uuid: text }),
    record('version', { version: integer, versionnum: integer, features2: integer, features: list(text) }),
  ],
} // biome-ignore format: pairs

/** Results of commands of xfs_io. Places and lengths are in bytes. */
const ioRecord: Schema = {
  oneOf: [
    record('content', { offset: bytes, length: integer, base64 }),
    record('cowextsize', { path: text, bytes }),
    record('done', { what: text, offset: bytes, bytes, requested: bytes, calls: integer, seconds: { type: 'number' } }),
    record('extsize', { path: text, bytes }),
    record('flags', { path: text, xflags: integer, flags: list(text) }),
    record('inode', { ino: orNull(bytes), bits: oneOf(32, 64) }),
    record('label', { label: text }),
    record('mapping', {
      offset: bytes, length: bytes, physical: orNull(bytes), flags: list(oneOf('last', 'unwritten', 'shared')),
    }),
    record('openFile', { index: integer, current: boolean, flags: list(text) }),
    record('owner', {
      owner: oneOf('inode', 'free', 'unknown', 'fs', 'log', 'ag', 'inobt', 'inodes', 'refc', 'cow'),
      'ino?': bytes, 'fork?': oneOf('data', 'attr'), 'offset?': bytes, 'bmbt?': { const: true }, physical: bytes, length: bytes, flags: extentFlags,
    }),
    record('parent', { parent: bytes, generation: integer, ...rawName }),
    record('path', { path, 'pathBase64?': base64 }),
    record('project', { path: text, projid: integer }),
    record('seek', { whence: oneOf('data', 'hole'), start: bytes, result: orNull(bytes) }),
    record('stat', { fields: statFields }),
    record('statfs', { fields: statFields }),
  ],
} // biome-ignore format: pairs

export const schemas: Readonly<Record<string, Declared>> = {
  cat: records({ ...located, offset: bytes, length: bytes, base64 }),
  chattr: changed(),
  chmod: changed(),
  chown: changed(),
  dedupe: document({ ...pair, ...deduped, ...planned }),
  'dedupe.batch': batch(deduped),
  du: records({
    ...located, referenced: bytes, shared: bytes, exclusive: bytes, total: bytes, freed: bytes, inodes: integer, size: bytes,
  }), // biome-ignore format: pairs
  /** What a command gave: records, and lines of text of what has no fields. */
  'db.command': document({ command: text, records: list(dbRecord), output: list(text), 'refused?': text }),
  'db.describe': document({ structures: list(structure) }),
  /** A structure: `fields` as they are named on disk, in XFS; or `bytes` in hexadecimal. */
  'db.print': document({
    'type?': text,
    daddr: integer,
    offset: integer,
    length: integer,
    'fields?': { type: 'object' },
    'bytes?': text,
  }),
  'dump.bnobt': records(freeSpace),
  'dump.cntbt': records(freeSpace),
  'dump.inobt': records(inodeChunk),
  'dump.finobt': records(inodeChunk),
  'dump.rmapbt': records({
    agno: integer, startblock: integer, blockcount: integer, owner: bytes, ownerName: { type: ['string', 'null'] }, offset: bytes, extentflag: bit,
    attrfork: bit, bmbtblock: bit,
  }), // biome-ignore format: pairs
  'dump.refcountbt': records({ ...freeSpace, refcount: integer, cowflag: bit }),
  'dump.bmbt': records({
    ino: integer, startoff: bytes, startblock: integer, agno: integer, agbno: integer, blockcount: integer, extentflag: bit,
  }), // biome-ignore format: pairs
  fiemap: records({ offset: bytes, length: bytes, physical: bytes, flags: extentFlags }),
  check: document({ image: text, ...findings, consistent: boolean, dirty: boolean }),
  problems: document({
    problems: list(
      object({
        id: text,
        severity: oneOf('error', 'note'),
        fix: oneOf('patch', 'clear', 'rebuild', 'restore', null),
        cost: oneOf('nothing', 'name', 'attribute', 'extent', 'file'),
        message: text,
      }),
    ),
  }),
  find: records(listing),
  /** In blocks; `offset` is that in the fork. With `bmbt` the blocks hold the fork's block map. */
  fsmap: records({
    agno: integer, agbno: integer, blocks: integer,
    owner: oneOf('inode', 'free', 'unknown', 'fs', 'log', 'ag', 'inobt', 'inodes', 'refc', 'cow'),
    'ino?': integer, 'fork?': oneOf('data', 'attr'), 'offset?': bytes, 'bmbt?': { const: true }, flags: extentFlags, 'path?': path,
    'pathBase64?': base64,
  }), // biome-ignore format: pairs
  fsr: document({
    done: list(object({ ...located, before: integer, after: integer, moved: integer, 'skipped?': text })),
    failed: list(object({ ...located, ...failed })),
    ...dryRun,
  }),
  ln: document({
    done: list(object({ ...located, target: text, 'targetBase64?': base64 })),
    failed: list(object({ ...located, target: text, 'targetBase64?': base64, ...failed })),
    ...dryRun,
  }),
  /** `from` the kernel, which has less, if the filesystem is mounted. */
  info: document({
    image: text,
    'imageBase64?': base64,
    from: oneOf('image', 'kernel'),
    features: list(text),
    superblock,
  }),
  get: document({ files: integer, bytes, problemCount: integer, problems: copyProblems }),
  /** What a command of xfs_io gave: records, lines of text of what has no fields, and messages. */
  'io.command': document({ command: text, records: list(ioRecord), output: list(text), errors: list(text) }),
  logprint: { kind: 'records', schema: { oneOf: logEntries } },
  ls: records(listing),
  lsattr: records({ ...located, ...flags, letters: { type: 'string', pattern: '^[a-zA-Z]*$' } }),
  message: document({
    level: oneOf('error', 'warning', 'note'),
    'command?': text,
    message: text,
    'code?': text,
    'path?': path,
    'pathBase64?': base64,
    'status?': integer,
  }),
  mkdir: changed(),
  mkfs: document({
    image: text,
    'imageBase64?': base64,
    features: list(text),
    superblock,
    'filled?': object({ files: integer, bytes, problemCount: integer, problems: copyProblems }),
  }),
  mknod: changed(),
  mv: changed({ to: path, 'toBase64?': base64 }),
  plan: { kind: 'part', schema: plan },
  put: document({
    files: integer,
    bytes,
    problemCount: integer,
    problems: copyProblems,
    names: list(
      object({
        ...located,
        action: oneOf('create', 'replace', 'merge'),
        type: oneOf(...typeNames, 'hard link'),
        'size?': bytes,
      }),
    ),
    ...planned,
  }),
  reflink: document({ ...pair, ...reflinked, ...planned }),
  'reflink.batch': batch(reflinked),
  undo: document({ image: text, file: text, bytes: integer }),
  recover: document({
    image: text,
    ...dryRun,
    transactions: integer,
    blocks: integer,
    inodes: integer,
    cowBlocks: integer,
    unmarked: boolean,
    'refused?': text,
  }),
  repair: document({
    image: text,
    ...planned,
    changed: boolean,
    'replayed?': object({ transactions: integer, blocks: integer }),
    before: object(findings),
    actions: list(repairAction),
    after: object(findings),
    declined: list(
      object({
        id: text,
        place: object({ 'agno?': integer, 'agbno?': integer, 'blocks?': integer, 'ino?': integer }),
        reason: text,
      }),
    ),
  }),
  shares: records({
    offset: bytes,
    length: bytes,
    ino: integer,
    inoOffset: bytes,
    'path?': path,
    'pathBase64?': base64,
  }),
  'shares.histogram': records({
    agno: integer,
    owners: { oneOf: [integer, { const: 'cow' }] },
    blocks: integer,
  }),
  shims: document({ done: list(object(located)), failed: list(object({ ...located, ...failed })) }),
  rm: changed({ removed: list(object(located)) }),
  stat: document({
    ...located, ino: integer, generation: integer, changeCount: integer, type: types, mode, nlink: integer, uid: integer, gid: integer, projid: integer,
    size: bytes, blocks: integer, extents: integer, attrExtents: integer, atime: time, mtime: time, ctime: time, 'crtime?': time,
    flags: list(text), extsize: integer, cowextsize: integer, 'device?': device, ...target,
  }), // biome-ignore format: pairs
  touch: changed(),
  truncate: changed(),
  tree: records({ ...located, depth: integer, ino: integer, type: types, size: bytes, ...target }),
  unshare: document({ ...located, copied: integer, cleared: boolean, ...dryRun }),
  write: document({ ...located, offset: bytes, bytes, ...dryRun }),
  xattr: records({
    ...located,
    ...xattrName,
    size: integer,
    value: text,
    'valueBase64?': base64,
    'acl?': list(aclEntry),
  }),
  'xattr.remove': document({ ...located, ...xattrName, ...dryRun }),
  'xattr.set': document({ ...located, ...xattrName, ...dryRun }),
}

const TITLES = { document: 'one document', records: 'one record of a stream', part: 'part of a document' } as const

/** The complete schema of a name, with its identification. */
export function schemaOf(name: string): Schema | undefined {
  if (!Object.hasOwn(schemas, name)) return undefined
  const { kind, schema } = schemas[name] as Declared
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `xfskit.${name}/${SCHEMA_VERSION}`,
    title: `xfskit.${name}: ${TITLES[kind]}`,
    ...schema,
  }
}
