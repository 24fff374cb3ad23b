import type { SectorSizes } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { pinnedTime, type Timestamp } from '../format/time.ts'
import { parseInteger, parseSize as sizeOf, type Units } from '../util/numbers.ts'

/**
 * The options of mkfs, and parsing them from the option strings of mkfs.xfs. The error messages are
 * those of mkfs.xfs.
 */
export interface MkfsOptions {
  /** Bytes of the filesystem; default: the whole device. */
  readonly size?: number
  readonly blocksize?: number
  readonly sectsize?: number
  /** Sector sizes of the block device, in bytes; default: 512, as for a file. */
  readonly deviceSectors?: SectorSizes
  readonly inodesize?: number
  readonly dirblocksize?: number
  readonly agcount?: number
  /** Bytes of an AG. */
  readonly agsize?: number
  /** Bytes of the log. */
  readonly logsize?: number
  /** The AG of the log. */
  readonly logagno?: number
  /** Maximum percentage of space for inodes, 0: no limit; default: depends on the size. */
  readonly maxpct?: number
  readonly uuid?: string
  /** Up to 12 bytes; text is UTF-8. */
  readonly label?: string | Uint8Array
  readonly features?: Partial<Record<MkfsFeature, boolean>>
  /**
   * What the kernel's self-healing may do, a property of the root directory; default: repair, if
   * rmapbt and parent are enabled.
   */
  readonly autofsck?: Autofsck
  /** Time stamps of the first inodes; default: now. */
  readonly time?: Timestamp
  /** Generation numbers of inodes; default: random. */
  readonly generation?: number
}

/** Features that can be selected; all are enabled by default. */
export const mkfsFeatures = [
  'finobt', 'inobtcount', 'sparse', 'rmapbt', 'reflink', 'bigtime', 'nrext64', 'exchange', 'parent',
] as const // biome-ignore format: one line
export type MkfsFeature = (typeof mkfsFeatures)[number]

const autofsckValues = ['none', 'check', 'optimize', 'repair'] as const
export type Autofsck = (typeof autofsckValues)[number]

/** "SEED": replaces every random number in a reproducible run. */
export const DETERMINISTIC_GENERATION = 0x53454544

/**
 * The options in the environment: SOURCE_DATE_EPOCH and DETERMINISTIC_SEED, as mkfs.xfs reads them.
 */
export function environmentOptions(env: Readonly<Record<string, string | undefined>>): MkfsOptions {
  const time = pinnedTime(env)
  return {
    ...(time && { time }),
    ...(env['DETERMINISTIC_SEED'] !== undefined && { generation: DETERMINISTIC_GENERATION }),
  }
}

/** The option letters with suboptions, each with its option strings, and the label. */
export interface OptionTexts {
  readonly b?: readonly string[]
  readonly d?: readonly string[]
  readonly i?: readonly string[]
  readonly l?: readonly string[]
  readonly m?: readonly string[]
  readonly n?: readonly string[]
  readonly s?: readonly string[]
  readonly label?: string | Uint8Array
}

/** Options, and those that concern the image file. */
export interface ParsedOptions extends MkfsOptions {
  /** `-d name=` */
  readonly name?: string
  /** `-d file`: replace the file. */
  readonly file?: boolean
}

export const MIB = 2 ** 20
export const MIN_AG_BYTES = 16 * MIB
export const MAX_AG_BYTES = 2 ** 40
const MAX_DIRBLOCK = 65536

/**
 * Parse the suboptions; sizes in blocks or sectors are parsed after the block and sector size.
 * @throws XfsError INVAL, UNSUPPORTED
 */
export function parseOptions(texts: OptionTexts): ParsedOptions {
  const values = collect(texts)
  const get = (key: string): string | undefined => values.get(key)
  const number = (key: string, rule: NumberRule): number | undefined => {
    const text = get(key)
    return text === undefined ? undefined : parseNumber(text, key, rule)
  }
  const flag = (key: string): boolean | undefined => {
    const value = number(key, FLAG)
    return value === undefined ? undefined : value === 1
  }
  /** Switches that have only one valid value with V5. */
  const fixed = (key: string, wanted: boolean, message: string): void => {
    const value = flag(key)
    if (value !== undefined && value !== wanted) throw invalid(message)
  }

  const blocksize = number('b size', { min: 512, max: 65536, power: true, units: {} })
  const sectsize = number('s size', SECTOR) ?? number('s sectsize', SECTOR) ?? number('d sectsize', SECTOR)
  const units = { block: blocksize ?? 4096, sector: sectsize ?? 512 }
  fixed('l lazy-count', true, 'Lazy superblock counters always enabled for CRC enabled filesystems')
  fixed('n ftype', true, 'Directory ftype field always enabled on CRC enabled filesystems')
  fixed('i projid32bit', true, '32 bit Project IDs always enabled on CRC enabled filesystems')
  fixed('i align', true, 'Inodes always aligned for CRC enabled filesystems')
  if (flag('m crc') === false) throw unsupported('-m crc=0: V4 filesystems are read, not made')
  if (flag('m metadir') === true) throw unsupported('-m metadir=1 is not supported')
  if (flag('l internal') === false) throw unsupported('-l internal=0: external logs are not supported')
  if ((number('l version', { min: 1, max: 2 }) ?? 2) !== 2) {
    throw invalid('V2 logs always enabled for CRC enabled filesystems')
  }
  if ((number('i attr', { min: 0, max: 2 }) ?? 2) !== 2) {
    throw invalid('V2 attribute format always enabled on CRC enabled filesystems')
  }
  const namingVersion = get('n version')
  if (namingVersion === 'ci') throw unsupported('-n version=ci is not supported')
  if (namingVersion !== undefined && namingVersion !== '2')
    throw invalid(`Invalid value ${namingVersion} for -n version option`)
  flag('d noalign')
  if (values.has('d agcount') && values.has('d agsize')) {
    throw invalid(
      `Cannot specify both -d ${[...values.keys()]
        .filter((key) => /^d ag(count|size)$/.test(key))
        .map((key) => key.slice(2))
        .join(' and -d ')}`,
    )
  }

  const features: Partial<Record<MkfsFeature, boolean>> = {}
  for (const name of mkfsFeatures) {
    const value = flag(`${FEATURE_OPTION[name]} ${name}`)
    if (value !== undefined) features[name] = value
  }
  return defined({
    blocksize,
    sectsize,
    features,
    size: number('d size', { min: MIN_AG_BYTES, units }),
    agcount: number('d agcount', { min: 1, max: 0xfffffffe }),
    agsize: number('d agsize', { min: MIN_AG_BYTES, max: MAX_AG_BYTES, units }),
    inodesize: number('i size', { min: 256, max: 2048, power: true }),
    maxpct: number('i maxpct', { min: 0, max: 100 }),
    dirblocksize: number('n size', { min: 4096, max: MAX_DIRBLOCK, power: true, units }),
    logsize: number('l size', { min: 2 * MIB, max: 2 ** 31 - 10 * MIB, units }),
    logagno: number('l agnum', { min: 0, max: 0xffffffff }),
    uuid: parseUuid(get('m uuid')),
    autofsck: parseAutofsck(get('m autofsck')),
    label: texts.label === undefined ? undefined : labelBytes(texts.label),
    name: get('d name'),
    file: flag('d file'),
  })
}

/** A size in bytes as `--size` takes it, with the suffixes s b k m g t p e. */
export function parseSize(text: string, option: string): number {
  const value = Number(sizeOf(text, { block: 4096, sector: 512 }) ?? Number.NaN)
  if (Number.isNaN(value)) {
    throw invalid(`Invalid value ${text} for ${option} option. Not a valid value or illegal suffix`)
  }
  if (value > Number.MAX_SAFE_INTEGER) throw invalid(`Invalid value ${text} for ${option} option. Value is too large.`)
  return value
}

interface NumberRule {
  readonly min: number
  readonly max?: number
  readonly power?: boolean
  /** Present if unit suffixes are valid. */
  readonly units?: Units
  /** The value if the option has none. */
  readonly missing?: number
}

const FLAG: NumberRule = { min: 0, max: 1, missing: 1 }
const SECTOR: NumberRule = { min: 512, max: 32768, power: true, units: {} }

const FEATURE_OPTION: Readonly<Record<MkfsFeature, string>> = {
  finobt: 'm', inobtcount: 'm', rmapbt: 'm', reflink: 'm', bigtime: 'm', sparse: 'i', nrext64: 'i', exchange: 'i', parent: 'n',
} // biome-ignore format: one line

/** The value of a 'flag' is optional. */
type Suboption = 'value' | 'flag' | 'refused'
const refuse = (...names: string[]): Record<string, Suboption> =>
  Object.fromEntries(names.map((name) => [name, 'refused']))

/** Every suboption of mkfs.xfs, by letter. */
const suboptions: Readonly<Record<string, Readonly<Record<string, Suboption>>>> = {
  b: { size: 'value' },
  d: {
    agcount: 'value', agsize: 'value', size: 'value', name: 'value', file: 'flag', noalign: 'flag', sectsize: 'value',
    ...refuse('sunit', 'swidth', 'su', 'sw', 'rtinherit', 'projinherit', 'extszinherit', 'cowextsize', 'daxinherit', 'concurrency'),
  },
  i: {
    size: 'value', maxpct: 'value', sparse: 'flag', nrext64: 'flag', exchange: 'flag', attr: 'value', projid32bit: 'flag', align: 'flag',
    ...refuse('perblock', 'max_atomic_write'),
  },
  l: {
    size: 'value', agnum: 'value', internal: 'flag', version: 'value', 'lazy-count': 'flag',
    ...refuse('sunit', 'su', 'sectsize', 'logdev', 'name', 'file', 'concurrency'),
  },
  m: {
    crc: 'flag', uuid: 'value', finobt: 'flag', inobtcount: 'flag', rmapbt: 'flag', reflink: 'flag', bigtime: 'flag',
    autofsck: 'flag', metadir: 'flag',
    ...refuse('uquota', 'uqnoenforce', 'gquota', 'gqnoenforce', 'pquota', 'pqnoenforce', 'noquota'),
  },
  n: { size: 'value', version: 'value', ftype: 'flag', parent: 'flag' },
  s: { size: 'value', sectsize: 'value' },
} // biome-ignore format: a table

/** Every given suboption, as 'letter name' → text (empty without a value). */
function collect(texts: OptionTexts): Map<string, string> {
  const values = new Map<string, string>()
  for (const [letter, table] of Object.entries(suboptions)) {
    for (const text of texts[letter as Exclude<keyof OptionTexts, 'label'>] ?? []) {
      for (const token of text.split(',')) {
        if (token === '') continue
        const equals = token.indexOf('=')
        const name = equals < 0 ? token : token.slice(0, equals)
        const value = equals < 0 ? '' : token.slice(equals + 1)
        const kind = Object.hasOwn(table, name) ? table[name] : undefined
        if (kind === undefined) throw invalid(`unknown option -${letter} ${token}`)
        if (kind === 'refused') throw unsupported(`-${letter} ${name} is not supported`)
        if (kind === 'value' && value === '') throw invalid(`-${letter} ${name} option requires a value`)
        if (values.has(`${letter} ${name}`)) throw invalid(`-${letter} ${name} option respecified`)
        values.set(`${letter} ${name}`, value)
      }
    }
  }
  return values
}

function parseNumber(text: string, key: string, rule: NumberRule): number {
  const illegal = (reason: string): XfsError => invalid(`Invalid value ${text} for -${key} option. ${reason}`)
  if (text === '' && rule.missing !== undefined) return rule.missing
  let value: number
  if (rule.units) {
    const converted = sizeOf(text, rule.units)
    if (converted === undefined) throw illegal('Not a valid value or illegal suffix')
    value = Number(converted)
  } else {
    const parsed = parseInteger(text)
    if (!parsed) throw illegal('Value not recognized as number.')
    if (parsed.rest !== '') throw illegal('Unit suffixes are not allowed.')
    value = Number(parsed.value)
  }
  if (value < rule.min) throw illegal('Value is too small.')
  if (value > (rule.max ?? Number.MAX_SAFE_INTEGER)) throw illegal('Value is too large.')
  if (rule.power && !Number.isInteger(Math.log2(value))) throw illegal('Value must be a power of 2.')
  return value
}

function parseUuid(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text))
    throw invalid(`Invalid value ${text} for -m uuid option`)
  return text.toLowerCase()
}

function parseAutofsck(text: string | undefined): Autofsck | undefined {
  if (text === undefined) return undefined
  const value = text === '' || text === '1' ? 'repair' : text === '0' ? 'none' : text
  const known = autofsckValues.find((name) => name === value)
  if (!known) throw invalid(`Invalid value ${text} for -m autofsck option`)
  return known
}

const LABEL_BYTES = 12

/** The bytes of a label. @throws XfsError INVAL if there are too many */
export function labelBytes(label: string | Uint8Array): Uint8Array {
  const bytes = typeof label === 'string' ? new TextEncoder().encode(label) : label
  if (bytes.length > LABEL_BYTES) throw invalid(`Invalid value ${new TextDecoder().decode(bytes)} for -L option`)
  return bytes
}

const invalid = (message: string): XfsError => new XfsError('INVAL', message)
const unsupported = (message: string): XfsError => new XfsError('UNSUPPORTED', message)

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

/** Without undefined entries. */
function defined<T extends object>(options: T): Defined<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Defined<T>
}
