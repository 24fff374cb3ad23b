import { createHash } from 'node:crypto'

/**
 * A filesystem for a random run: that of xfskit, on an image, or the kernel's, mounted. Paths are
 * bytes, one character each, from the root.
 */
export interface Twin {
  create(path: string, mode: number): void
  mkdir(path: string, mode: number): void
  symlink(target: string, path: string): void
  link(from: string, path: string): void
  mknod(path: string, mode: number, device: Device): void
  rename(from: string, to: string, how: RenameHow): void
  unlink(path: string): void
  rmdir(path: string): void
  write(path: string, offset: number, bytes: Uint8Array): void
  truncate(path: string, size: number): void
  allocate(path: string, mode: AllocateMode, offset: number, length: number): void
  chmod(path: string, mode: number): void
  chown(path: string, uid: number, gid: number): void
  /** Nanoseconds since 1970. */
  setTimes(path: string, atime: bigint, mtime: bigint): void
  attributes(path: string, changes: Attributes): void
  setXattr(path: string, name: string, value: Uint8Array, mode: XattrMode): void
  removeXattr(path: string, name: string): void
  clone(from: string, to: string, range: Range): void
  dedupe(from: string, to: string, range: Range): string
  /** One line per name, in the order of their bytes: everything that must be equal. */
  manifest(): string[]
}

export interface Device {
  readonly major: number
  readonly minor: number
}
export type RenameHow = 'replace' | 'refuse' | 'exchange'
export type XattrMode = 'any' | 'create' | 'replace'
export const ALLOCATE_MODES = [
  'alloc',
  'allocKeep',
  'punch',
  'zero',
  'zeroKeep',
  'collapse',
  'insert',
  'unshare',
] as const
export type AllocateMode = (typeof ALLOCATE_MODES)[number]

export interface Attributes {
  /** Letters of chattr in xfs_io. */
  readonly set?: string
  readonly clear?: string
  readonly projid?: number
  readonly extsize?: number
  readonly cowextsize?: number
}

export interface Range {
  readonly srcOffset: number
  readonly dstOffset: number
  readonly length: number
}

/** Do it; returns the result, or the name of the error. */
export function outcome(action: () => unknown): string {
  try {
    const result = action()
    return typeof result === 'string' ? result : 'ok'
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code)) throw error
    return code
  }
}

// ----------------------------------------------------------------------------- lines of a manifest

/** The content of a line about a file, with the same format for both. */
export interface Line {
  readonly path: string
  readonly type: string
  readonly permissions: number
  readonly uid: number
  readonly gid: number
  readonly nlink: number
  readonly size: number
  /** Nanoseconds since 1970. */
  readonly mtime: bigint
  readonly atime: bigint
  readonly device?: Device | undefined
  readonly target?: string | undefined
  /** `--i-----a--`, of files and directories */
  readonly flags?: string | undefined
  readonly projid?: number | undefined
  readonly extsize?: number | undefined
  readonly cowextsize?: number | undefined
  readonly content?: string | undefined
  readonly map?: readonly MapRun[] | undefined
  readonly xattrs: readonly (readonly [name: string, value: Uint8Array])[]
}

/** In blocks. */
export interface MapRun {
  readonly start: number
  readonly length: number
  readonly unwritten: boolean
  readonly shared: boolean
}

const began = BigInt(Date.now()) * 1_000_000n
const DAY = 86_400_000_000_000n

/** Times that were not set explicitly are printed as those of the run. */
const timeText = (time: bigint): string => (time > began - DAY && time < began + DAY ? 'now' : String(time))

export const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16)

/** Merge adjacent runs of one kind. */
export function merged(runs: Iterable<MapRun>): MapRun[] {
  const list: MapRun[] = []
  for (const run of runs) {
    const last = list.at(-1)
    const joins =
      last && last.unwritten === run.unwritten && last.shared === run.shared && last.start + last.length === run.start
    if (joins) list.splice(-1, 1, { ...last, length: last.length + run.length })
    else list.push(run)
  }
  return list
}

export const written = (runs: readonly MapRun[]): MapRun[] => runs.filter(({ unwritten }) => !unwritten)

/**
 * The length that an extent size hint allocates past EOF, and when the kernel frees it, are up to
 * the kernel.
 */
const mapText = (runs: readonly MapRun[], hint: boolean): string =>
  runs
    .filter(({ unwritten }) => !(hint && unwritten))
    .map(({ start, length, unwritten, shared }) => `${unwritten ? 'u' : shared ? 's' : 'w'}${start}-${start + length}`)
    .join(',')

export function lineText(line: Line): string {
  const parts = [
    escaped(line.path || '.').replaceAll(' ', '\\x20'),
    line.type,
    line.permissions.toString(8),
    `${line.uid}:${line.gid}`,
    `n${line.nlink}`,
    line.device ? `dev=${line.device.major}:${line.device.minor}` : `size=${line.size}`,
    `m=${timeText(line.mtime)}`,
    `a=${timeText(line.atime)}`,
  ]
  if (line.flags !== undefined) {
    parts.push(`${line.flags} p${line.projid} e${line.extsize} c${line.cowextsize}`)
  }
  if (line.target !== undefined)
    parts.push(`-> ${line.target.length > 60 ? hash(Buffer.from(line.target, 'latin1')) : escaped(line.target)}`)
  if (line.content !== undefined) parts.push(line.content)
  if (line.map !== undefined) parts.push(`[${mapText(line.map, line.flags?.includes('e') === true)}]`)
  const xattrs = [...line.xattrs].sort(([a], [b]) => (a < b ? -1 : 1))
  if (xattrs.length > 0) {
    const all = createHash('sha256')
    for (const [name, value] of xattrs) all.update(`${name}=${value.length}:`).update(value)
    parts.push(`x${xattrs.length}=${all.digest('hex').slice(0, 16)}`)
    if (xattrs.length < 6)
      parts.push(...xattrs.map(([name, value]) => `${escaped(name).slice(0, 24)}=${hash(value).slice(0, 6)}`))
  }
  return parts.join(' ')
}

export const escaped = (bytes: string): string =>
  bytes.replace(/[^ -[\]-~]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)

export const byPath = (a: Line, b: Line): number => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)
