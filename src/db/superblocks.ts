import { type Feature, featureBits, featuresOf } from '../format/features.ts'
import type { Geometry } from '../format/geometry.ts'
import { geometryReport } from '../format/report.ts'
import { SB_MAGIC, Superblock } from '../format/sb.ts'
import { dirtyLog } from '../log/dirty.ts'
import { formatLog } from '../log/format.ts'
import { LogWriter } from '../log/records.ts'
import { logState } from '../log/ring.ts'
import { getopt } from '../util/getopt.ts'
import { randomUuid } from '../util/uuid.ts'
import { timeText } from './layout/time.ts'
import { parseUnsigned } from './numbers.ts'
import { type DbSession, Refusal } from './session.ts'

/** Fields of every superblock: label, UUID, features; and what follows from them. */

const NIL = '00000000-0000-0000-0000-000000000000'

/**
 * Read the superblock of an AG, change it, and write it. @throws Refusal if it is not a superblock
 */
function visit<T>(session: DbSession, agno: number, use: (view: DataView) => T, change = false): T {
  return session.elsewhere(() => {
    session.goHeader('sb', agno, { ring: false })
    const view = session.view()
    const { magicnum, versionnum, inprogress } = Superblock.fields
    const magic = magicnum.get(view, 0)
    if (magic !== SB_MAGIC) throw new Refusal(`bad sb magic # 0x${magic.toString(16)} in AG ${agno}`)
    const version = versionnum.get(view, 0)
    if ((version & 0xf) < 4 || (version & 0xf) > 5)
      throw new Refusal(`bad sb version # 0x${version.toString(16)} in AG ${agno}`)
    if (agno === 0 && inprogress.get(view, 0) !== 0) throw new Refusal('mkfs not completed successfully')
    const result = use(view)
    if (change) session.store('sound')
    return result
  })
}

function requireWriting({ options }: DbSession): void {
  if (options.readOnly || !options.expert) throw new Refusal(`${options.program}: not in expert mode, writing disabled`)
}

function requireExpert(session: DbSession): void {
  requireWriting(session)
  const { options, geometry } = session
  if (geometry.features.has('needsrepair')) throw new Refusal(`${options.program}: filesystem needs xfs_repair`)
}

const groups = ({ geometry }: DbSession): number[] => Array.from({ length: geometry.agcount }, (_, i) => i)

/** `label`: print the label, or write it into every superblock. */
export function label(session: DbSession, words: readonly string[]): void {
  const { fname } = Superblock.fields
  const [word] = words
  if (word === undefined) {
    const labels = groups(session).map((agno) => visit(session, agno, (view) => fname.get(view, 0)))
    labels.forEach((text, agno) => {
      if (text !== labels[0]) session.line(`warning: AG ${agno} label differs`)
    })
    const found = labels.at(-1) ?? ''
    session.result('label', { label: found }, `label = "${found}"`)
    return
  }
  requireExpert(session)
  session.line('writing all SBs')
  const bytes = Buffer.from(['""', "''", '--'].includes(word) ? '' : word, 'utf8')
  if (bytes.length > fname.size)
    session.line(`${session.options.program}: truncating label length from ${bytes.length} to ${fname.size}`)
  const text = bytes.subarray(0, fname.size).toString('latin1')
  for (const agno of groups(session)) visit(session, agno, (view) => fname.set(view, 0, text), true)
  session.result('label', { label: text }, `new label = "${text}"`)
}

/** `uuid`: print the UUID, or set the one that users see; metadata keeps its UUID. */
export function uuid(session: DbSession, words: readonly string[]): void {
  const [word] = words
  if (word !== undefined) {
    writeUuid(session, word)
    return
  }
  const found = groups(session).map((agno) => visit(session, agno, (view) => Superblock.fields.uuid.get(view, 0)))
  const differs = found.findIndex((one) => one !== found[0])
  if (differs >= 0) session.line(`warning: UUID in AG ${differs} differs to the primary SB`)
  if (session.geometry.sb.logstart === 0)
    session.line('warning - no external log specified for FS with an external log')
  session.result('uuid', { uuid: found[0] }, `UUID = ${found[0]}`)
}

function writeUuid(session: DbSession, word: string): void {
  const { uuid: own, meta_uuid, features_incompat } = Superblock.fields
  requireExpert(session)
  const flag = featureBits.metauuid.bit
  const now = visit(session, 0, (view) => ({
    uuid: own.get(view, 0),
    meta: meta_uuid.get(view, 0),
    separate: (features_incompat.get(view, 0) & flag) !== 0,
  }))
  const metadata = now.separate ? now.meta : now.uuid
  const name = word.toLowerCase()
  if (name === 'restore' && !now.separate) return
  if (name === 'rewrite') session.line(`old UUID = ${now.uuid}`)
  const next =
    name === 'generate'
      ? randomUuid()
      : name === 'nil'
        ? NIL
        : name === 'rewrite'
          ? now.uuid
          : name === 'restore'
            ? metadata
            : name
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(next)) throw new Refusal('invalid UUID')
  renameLog(session, next)
  session.line('writing all SBs')
  const checked = session.geometry.features.version === 5
  for (const agno of groups(session)) {
    visit(
      session,
      agno,
      (view) => {
        own.set(view, 0, next)
        if (!checked) return
        const words = features_incompat.get(view, 0)
        meta_uuid.set(view, 0, next === metadata ? NIL : metadata)
        features_incompat.set(view, 0, (next === metadata ? words & ~flag : words | flag) >>> 0)
      },
      true,
    )
  }
  session.renew()
  session.result('uuid', { uuid: next }, `new UUID = ${next}`)
}

/**
 * The log contains the UUID as well: add a record with the new one. @throws Refusal if the log is
 * dirty
 */
function renameLog(session: DbSession, next: string): void {
  const { geometry } = session
  const state = requireCleanLog(session)
  session.line('Clearing log and setting UUID')
  const sb = { ...geometry.sb, uuid: next }
  new LogWriter(session.options.device, { ...geometry, sb }, state).unmount()
}

function requireCleanLog({ geometry, options }: DbSession) {
  const log = { device: options.device, geometry, features: geometry.features }
  const refusal = dirtyLog(log)
  if (refusal) throw new Refusal(refusal.message)
  return logState(log)
}

/** `logformat`: format the log, with a cycle (by default the next one) and a stripe unit. */
export function logformat(session: DbSession, words: readonly string[]): void {
  const { geometry, options } = session
  const { letters, faults } = getopt(words, 'c:s:')
  if (faults.length > 0) throw new Refusal('invalid option')
  const number = (letter: string): number | undefined => {
    const text = letters.get(letter)?.at(-1)
    return text === undefined ? undefined : Number(BigInt.asIntN(32, parseUnsigned(text) ?? 0n))
  }
  const given = number('c')
  if (given === 0) throw new Refusal('invalid cycle')
  const unit = number('s') ?? geometry.sb.logsunit
  if (unit > 1 && (unit % geometry.blocksize !== 0 || unit > 2 ** 18)) throw new Refusal('invalid log stripe unit')
  const state = requireCleanLog(session)
  // Metadata may have LSNs of this cycle that are ahead of its start.
  const cycle = given !== undefined && given > 0 ? given : state.head.cycle + 1
  session.line(`Formatting the log to cycle ${cycle}, stripe unit ${unit} bytes.`)
  formatLog(options.device, geometry, cycle, unit)
}

// --------------------------------------------------------------------------------------- features

/** Features by the names of `version`, in its order. */
const VERSION_NAMES: readonly (readonly [string, Feature])[] = [
  ['NLINK', 'nlink'], ['DIRV2', 'dirv2'], ['ATTR', 'attr'], ['QUOTA', 'quota'], ['ALIGN', 'align'], ['DALIGN', 'dalign'], ['LOGV2', 'logv2'], ['EXTFLG', 'extflg'],
  ['SECTOR', 'sector'], ['ASCII_CI', 'asciici'], ['MOREBITS', 'morebits'], ['LAZYSBCOUNT', 'lazysbcount'],
  ['PROJID32BIT', 'projid32'], ['CRC', 'crc'], ['FTYPE', 'ftype'], ['FINOBT', 'finobt'], ['SPARSE_INODES', 'sparse'], ['META_UUID', 'metauuid'],
  ['RMAPBT', 'rmapbt'], ['REFLINK', 'reflink'], ['INOBTCNT', 'inobtcount'], ['BIGTIME', 'bigtime'], ['NEEDSREPAIR', 'needsrepair'], ['NREXT64', 'nrext64'],
  ['EXCHANGE', 'exchange'], ['PARENT', 'parent'], ['METADIR', 'metadir'], ['ZONED', 'zoned'],
] // biome-ignore format: a table

/** `version`: print the features of the filesystem, or those of two given words. */
export function version(session: DbSession, words: readonly string[]): void {
  const { geometry, options } = session
  const [word, second] = words
  if (words.length === 1 && word !== undefined) {
    requireWriting(session)
    const name = word.toLowerCase()
    if (geometry.features.version !== 5)
      throw new Refusal(`${options.program}: features of a V4 filesystem cannot be changed here`)
    if (name === 'extflg') session.line('unwritten extents always enabled for v5 superblocks.')
    else if (name === 'log2') session.line('Version 2 logs always enabled for v5 superblocks.')
    else throw new Refusal(`${options.program}: Cannot change ${word} on v5 superblocks.`)
  }
  const sb = validSuperblock(session)
  const number = (text: string): number => Number(BigInt.asUintN(32, parseUnsigned(text) ?? 0n))
  const two = words.length === 2 && word !== undefined && second !== undefined
  const versionnum = two ? number(word) & 0xffff : sb.versionnum
  const features2 = two ? number(second) : sb.features2
  const features = versionNames(geometry, { ...sb, versionnum, features2 })
  session.result(
    'version',
    { version: geometry.features.version, versionnum, features2, features },
    `versionnum [0x${versionnum.toString(16)}+0x${features2.toString(16)}] = ${[`V${geometry.features.version}`, ...features].join(',')}`,
  )
}

/** The current primary superblock; if it is not valid any more, that of the start. */
function validSuperblock(session: DbSession): Superblock {
  try {
    return visit(session, 0, (view) => Superblock.decode(view))
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return session.geometry.sb
  }
}

function versionNames(geometry: Geometry, sb: Superblock): string[] {
  const features = featuresOf(sb)
  // These are part of version 5, regardless of the words.
  const always =
    geometry.features.version === 5
      ? ['NLINK', 'DIRV2', 'LOGV2', 'EXTFLG', 'MOREBITS', 'LAZYSBCOUNT', 'PROJID32BIT', 'CRC']
      : []
  return VERSION_NAMES.filter(([name, feature]) => features.has(feature) || always.includes(name)).map(([name]) => name)
}

/** `info`: the output of xfs_info. */
export function info(session: DbSession): void {
  const { geometry, options } = session
  const text = geometryReport(geometry.sb, geometry.features, options.image).replace(/\n$/, '')
  session.result('info', { features: geometry.features.names, superblock: geometry.sb }, text)
}

/** `timelimit`: print the first and last time of timestamps and quota timers. */
export function timelimit(session: DbSession, words: readonly string[]): 'quit' | undefined {
  const known = ['--classic', '--bigtime', '--pretty', '--compact']
  const bad = words.find((word) => !known.includes(word))
  if (bad !== undefined) {
    session.line(`${bad}: bad option for timelimit command`)
    return 'quit'
  }
  const kind = words.filter((word) => word === '--classic' || word === '--bigtime').at(-1)
  const form = words.filter((word) => word === '--pretty' || word === '--compact').at(-1)
  const { options } = session
  const bigtime = kind ? kind === '--bigtime' : session.geometry.features.has('bigtime')
  const limits: readonly (readonly [string, number])[] = [
    ['time.min', -(2 ** 31)], ['time.max', bigtime ? 16299260424 : 2 ** 31 - 1], ['dqtimer.min', bigtime ? 4 : 1],
    ['dqtimer.max', bigtime ? 16299260424 : 2 ** 32 - 1], ['dqgrace.min', 0], ['dqgrace.min', 2 ** 32 - 1],
  ] // biome-ignore format: a table
  if (form === '--compact' && !options.json) session.line(limits.map(([, value]) => `${value} `).join(''))
  else {
    for (const [name, value] of limits) {
      const text = form === '--pretty' && !name.startsWith('dqgrace') ? timeText(value) : value
      session.result('limit', { name, value }, `${name} = ${text}`)
    }
  }
  return undefined
}
