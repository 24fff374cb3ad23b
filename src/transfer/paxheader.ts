import { aclFromText, aclToProgram, type IdOf } from '../attr/acl.ts'
import type { Xattr } from '../attr/xattrs.ts'
import { XfsError } from '../errors.ts'
import { MAX_PATH } from '../namespace/resolve.ts'
import { DataMap, decimals } from './datamap.ts'
import { bad, copyOf, latin1, parsePax, paxNameOf } from './pax.ts'

/** Records that describe a file; all others are ignored. */
const FIELDS: ReadonlySet<string> = new Set([
  'path', 'linkpath', 'size', 'uid', 'gid', 'mtime', 'atime', 'SCHILY.devmajor', 'SCHILY.devminor',
  'GNU.sparse.name', 'GNU.sparse.major', 'GNU.sparse.minor', 'GNU.sparse.size', 'GNU.sparse.realsize',
]) // biome-ignore format: a table

/** Maximum bytes of a field that are kept: enough to detect a name that is too long. */
export const MAX_FIELD = 2 * MAX_PATH
/** Maximum bytes of a global header, which is processed again for each entry. */
const MAX_GLOBAL = 2 ** 16
/** Maximum attributes of a file: seven times as many as listxattr(2) can list. */
const MAX_XATTRS = 2 ** 16

const SCHILY = 'SCHILY.xattr.'
const LIBARCHIVE = 'LIBARCHIVE.xattr.'
const acls = {
  'SCHILY.acl.access': 'system.posix_acl_access',
  'SCHILY.acl.default': 'system.posix_acl_default',
} as const

const isXattr = (key: string): boolean => key.startsWith(SCHILY) || key.startsWith(LIBARCHIVE) || key in acls

const COMMA = 0x2c

/**
 * The supported records of the extended headers of a file. Others are dropped: a header may have a
 * million records in a buffer of 64 MiB.
 */
export class PaxHeader {
  readonly #fields: Map<string, Uint8Array>
  readonly #xattrs: Map<string, Uint8Array>
  /** The sparse map, in those formats of GNU tar that have it in records. */
  dataMap = new DataMap()

  /** @param before  defaults for records that this header lacks */
  constructor(before?: PaxHeader) {
    this.#fields = new Map(before ? before.#fields : [])
    this.#xattrs = new Map(before ? before.#xattrs : [])
  }

  /** Add the records of a header. @throws XfsError INVAL */
  read(bytes: Uint8Array): this {
    for (const [key, value] of parsePax(bytes)) {
      if (FIELDS.has(key)) this.#fields.set(key, copyOf(value, MAX_FIELD))
      else if (isXattr(key)) this.#addXattr(key, copyOf(value))
      else if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') this.#addHoles(value)
      else if (key === 'GNU.sparse.map') {
        this.dataMap = new DataMap()
        this.#addHoles(value)
      }
    }
    return this
  }

  /** Add the records of a global header, for all following files. @throws XfsError INVAL */
  readGlobal(bytes: Uint8Array): this {
    this.read(bytes)
    let total = 0
    for (const [key, value] of [...this.#fields, ...this.#xattrs]) total += key.length + value.length
    if (total > MAX_GLOBAL) throw bad(`a global header with ${total} bytes for every file`)
    return this
  }

  #addXattr(key: string, value: Uint8Array): void {
    this.#xattrs.set(key, value)
    if (this.#xattrs.size > MAX_XATTRS) throw bad(`a file with more than ${MAX_XATTRS} attributes`)
  }

  #addHoles(value: Uint8Array): void {
    for (const number of decimals([value], COMMA)) this.dataMap.push(number)
  }

  /** An empty value restores the field of the header. */
  get(key: string): Uint8Array | undefined {
    const value = this.#fields.get(key)
    return value?.length === 0 ? undefined : value
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  /** Attributes (the last one of each name), and faults of invalid ones. */
  xattrs(idOf: IdOf | undefined): { readonly xattrs: Xattr[]; readonly faults: XfsError[] } {
    const found = new Map<string, Xattr>()
    const faults: XfsError[] = []
    for (const [key, value] of this.#xattrs) {
      if (key.startsWith(SCHILY)) {
        const name = paxNameOf(key.slice(SCHILY.length))
        found.set(latin1(name), { name, value })
      } else if (key.startsWith(LIBARCHIVE)) {
        const name = Buffer.from(decodePercent(key.slice(LIBARCHIVE.length)), 'latin1')
        if (!found.has(latin1(name))) found.set(latin1(name), { name, value: Buffer.from(latin1(value), 'base64') })
      } else if (value.length > 0) {
        const name = acls[key as keyof typeof acls]
        try {
          found.set(name, {
            name: Buffer.from(name),
            value: aclToProgram(aclFromText(Buffer.from(value).toString('utf8'), idOf)),
          })
        } catch (error) {
          if (!(error instanceof XfsError)) throw error
          faults.push(error)
        }
      }
    }
    return { xattrs: [...found.values()], faults }
  }
}

const decodePercent = (text: string): string =>
  text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
